"""An assistant that works through kubectl: HolmesGPT's documented commands, with right answers.

Its tools page with ``kubectl get --raw '...?limit=N&continue='`` and pick the pages apart; without
``kubectl top`` its live metrics stay off. Right answers are the world's own objects.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streams_lab import Lab, reason_to_skip, served
from streams_world import Run, hotel, one_loop

from aiopslab.environments.sim import Sim
from aiopslab.wire.identity import on_call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "present"),
]

READER = on_call("oncall", "diagnosis", "hotel")
Objects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    yield from hotel(load=0.2, warm_s=60.0)


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    yield from one_loop()


async def pages(lab: Lab, path: str, limit: int) -> list[Objects]:
    """Ask page after page, as its tools do: the first request has an empty ``continue``."""
    found: list[Objects] = []
    token = ""
    while True:
        done = await lab.kubectl("get", "--raw", f"{path}?limit={limit}&continue={token}")
        assert (done.code, done.err) == (0, "")
        page = json.loads(done.out)
        found.append(page["items"])
        token = page["metadata"].get("continue", "")
        if not token:
            return found


def names(objects: Objects) -> list[str]:
    return [f"{o['metadata'].get('namespace', '')}/{o['metadata']['name']}" for o in objects]


@pytest.mark.parametrize(
    ("path", "kind", "limit"),
    [
        ("/api/v1/pods", "Pod", 7),
        ("/api/v1/namespaces/hotel/services", "Service", 500),
        ("/api/v1/nodes", "Node", 2),
        ("/apis/apps/v1/deployments", "Deployment", 4),
        ("/apis/apps/v1/namespaces/hotel/statefulsets", "StatefulSet", 1),
        ("/apis/events.k8s.io/v1/events", "Event", 100),
    ],
)
def test_raw_pages_together_are_what_there_is(
    sim: Sim, run: Run, tmp_path: Path, path: str, kind: str, limit: int
) -> None:
    async def scenario() -> tuple[list[Objects], list[str]]:
        # The world stands still, so that both sides tell of one instant.
        async with served(sim, tmp_path, READER, factor=0.0) as lab:
            namespace = "hotel" if "/namespaces/" in path else None
            return await pages(lab, path, limit), names(sim.world.api.list(kind, namespace))

    found, there = run(scenario())
    assert all(len(page) == limit for page in found[:-1])
    assert sorted(names([o for page in found for o in page])) == sorted(there)
    assert len(there) > 2


def test_pages_are_of_one_state_although_the_cluster_goes_on(
    sim: Sim, run: Run, tmp_path: Path
) -> None:
    async def scenario() -> tuple[list[str], list[str], list[str]]:
        async with served(sim, tmp_path) as lab:
            before = names(sim.world.api.list("ConfigMap", "hotel"))
            first = await lab.kubectl("get", "--raw", "/api/v1/configmaps?limit=1&continue=")
            page = json.loads(first.out)
            made = await lab.kubectl("create", "configmap", "zz-later", "--from-literal=a=b")
            assert made.code == 0
            rest = await lab.kubectl(
                "get",
                "--raw",
                f"/api/v1/configmaps?limit=500&continue={page['metadata']['continue']}",
            )
            seen = names(page["items"]) + names(json.loads(rest.out)["items"])
            again = await pages(lab, "/api/v1/configmaps", 500)
            return before, seen, names(again[0])

    before, seen, again = run(scenario())
    assert set(before) <= set(seen)
    assert "hotel/zz-later" not in seen
    assert "hotel/zz-later" in again


def test_what_its_tools_compute_from_the_objects_is_right(
    sim: Sim, run: Run, tmp_path: Path
) -> None:
    """Counting, columns and filters over whole objects: images, owners, restarts, readiness."""

    async def scenario() -> tuple[Objects, Objects]:
        async with served(sim, tmp_path, READER, factor=0.0) as lab:
            (pods,) = await pages(lab, "/api/v1/pods", 500)
            return pods, sim.world.api.list("Pod")

    def table(pods: Objects) -> list[tuple[str, str, str, bool]]:
        return sorted(
            (p["metadata"]["name"], p["metadata"]["ownerReferences"][0]["kind"],
             p["spec"]["containers"][0]["image"], p["status"]["containerStatuses"][0]["ready"])
            for p in pods
        )  # fmt: skip

    pods, there = run(scenario())
    assert table(pods) == table(there)
    assert {ready for *_, ready in table(pods)} == {True}


def test_live_metrics_are_there_for_every_pod_and_node(sim: Sim, run: Run, tmp_path: Path) -> None:
    async def scenario() -> tuple[str, str, list[str]]:
        async with served(sim, tmp_path, READER, factor=0.0) as lab:
            nodes = await lab.kubectl("top", "nodes")
            pods = await lab.kubectl("top", "pods", "-A", "--no-headers")
            assert (nodes.code, pods.code) == (0, 0)
            return nodes.out, pods.out, names(sim.world.api.list("Pod"))

    nodes, pods, there = run(scenario())
    assert len(nodes.splitlines()) == 4
    assert sorted("/".join(line.split()[:2]) for line in pods.splitlines()) == sorted(there)


def test_what_its_allow_list_lets_through_works_for_a_reader(
    sim: Sim, run: Run, tmp_path: Path
) -> None:
    commands = (
        "get pods -A -o wide --show-labels", "get deploy geo -n hotel -o yaml",
        "describe deployment geo -n hotel", "describe node node-a", "events -n hotel",
        "logs deploy/geo -n hotel --tail=50 --timestamps", "api-resources", "auth can-i get pods",
        "get events -n hotel --field-selector=involvedObject.name=geo", "top pods -n hotel",
    )  # fmt: skip

    async def scenario() -> list[int]:
        async with served(sim, tmp_path, READER) as lab, asyncio.TaskGroup() as group:
            # It asks several things at once.
            asked = [group.create_task(lab.kubectl(*c.split())) for c in commands]
        return [one.result().code for one in asked]

    assert run(scenario()) == [0] * len(commands)
