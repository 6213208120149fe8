"""The observer on a served world: what it records is what the world itself recorded."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_served import NAMESPACE, config_map, end, hotel, served
from observer_lab import LAB, Lab, observed
from starlette.responses import JSONResponse, PlainTextResponse

from aiopslab.environments.cluster.labels import ACCESS, access_name, ours
from aiopslab.environments.sim import Sim
from aiopslab.models.signal import Event
from aiopslab.observer import mirror
from aiopslab.observer.lacks import Lacks
from aiopslab.observer.mirror import Watched
from aiopslab.telemetry.store import Store

Scene = Callable[[Lab], Awaitable[None]]
SCRAPED_BY_WORLD = ("kubelet", "kube-state-metrics")


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    sim = hotel()
    sim.run_for(20.0)
    yield sim
    end(sim)


@pytest.fixture
def play(sim: Sim, tmp_path: Path) -> Callable[[Scene], None]:
    """Play a scene beside a world whose time passes."""
    return lambda scene: played(sim, tmp_path, scene, 1.0)


@pytest.fixture
def frozen(sim: Sim, tmp_path: Path) -> Callable[[Scene], None]:
    """Play a scene beside a world that stands still, so that both see the same moment."""
    return lambda scene: played(sim, tmp_path, scene, 0.0)


def played(sim: Sim, home: Path, scene: Scene, factor: float) -> None:
    async def run() -> None:
        async with observed(sim, home, factor=factor) as lab:
            await scene(lab)

    asyncio.run(run())


def latest(store: Store, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Return the newest values of a metric by labels, its own namespace and the nodes only."""
    at = float(store.samples.times()[-1])
    return {
        tuple(sorted(s.labels.items())): s.points[0][1]
        for s in store.promql.instant(name, at)
        if s.labels.get("namespace", NAMESPACE) == NAMESPACE
    }


def test_the_state_of_objects_is_that_of_the_world(frozen: Callable[[Scene], None]) -> None:
    async def scene(lab: Lab) -> None:
        await lab.round()
        mine, theirs = lab.observer.recording.store, lab.sim.world.store
        names = [n for n in theirs.samples.names() if n.startswith("kube_")]
        assert len(names) > 40
        for name in names:
            assert latest(mine, name) == latest(theirs, name), name

    frozen(scene)


def test_figures_of_containers_have_the_names_and_labels_of_the_world(
    frozen: Callable[[Scene], None],
) -> None:
    async def scene(lab: Lab) -> None:
        await lab.round()
        mine, theirs = lab.observer.recording.store, lab.sim.world.store
        for name in ("container_start_time_seconds", "container_spec_memory_limit_bytes"):
            assert latest(mine, name) == latest(theirs, name), name
        for name in ("container_memory_working_set_bytes", "container_cpu_usage_seconds_total"):
            assert latest(mine, name).keys() == latest(theirs, name).keys(), name
        assert (
            latest(mine, "node_memory_MemAvailable_bytes").keys()
            == latest(theirs, "node_memory_MemAvailable_bytes").keys()
        )
        jobs = {s.labels["job"] for s in mine.promql.instant('up{job=~"kube.*"} == 1', 9e9)}
        assert not jobs or jobs == set(SCRAPED_BY_WORLD)

    frozen(scene)


def test_a_kubelet_that_does_not_answer_is_down_and_said(play: Callable[[Scene], None]) -> None:
    async def scene(lab: Lab) -> None:
        lab.front.kubelets = lambda node: (
            PlainTextResponse("no", 502) if node == "node-b" else lab.front.cadvisor(node)
        )
        await lab.round()
        up = latest(lab.observer.recording.store, 'up{job="kubelet"}')
        down = [dict(labels)["instance"] for labels, value in up.items() if value == 0.0]
        assert down == ["node-b:10250"]
        assert list(lab.observer.lacks.now) == ["kubelet node-b"]
        lab.front.kubelets = lab.front.cadvisor
        await lab.round(lab.sim.now() + 100.0)
        assert lab.observer.lacks.now == {}
        assert sum("kubelet node-b" in line for line in lab.log.lines) == 2

    play(scene)


