"""Cleaning: a lab that was killed half-way leaves nothing, and nobody else loses anything."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_creator import SPACE, things
from cluster_served import NAMESPACE, Cluster, Run, config_map, end, hotel, standing

from aiopslab.environments.cluster import cleaning
from aiopslab.environments.cluster.cleaning import clean, clean_trials, inventory
from aiopslab.environments.cluster.discovery import Served
from aiopslab.environments.cluster.labels import MANAGED_BY, TRIAL, labelled, ours, selector
from aiopslab.environments.sim import Sim
from aiopslab.models.kube import KubeError, Object
from aiopslab.wire.identity import Identity, Rule
from aiopslab.world.kube.kinds import KINDS, Kind

CREATOR = Path(__file__).with_name("cluster_creator.py")
FACTOR = 5.0
WRITTEN_BY_TIME = ("Event", "Lease", "Node")
"""Kinds that change while a cluster only stands there."""
BEGUN_BY_TIME = ("CronJob", "Job")
"""Owners whose objects come and go likewise."""


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    sim = hotel()
    yield sim
    end(sim)


@pytest.fixture
def lab(sim: Sim, tmp_path: Path) -> Iterator[tuple[Cluster, Run]]:
    with standing(sim, tmp_path, factor=FACTOR) as (cluster, run):
        yield cluster, run


def everything(sim: Sim) -> dict[str, Any]:
    """Return the uids of all there is, but for what comes and goes as time passes."""
    kinds = [kind.kind for kind in KINDS if kind.kind not in WRITTEN_BY_TIME]
    found = (o for kind in kinds for o in sim.world.api.list(kind))
    return {o["metadata"]["uid"]: o for o in found if not _is_begun_by_time(o)}


def _is_begun_by_time(obj: Object) -> bool:
    owners = obj["metadata"].get("ownerReferences", ())
    return any(owner["kind"] in BEGUN_BY_TIME for owner in owners)


async def killed_after(cluster: Cluster, count: int, trial: str) -> None:
    """Let a lab create so many things in a process of its own, and kill it at the next one."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CREATOR), str(cluster.config_of()), trial, stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(count):
        line = await process.stdout.readline()
        assert line, "the lab ended by itself"
        process.stdin.write(b"\n")
    process.kill()
    await process.wait()


@pytest.mark.parametrize("count", [3, 7])
def test_what_a_killed_lab_created_is_found_and_goes(
    sim: Sim, lab: tuple[Cluster, Run], count: int
) -> None:
    cluster, run = lab
    before = everything(sim)
    run(killed_after(cluster, count, "crash"))
    kube = cluster.kube()
    found = run(inventory(kube, ours()))
    assert found.unseen == {}
    # It was killed before, at, or after the next one.
    assert count <= len([o for o in found.objects if not o.owner]) <= count + 2
    assert {str(o) for o in found.objects} >= {
        f"namespaces/{SPACE}",
        f"secrets/keys -n {NAMESPACE}",
    }
    cleaned = run(clean(kube, ours("crash")))
    assert cleaned.left.objects == ()
    assert {o.uid for o in found.objects} <= {o.uid for o in cleaned.removed}
    assert everything(sim).keys() == before.keys()


