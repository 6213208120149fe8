"""Watches of a cluster: every change once, through lost streams and forgotten histories."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_served import NAMESPACE, Around, Cluster, Run, config_map, end, hotel, standing

from aiopslab.environments.cluster import watch as cluster_watch
from aiopslab.environments.cluster.watch import ClusterWatch
from aiopslab.environments.sim import Sim
from aiopslab.errors import InfraError
from aiopslab.models.kube import KubeError

FACTOR = 1.0


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    sim = hotel()
    yield sim
    end(sim)


@pytest.fixture
def lab(sim: Sim, tmp_path: Path) -> Iterator[tuple[Cluster, Run]]:
    with standing(sim, tmp_path, factor=FACTOR) as (cluster, run):
        yield cluster, run


async def told(watch: ClusterWatch, count: int) -> list[tuple[str, str]]:
    """Return the next events as (event, name)."""
    events = []
    async with asyncio.timeout(180):
        while len(events) < count:
            event, obj = await anext(watch)
            events.append((event, obj["metadata"]["name"]))
    return events


def test_changes_are_told_from_the_moment_it_is_ready(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    kube = cluster.kube()

    async def scene() -> None:
        await kube.create(config_map("before"), actor="t")
        watch = kube.watch("ConfigMap", NAMESPACE)
        await watch.ready()
        await kube.create(config_map("seen"), actor="t")
        await kube.create(config_map("unseen", namespace="default"), actor="t")
        await kube.patch("cm", "seen", {"data": {"a": "1"}}, namespace=NAMESPACE, actor="t")
        await kube.delete("ConfigMap", "seen", NAMESPACE, actor="t")
        assert await told(watch, 3) == [(e, "seen") for e in ("ADDED", "MODIFIED", "DELETED")]
        await watch.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(watch)

    run(scene())


def test_a_closed_connection_ends_its_watches(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab

    async def scene() -> None:
        kube = cluster.kube()
        watch = kube.watch("Pod")
        await watch.ready()
        await kube.connection.aclose()
        assert [event async for event in watch] == []

    run(scene())
    names = [t.name for t in threading.enumerate()]
    assert "kubernetes watch" not in names


def test_a_kind_that_is_not_served_is_refused_at_the_first_step(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab

    async def scene() -> None:
        with pytest.raises(KubeError, match="doesn't have a resource type"):
            await anext(cluster.kube().watch("Nonesuch"))

    run(scene())


GONE = {
    "type": "ERROR",
    "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"},
}


class Lossy:
    """Breaks the first streams, each in a way of its own, after letting the world change."""

    def __init__(self, sim: Sim, *ways: str) -> None:
        self.sim, self.ways = sim, list(ways)
        self.begun = 0

    def around(self, api: Any, _tokens: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if b"watch=1" in scope.get("query_string", b"") and self.ways:
                await self.broken(self.ways.pop(0), send)
            else:
                await api(scope, receive, send)

        return app

    async def broken(self, way: str, send: Any) -> None:
        self.begun += 1
        name = f"missed-{self.begun}"
        self.sim.world.api.create(config_map(name), actor="t")
        status = 410 if way == "refused" else 500 if way == "failed" else 200
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = json.dumps(GONE["object"] if way == "refused" else GONE).encode() + b"\n"
        if way == "cut":
            await send({"type": "http.response.body", "body": b'{"type": "ADD', "more_body": True})
            raise ConnectionError("the server went away")
        said = {"ended": b"", "garbled": b"<html>later</html>\n"}
        await send({"type": "http.response.body", "body": said.get(way, body)})


@pytest.mark.parametrize(
    "ways",
    [("ended",), ("gone",), ("refused",), ("garbled",), ("gone", "ended", "refused")],
)
def test_what_changed_while_a_stream_was_lost_is_told(
    sim: Sim, tmp_path: Path, ways: tuple[str, ...]
) -> None:
    lossy = Lossy(sim, *ways)
    around: Around = lossy.around

    async def scene(cluster: Cluster) -> None:
        kube = cluster.kube()
        await kube.create(config_map("stays"), actor="t")
        watch = kube.watch("ConfigMap", NAMESPACE)
        expected = [("ADDED", f"missed-{n + 1}") for n in range(len(ways))]
        assert await told(watch, len(ways)) == expected
        await kube.delete("ConfigMap", "stays", NAMESPACE, actor="t")
        assert await told(watch, 1) == [("DELETED", "stays")]
        await watch.aclose()

    with standing(sim, tmp_path, around, factor=FACTOR) as (cluster, run):
        run(scene(cluster))
    for n in range(len(ways)):
        sim.world.api.delete("ConfigMap", f"missed-{n + 1}", NAMESPACE, actor="t")


def test_what_was_deleted_while_the_history_was_lost_is_told(sim: Sim, tmp_path: Path) -> None:
    sim.world.api.create(config_map("lost"), actor="t")
    lossy = Lossy(sim, "gone")

    async def scene(cluster: Cluster) -> None:
        watch = cluster.kube().watch("ConfigMap", NAMESPACE)
        assert sorted(await told(watch, 2)) == [("ADDED", "missed-1"), ("DELETED", "lost")]
        await watch.aclose()

    async def deleting(way: str, send: Any) -> None:
        sim.world.api.delete("ConfigMap", "lost", NAMESPACE, actor="t")
        await Lossy.broken(lossy, way, send)

    lossy.broken = deleting  # type: ignore[method-assign]
    with standing(sim, tmp_path, lossy.around, factor=FACTOR) as (cluster, run):
        run(scene(cluster))


def test_a_refusal_that_is_no_loss_ends_the_watch(sim: Sim, tmp_path: Path) -> None:
    lossy = Lossy(sim, "failed")

    async def scene(cluster: Cluster) -> None:
        with pytest.raises(KubeError) as error:
            await anext(cluster.kube().watch("Secret", NAMESPACE))
        assert error.value.code >= 400

    with standing(sim, tmp_path, lossy.around, factor=FACTOR) as (cluster, run):
        run(scene(cluster))


def test_a_server_that_stays_away_ends_the_watch(
    lab: tuple[Cluster, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, run = lab
    monkeypatch.setattr("aiopslab.environments.cluster.watch._FAILURES", 1)
    config = cluster.config_of()
    config.write_text(config.read_text().replace(cluster.url, "https://127.0.0.1:1"))

    async def scene() -> None:
        with pytest.raises(InfraError):
            await anext(cluster.kube(config).watch("Pod"))

    run(scene())


def test_what_is_there_is_told_first_where_that_is_wanted(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab

    async def scene() -> None:
        kube = cluster.kube()
        await kube.create(config_map("there"), actor="t")
        watch = kube.watch("ConfigMap", NAMESPACE, from_start=True)
        await watch.ready()
        there = [o["metadata"]["name"] for o in await kube.list("ConfigMap", NAMESPACE)]
        assert watch.waiting == len(there)
        assert sorted(await told(watch, len(there))) == sorted(("ADDED", name) for name in there)
        await kube.delete("ConfigMap", "there", NAMESPACE, actor="t")
        assert await told(watch, 1) == [("DELETED", "there")]
        await watch.aclose()

    run(scene())


def test_a_patient_watch_outlasts_a_server_that_is_away(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_watch, "_FAILURES", 0)
    away = threading.Event()

    def around(api: Any, _tokens: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if away.is_set() and b"watch=1" in scope.get("query_string", b""):
                raise ConnectionError("away")
            await api(scope, receive, send)

        return app

    with standing(sim, tmp_path, around, factor=FACTOR) as (cluster, run):

        async def scene() -> None:
            kube = cluster.kube()
            away.set()
            patient = kube.watch("ConfigMap", NAMESPACE, patient=True)
            hasty = kube.watch("ConfigMap", NAMESPACE)
            with pytest.raises((InfraError, KubeError)):
                await anext(hasty)
            await kube.create(config_map("meanwhile"), actor="t")
            away.clear()
            assert await told(patient, 1) == [("ADDED", "meanwhile")]
            await patient.aclose()

        run(scene())