@pytest.mark.parametrize("answer", ["", "<html>", "container_memory_rss{", '{"kind":"Status"}'])
def test_a_kubelet_that_answers_nonsense_costs_its_figures_alone(
    play: Callable[[Scene], None], answer: str
) -> None:
    async def scene(lab: Lab) -> None:
        lab.front.kubelets = lambda _: PlainTextResponse(answer)
        await lab.round()
        store = lab.observer.recording.store
        assert latest(store, "container_memory_rss") == {}
        assert latest(store, "kube_pod_info")

    play(scene)


def test_events_are_those_of_the_world(play: Callable[[Scene], None]) -> None:
    async def scene(lab: Lab) -> None:
        kube = lab.cluster.kube()
        store = lab.observer.recording.store
        pod = next(
            p for p in await kube.list("Pod", NAMESPACE) if "attractions" in p["metadata"]["name"]
        )
        await kube.delete("Pod", pod["metadata"]["name"], NAMESPACE, actor="t", grace_s=0)

        # By their words alone: an event is dated to the whole second, so that the first of them
        # may be dated to before the recording began.
        def words(events: list[Event]) -> set[tuple[str, ...]]:
            return {
                (e.kind, e.name, e.type, e.reason, e.message, e.component, str(e.count))
                for e in events
                if e.namespace == NAMESPACE
            }

        def reasons() -> set[str]:
            return {e.reason for e in store.event_records()}

        await lab.until(lambda: reasons() >= {"SuccessfulCreate", "Scheduled", "Started"})
        assert words(store.event_records()) <= words(lab.sim.world.store.event_records())

    play(scene)


async def changes(lab: Lab, count: int) -> list[Any]:
    store = lab.observer.recording.store
    await lab.until(lambda: len(store.change_records()) >= count)
    return store.change_records()


def test_changes_read_as_in_the_worlds_change_log(play: Callable[[Scene], None]) -> None:
    async def scene(lab: Lab) -> None:
        kube, log = lab.cluster.kube(), lab.sim.world.store.change_records
        lab.observer.begin(clear=False)
        history = len(lab.observer.recording.store.change_records())
        assert history == len(lab.sim.app.history)
        before = len(log())
        containers = [{"name": "review", "image": "hotel-review:9.9.9"}]
        template = {"spec": {"containers": containers}}
        await kube.patch(
            "Deployment", "review", {"spec": {"template": template}}, namespace=NAMESPACE,
            actor="ann",
        )  # fmt: skip
        await kube.patch(
            "ConfigMap", "review-config", {"data": {"LOG_LEVEL": "debug"}}, namespace=NAMESPACE,
            actor="ben",
        )  # fmt: skip
        await kube.patch(
            "Deployment", "search", {"spec": {"replicas": 3}}, namespace=NAMESPACE,
            subresource="scale", type="merge", actor="cy",
        )  # fmt: skip
        await kube.create(config_map("notes", k="v"), actor="dan")
        await kube.delete("ConfigMap", "notes", NAMESPACE, actor="eve")
        found = await changes(lab, history + 5)
        theirs = log()[before:]

        def words(all: list[Any]) -> list[tuple[str, ...]]:
            return sorted((c.kind, c.component, c.summary, c.diff) for c in all)

        assert words(found[history:]) == words(theirs)
        actors = {c.summary: c.actor for c in found[history:]}
        assert actors["ConfigMap notes deleted"] == "unknown"
        assert actors["ConfigMap notes created"] == "kubectl-create"
        assert actors["ConfigMap review-config updated"] == "kubectl-patch"

    play(scene)