def test_only_what_has_all_the_labels_is_touched(sim: Sim, lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    kube = cluster.kube()
    strangers = [
        config_map("plain"),
        labelled(config_map("helm"), {MANAGED_BY: "Helm", TRIAL: "one"}),
        labelled(config_map("no-owner"), {TRIAL: "one"}),
        labelled(config_map("another"), ours("two")),
    ]
    for obj in [*strangers, labelled(config_map("mine"), ours("one"))]:
        run(kube.create(obj, actor="t"))
    cleaned = run(clean(kube, ours("one")))
    assert [o.name for o in cleaned.removed] == ["mine"]
    left = {o["metadata"]["name"] for o in run(kube.list("ConfigMap", NAMESPACE))}
    assert {"plain", "helm", "no-owner", "another"} <= left
    assert [o.name for o in run(inventory(kube, ours("two"))).objects] == ["another"]
    for obj in strangers:
        run(kube.delete("ConfigMap", obj["metadata"]["name"], NAMESPACE, actor="t"))


@pytest.mark.parametrize("labels", [{}, {TRIAL: "one"}, {MANAGED_BY: "Helm"}])
def test_labels_that_are_not_ours_are_not_cleaned_by(
    lab: tuple[Cluster, Run], labels: dict[str, str]
) -> None:
    cluster, run = lab
    with pytest.raises(ValueError, match="not ours"):
        run(clean(cluster.kube(), labels))


def test_no_name_is_not_the_beginning_of_everybodys_trials(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    run(cluster.kube().create(labelled(config_map("anothers"), ours("two")), actor="t"))
    with pytest.raises(ValueError, match="other runs"):
        run(clean_trials(cluster.kube(), ""))
    assert [o.name for o in run(clean(cluster.kube(), ours("two"))).removed] == ["anothers"]


def careless(api: Any, _tokens: Any) -> Any:
    """Ignore label selectors, as a broken aggregated API would."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        query = scope.get("query_string", b"").replace(b"labelSelector", b"ignored")
        await api({**scope, "query_string": query}, receive, send)

    return app


def test_a_server_that_ignores_the_selector_loses_nothing(sim: Sim, tmp_path: Path) -> None:
    with standing(sim, tmp_path, careless, factor=FACTOR) as (cluster, run):
        kube = cluster.kube()
        run(kube.create(labelled(config_map("mine"), ours("one")), actor="t"))
        assert len(run(kube.list("ConfigMap", NAMESPACE, labels=selector(ours("one"))))) > 1
        cleaned = run(clean(kube, ours("one")))
    assert [o.name for o in cleaned.removed] == ["mine"]


def test_another_object_of_the_same_name_is_left_alone(sim: Sim, tmp_path: Path) -> None:
    """Between the look and the deletion somebody else takes the name."""
    api = sim.world.api

    def swapping(inner: Any, _tokens: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope.get("method") == "DELETE":
                api.delete("ConfigMap", "shared", NAMESPACE, actor="other")
                api.create(config_map("shared", whose="other"), actor="other")
            await inner(scope, receive, send)

        return app

    with standing(sim, tmp_path, swapping, factor=FACTOR) as (cluster, run):
        kube = cluster.kube()
        run(kube.create(labelled(config_map("shared"), ours("one")), actor="t"))
        run(clean(kube, ours("one")))
    kept = api.get("ConfigMap", "shared", NAMESPACE)
    assert kept["data"] == {"whose": "other"}
    api.delete("ConfigMap", "shared", NAMESPACE, actor="t")


def test_what_a_finalizer_holds_is_reported_as_left(sim: Sim, lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    kube = cluster.kube()
    held = labelled(config_map("held"), ours("one"))
    held["metadata"]["finalizers"] = ["example.com/hold"]
    run(kube.create(held, actor="t"))
    cleaned = run(clean(kube, ours("one"), timeout_s=0.2))
    assert [(o.name, o.going) for o in cleaned.left.objects] == [("held", True)]
    assert cleaned.removed == ()
    free = {"metadata": {"finalizers": None}}
    run(kube.patch("ConfigMap", "held", free, namespace=NAMESPACE, type="merge", actor="t"))
    assert run(clean(kube, ours("one"))).left.objects == ()


def test_kinds_that_may_not_be_seen_are_named(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    limited = Identity("limited", rules=(Rule(("get", "list"), ("",), ("configmaps",)),))
    kube = cluster.kube(cluster.config_of(limited))
    found = run(inventory(kube, ours()))
    assert "configmaps" not in found.unseen
    assert "cannot list resource" in found.unseen["deployments.apps"]


def test_hooks_go_first_and_namespaces_last(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    kube = cluster.kube()
    for obj in things()[:2] + things()[6:]:
        run(kube.create(labelled(obj, ours("one")), actor="t"))
    kinds = [o.served.kind.kind for o in run(inventory(kube, ours("one"))).objects]
    assert kinds[0] == "ValidatingWebhookConfiguration"
    assert kinds[-1] == "Namespace"
    assert run(clean(kube, ours("one"))).left.objects == ()


def broken(part: str, status: int) -> Any:
    """Fail every list of a path with a part."""

    def around(api: Any, _tokens: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if part not in scope.get("path", ""):
                await api(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"away"})

        return app

    return around


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_is_away_is_not_taken_for_one_that_has_nothing_of_ours(
    sim: Sim, tmp_path: Path, status: int
) -> None:
    around = broken("/apis/apps/v1/deployments", status)
    served = standing(sim, tmp_path, around, factor=FACTOR)
    with served as (cluster, run), pytest.raises(KubeError, match="away"):
        run(clean(cluster.kube(), ours()))


@pytest.mark.parametrize("status", [500, 503])
def test_somebodys_own_broken_api_keeps_nobody_from_cleaning(
    sim: Sim, tmp_path: Path, status: int
) -> None:
    widgets = Served(Kind("Widget", "acme.io", "v1", "widgets", (), True), frozenset({"list"}))
    with standing(sim, tmp_path, broken("/apis/acme.io/", status)) as (cluster, run):
        assert run(cleaning._of_kind(cluster.kube(), widgets, ours())) == "away"


# -- what is held ----------------------------------------------------------------------------------


def space_with(*finalizers: str) -> list[Object]:
    """Return a namespace of ours, and an object in it that is held."""
    space: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "of-ours"}}
    held = config_map("held", "of-ours")
    held["metadata"]["finalizers"] = list(finalizers)
    return [labelled(space, ours("one")), held]


def test_what_a_fault_or_an_agent_holds_in_a_namespace_of_ours_is_let_go(
    lab: tuple[Cluster, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, run = lab
    monkeypatch.setattr(cleaning, "HELD_S", 0.2)
    kube = cluster.kube()
    for obj in space_with("storage.acme.io/detach"):
        run(kube.create(obj, actor="t"))
    assert run(clean(kube, ours("one"), timeout_s=60.0)).left.objects == ()


def test_what_kubernetes_or_somebody_elsewhere_holds_stays_held(
    lab: tuple[Cluster, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, run = lab
    monkeypatch.setattr(cleaning, "HELD_S", 0.2)
    kube = cluster.kube()
    elsewhere = labelled(config_map("elsewhere"), ours("one"))
    elsewhere["metadata"]["finalizers"] = ["storage.acme.io/detach"]
    for obj in [elsewhere, *space_with("service.kubernetes.io/load-balancer-cleanup")]:
        run(kube.create(obj, actor="t"))
    left = run(clean(kube, ours("one"), timeout_s=3.0)).left.objects
    assert sorted(obj.name for obj in left) == ["elsewhere", "of-ours"]
    free = {"metadata": {"finalizers": None}}
    for name, space in (("elsewhere", NAMESPACE), ("held", "of-ours")):
        run(kube.patch("ConfigMap", name, free, namespace=space, type="merge", actor="t"))
    assert run(clean(kube, ours("one"))).left.objects == ()
