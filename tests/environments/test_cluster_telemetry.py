"""The environment's telemetry on a cluster: a copy of what an observer recorded, always of now."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cluster_served import NAMESPACE, config_map, end, hotel
from observer_lab import LAB, TOKEN, Lab, observed
from starlette.responses import JSONResponse, Response

from aiopslab.environments import protocol
from aiopslab.environments.cluster.connection import Request
from aiopslab.environments.cluster.telemetry import ClusterTelemetry
from aiopslab.environments.sim import Sim
from aiopslab.environments.store_telemetry import StoreTelemetry
from aiopslab.errors import InfraError
from aiopslab.models.kube import KubeError
from aiopslab.models.signal import Change, StatusPost
from aiopslab.observer.serving import taking
from aiopslab.wire.gate import OpenGate

Scene = Callable[[Lab], Awaitable[None]]
Play = Callable[[Scene], None]


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    sim = hotel()
    sim.run_for(20.0)
    yield sim
    end(sim)


@pytest.fixture
def play(sim: Sim, tmp_path: Path) -> Play:
    def played(scene: Scene) -> None:
        async def run() -> None:
            async with observed(sim, tmp_path) as lab:
                await scene(lab)

        asyncio.run(run())

    return played


def test_every_answer_of_the_contract_is_one_of_now() -> None:
    asked = [n for n, f in vars(protocol.Telemetry).items() if inspect.iscoroutinefunction(f)]
    assert len(asked) > 35
    for name in asked:
        mine = getattr(ClusterTelemetry, name)
        assert mine is not getattr(StoreTelemetry, name), name
        assert inspect.signature(mine) == inspect.signature(getattr(StoreTelemetry, name)), name


def test_it_answers_as_the_observer_itself(play: Play) -> None:
    async def scene(lab: Lab) -> None:
        at = await lab.round()
        lab.observer.recording.store.log(at, "geo", NAMESPACE, "p", "c", "WARN", "careful", 5)
        lab.observer.recording.store.span(9, 1, 0, "geo", "p", "GET", "server", at, at + 1, "", {})
        mine, theirs = lab.telemetry, lab.observer.telemetry
        asks: list[Callable[[Any], Awaitable[Any]]] = [
            lambda t: t.instant("kube_pod_info", at),
            lambda t: t.metric_names(),
            lambda t: t.logs(start=0.0, end=9e9, limit=9),
            lambda t: t.traces(start=0.0, end=9e9, limit=9),
            lambda t: t.rule_groups(),
            lambda t: t.scrape_targets(),
            lambda t: t.sql("SELECT count(*) FROM samples"),
        ]
        for ask in asks:
            found = await ask(mine)
            assert found
            assert repr(found) == repr(await ask(theirs))

    play(scene)


async def told(telemetry: ClusterTelemetry) -> int:
    """Return how many lines of a service of ours are known."""
    return (await telemetry.logs(service="quiet", start=0.0, end=9e9, limit=1))[1]


def write(lab: Lab, line: str = "careful") -> None:
    now = lab.sim.now()
    lab.observer.recording.store.log(now, "quiet", NAMESPACE, "p", "c", "WARN", line)


def test_what_comes_later_is_in_the_next_answer(play: Play) -> None:
    async def scene(lab: Lab) -> None:
        assert await told(lab.telemetry) == 0
        for count in (1, 2):
            write(lab)
            await lab.telemetry.refresh(anyway=True)
            assert await told(lab.telemetry) == count

    play(scene)


def test_readers_at_the_same_time_take_each_row_once(play: Play) -> None:
    async def scene(lab: Lab) -> None:
        for i in range(50):
            write(lab, f"line {i}")
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(told(lab.telemetry)) for _ in range(8)]
        assert {task.result() for task in asked} == {50}

    play(scene)


def test_an_observer_that_is_gone_is_a_failure_of_the_lab(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiopslab.environments.cluster.telemetry._AGAIN_S", 0.0)

    async def scene(lab: Lab) -> None:
        await lab.telemetry.alerts()
        lab.front.observer = None
        with pytest.raises(InfraError, match="no endpoints available") as refused:
            await lab.telemetry.refresh(anyway=True)
        assert refused.value.stage == "telemetry"
        assert TOKEN not in str(refused.value)
        with pytest.raises(InfraError, match="token"):
            await ClusterTelemetry(lab.cluster.connect(), "lab-y", now=lab.sim.now).alerts()

    play(scene)


def test_an_observer_that_is_away_for_a_moment_is_asked_again(play: Play) -> None:
    async def scene(lab: Lab) -> None:
        write(lab)
        there, refused = lab.front.observer, 0

        async def away(scope: Any, receive: Any, send: Any) -> None:
            nonlocal refused
            refused += 1
            if refused == 2:
                lab.front.observer = there
            await JSONResponse("no endpoints available", 503)(scope, receive, send)

        lab.front.observer = away
        assert await told(lab.telemetry) == 1
        assert refused == 2

    play(scene)


def test_an_observer_that_was_restarted_is_a_failure_of_the_lab(play: Play) -> None:
    async def scene(lab: Lab) -> None:
        await lab.telemetry.alerts()
        lab.observer.begin(clear=True)
        with pytest.raises(InfraError, match="was restarted, and what it knew is lost"):
            await lab.telemetry.refresh(anyway=True)

    play(scene)


@pytest.mark.parametrize(
    "answer",
    [Response(b"nonsense"), JSONResponse({"a": 1}), Response(b""), JSONResponse([], 500)],
)
def test_an_observer_that_answers_nonsense_is_a_failure_of_the_lab(
    play: Play, answer: Response
) -> None:
    async def scene(lab: Lab) -> None:
        lab.front.observer = answer
        for ask in (lab.telemetry.refresh, lab.telemetry.state, lab.telemetry.begin):
            with pytest.raises(InfraError):
                await ask()

    play(scene)


def test_to_begin_anew_forgets_and_enters_the_past(play: Play) -> None:
    async def scene(lab: Lab) -> None:
        write(lab)
        assert await told(lab.telemetry) == 1
        before = await lab.telemetry.state()
        state = await lab.telemetry.begin(clear=True)
        assert state.epoch != before.epoch
        assert abs(state.ahead_s) < 5.0
        assert await told(lab.telemetry) == 0
        past = await lab.telemetry.changes(since=0.0)
        assert [c.summary for c in past] == [
            p.summary for p in sorted(lab.sim.app.history, key=lambda p: -p.ago)
        ]
        await lab.telemetry.begin()
        assert await lab.telemetry.changes(since=0.0) == past

    play(scene)


@pytest.mark.parametrize("ahead_s", [-60.0, 60.0])
def test_nothing_begins_where_the_observers_clock_and_ours_tell_different_times(
    play: Play, ahead_s: float
) -> None:
    async def scene(lab: Lab) -> None:
        def now() -> float:
            return lab.sim.now() - ahead_s

        telemetry = ClusterTelemetry(lab.cluster.connect(), LAB, now=now)
        said = rf"is (59|60|61) s {'ahead of' if ahead_s > 0 else 'behind'} this host's; set both"
        with pytest.raises(InfraError, match=said):
            await telemetry.begin(clear=True)

    play(scene)


def test_changes_of_our_own_name_who_made_them_and_stand_once(play: Play) -> None:
    async def scene(lab: Lab) -> None:
        await lab.telemetry.begin()
        began = lab.sim.now()
        recorder = lab.telemetry.recorder(lab.sim.app)
        known, others = lab.cluster.kube(recorder=recorder), lab.cluster.kube()
        await known.create(config_map("by-us"), actor="ci-pipeline")
        await others.create(config_map("by-others"), actor="ann")
        await known.delete("ConfigMap", "by-us", NAMESPACE, actor="ben")
        lab.telemetry.record_change(
            Change(time=began, actor="cy", kind="database", component="geo", summary="grant")
        )
        store = lab.observer.recording.store

        def seen() -> int:
            return sum(c.time >= began for c in store.change_records())

        await lab.until(lambda: seen() == 3)
        await lab.telemetry.refresh(anyway=True)
        wanted = [
            ("ben", "ConfigMap by-us deleted"),
            ("ci-pipeline", "ConfigMap by-us created"),
            ("cy", "grant"),
            ("kubectl-create", "ConfigMap by-others created"),
        ]
        found = await lab.telemetry.changes(since=began)
        assert sorted((c.actor, c.summary) for c in found) == wanted
        frame = await lab.telemetry.frame("changes")
        assert set(frame["actor"]) >= {"ben", "ci-pipeline", "cy", "kubectl-create"}

    play(scene)


def test_what_the_lab_tells_the_observer_is_recorded_or_refused(play: Play) -> None:
    async def scene(lab: Lab) -> None:
        connection, read = lab.cluster.connect(), lab.telemetry
        base = f"/api/v1/namespaces/{LAB}/services/observer:http/proxy/e/{TOKEN}"
        post = StatusPost(time=5.0, partner="maps", provider="M", state="resolved", text="fine")
        change = Change(time=6.0, actor="cy", kind="database", component="geo", summary="grant")
        for path, told in (("changes", change), ("posts", post)):
            body = told.model_dump(mode="json")
            await connection.ask(Request("POST", f"{base}/{path}", body=body))
            wrongs: tuple[object, ...] = ({}, [], {**body, "time": "soon"}, {**body, "more": 1})
            for wrong in wrongs:
                with pytest.raises(KubeError) as refused:
                    await connection.ask(Request("POST", f"{base}/{path}", body=wrong))
                assert refused.value.code == 400
        assert await read.changes(since=0.0) == [change]
        assert await read.status_posts(since=0.0) == [post]
        await connection.ask(Request("PUT", f"{base}/config", body="sealed"))
        told_to_all = taking(lab.observer, OpenGate())
        transport = httpx2.ASGITransport(app=told_to_all)
        async with httpx2.AsyncClient(transport=transport, base_url="http://o") as client:
            answer = await client.get("/v1/config")
            assert (answer.status_code, answer.text) == (200, "sealed")
            assert (await client.put("/config", json="x")).status_code == 404

    play(scene)


def test_what_partners_post_is_told(play: Play) -> None:
    async def scene(lab: Lab) -> None:
        post = StatusPost(time=5.0, partner="maps", provider="M", state="resolved", text="fine")
        lab.telemetry.record_post(post)
        assert await lab.telemetry.status_posts(since=0.0) == [post]
        assert await lab.telemetry.status_posts(partner="other", since=0.0) == []

    play(scene)


def test_only_who_knows_the_token_is_told(play: Play) -> None:
    async def scene(lab: Lab) -> None:
        connection = lab.cluster.connect()
        base = f"/api/v1/namespaces/{LAB}/services/observer:http/proxy"

        async def status(path: str) -> Any:

            try:
                text = await connection.run(connection.text, Request("GET", base + path))
            except KubeError as error:
                return error.code
            return text

        assert await status("/export") == 401
        assert await status("/e/wrong/export") == 401
        assert await status("/prometheus/api/v1/query?query=up") == 401
        assert await status("/healthz") == "ok\n"
        assert await status("/readyz") == 503
        await lab.round()
        assert await status("/readyz") == "ok\n"
        assert "observer_rounds_total 1" in await status("/metrics")
        found = await status(f"/e/{TOKEN}/prometheus/api/v1/query?query=kube_node_status_capacity")
        assert '"node":"node-a"' in found

    play(scene)