def test_what_the_lab_and_the_cluster_do_is_no_change(play: Callable[[Scene], None]) -> None:
    async def scene(lab: Lab) -> None:
        kube = lab.cluster.kube()
        await kube.create(config_map("before"), actor="t")
        mirror = lab.observer.mirror
        await lab.until(lambda: mirror.find("ConfigMap", "before", NAMESPACE) is not None)
        lab.observer.begin(clear=False)
        before = len(lab.observer.recording.store.change_records())
        await kube.unrecorded().create(config_map("ours"), actor="t")
        rights = {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [],
            "metadata": {"name": access_name("x1"), "namespace": NAMESPACE,
                         "labels": ours("x1", part=ACCESS)},
        }  # fmt: skip
        await kube.create(rights, actor="t")
        await kube.create(config_map("elsewhere", namespace=LAB), actor="t")
        await kube.create(config_map("seen"), actor="t")
        found = await changes(lab, before + 1)
        assert [c.summary for c in found[before:]] == ["ConfigMap seen created"]

    play(scene)


def test_lines_of_stores_are_followed_with_the_severity_of_the_world(
    play: Callable[[Scene], None],
) -> None:
    async def scene(lab: Lab) -> None:
        world, mine = lab.sim.world.store.logs, lab.observer.recording.store.logs
        began = lab.observer.recording.began
        pod = "geo-postgres-0"
        kube = lab.cluster.kube()
        for sql in ("SELECT nonsense", "SELECT pg_reload_conf()"):
            await kube.exec(pod, NAMESPACE, ["psql", "-U", "postgres", "-c", sql])

        def rows(table: Any) -> list[tuple[str, ...]]:
            found, _ = table.search(pod=pod, start=began, end=9e9, limit=50, newest_first=False)
            return [(r.service, r.pod, r.severity, r.line) for r in found]

        await lab.until(lambda: len(rows(mine)) >= len(rows(world)) > 2)
        assert rows(mine) == rows(world)
        assert {row[2] for row in rows(mine)} >= {"ERROR", "INFO"}

    play(scene)


def test_a_full_recording_refuses_and_counts_until_it_is_begun_anew(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with observed(sim, tmp_path, limit=1) as lab:
            await lab.round()
            assert lab.observer.recording.is_brimful
            assert set(lab.observer.lacks.now) == {"room", "rounds"}
            assert not len(lab.observer.recording.store.samples.times())
            monkeypatch.setattr(lab.observer, "_limit", 2**30)
            lab.observer.begin(clear=True)
            await lab.round()
            assert not {"room", "rounds"} & set(lab.observer.lacks.now)

    asyncio.run(scene())


@pytest.mark.parametrize("code", [403, 503])
def test_a_kind_that_is_refused_or_not_answered_is_lacking_for_that_reason_until_it_is_not(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(mirror, "AGAIN_S", 0.05)
    monkeypatch.setattr(mirror, "PATIENCE_S", 0.5)
    refused = True

    def around(api: Any, _tokens: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            answer = api
            if refused and scope.get("path", "").endswith("/secrets"):
                answer = JSONResponse({"kind": "Status", "code": code, "message": "no"}, code)
            await answer(scope, receive, send)

        return app

    async def scene() -> None:
        nonlocal refused
        async with served(sim, tmp_path, around, factor=1.0) as cluster:
            lacks = Lacks(sim.now, io.StringIO())
            kept = [Watched("Secret", NAMESPACE), Watched("Pod", NAMESPACE)]
            objects = mirror.Mirror(cluster.kube(), kept, lacks)
            told: list[str] = []
            objects.on_change(lambda event, obj, _: told.append(f"{event} {obj['kind']}"))
            running = asyncio.create_task(objects.run())
            async with asyncio.timeout(180):
                while not (objects.complete("Pod") and lacks.now):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                assert lacks.now == {"watch Secret": "no"}
                assert not objects.complete("Secret")
                refused = False
                while not objects.complete("Secret"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert lacks.now == {}
            assert objects.list("Secret", NAMESPACE)
            # They were there before anybody looked: nobody has made them just now.
            assert "LISTED Secret" in told
            assert "ADDED Secret" not in told
            running.cancel()
            await asyncio.wait([running])

    asyncio.run(scene())
