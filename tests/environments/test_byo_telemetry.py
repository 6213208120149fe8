"""A monitoring stack that is there already stands in: here that of a simulated world, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from cluster_served import NAMESPACE, hotel

from aiopslab.environments.byo import sources as byo_sources
from aiopslab.environments.byo.check import Missing, check, needed
from aiopslab.environments.byo.sources import Source, Urls
from aiopslab.environments.byo.telemetry import ByoTelemetry
from aiopslab.environments.sim import Sim
from aiopslab.errors import InfraError
from aiopslab.models.signal import Change, Event, StatusPost
from aiopslab.wire.gate import OpenGate
from aiopslab.wire.identity import Tokens, administrator
from aiopslab.wire.monitoring.mounts import monitoring
from aiopslab.wire.site import Site

URLS = Urls(*(f"http://127.0.0.1/{name}" for name in ("prometheus", "loki", "jaeger")))
BACK_S = 100.0
Sources = Callable[[str], Source]


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    sim = hotel()
    sim.run_for(150.0)
    yield sim
    asyncio.run(sim.aclose())


@pytest.fixture(scope="module")
def sources(sim: Sim) -> Sources:
    tokens = Tokens()
    headers = {"Authorization": f"Bearer {tokens.issue(administrator())}"}
    transport = httpx2.ASGITransport(app=Site(monitoring(sim, OpenGate()), tokens))

    def client() -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=transport, headers=headers)

    return lambda url: Source(url, client)


def answering(data: Any, status: int = 200) -> Sources:
    """Return sources that answer the same to everything."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        text = data if isinstance(data, str) else json.dumps(data)
        return httpx2.Response(status, text=text)

    transport = httpx2.MockTransport(answer)
    return lambda url: Source(url, lambda: httpx2.AsyncClient(transport=transport))


def copy(sim: Sim, sources: Sources, **more: Any) -> ByoTelemetry:
    since = sim.now() - BACK_S
    return ByoTelemetry(URLS, sim.app, now=sim.now, since=since, sources=sources, **more)


def shown(series: list[Any]) -> list[str]:
    """Return series of the app and of nodes, to be compared."""
    return sorted(
        repr(sorted(s.labels.items())) + repr(s.points)
        for s in series
        if s.labels.get("namespace", NAMESPACE) == NAMESPACE
    )


def words(rows: Any) -> list[tuple[str, ...]]:
    return sorted((r.service, r.pod, r.severity, r.line) for r in rows)


def test_metrics_lines_and_spans_are_those_of_the_stack(sim: Sim, sources: Sources) -> None:
    async def scene() -> None:
        mine, theirs, now = copy(sim, sources), sim.telemetry, sim.now()
        sampled = await mine.sampled()
        assert sampled is not None
        at = sampled[1]
        cpu = "rate(container_cpu_usage_seconds_total[1m])"
        for query in ("up", "kube_pod_info", "node_load1", cpu):
            found = await mine.instant(query, at)
            assert found
            assert shown(found) == shown(await theirs.instant(query, at)), query
        start = now - BACK_S
        mine_lines, mine_total = await mine.logs(start=start, end=now, limit=5000)
        lines, total = await theirs.logs(start=start, end=now, limit=5000)
        assert mine_total == total > 10
        assert words(mine_lines) == words(lines)
        mine_traces, _ = await mine.traces(start=start, end=now, limit=5000)
        traces, _ = await theirs.traces(start=start, end=now, limit=5000)
        assert {t.trace_id: (t.spans, t.errors, t.root) for t in mine_traces} == {
            t.trace_id: (t.spans, t.errors, t.root) for t in traces
        }
        (one, *_) = traces
        ours, there = await mine.trace(one.trace_id), await theirs.trace(one.trace_id)
        assert [(s.service, s.name, s.kind, s.pod, s.parent_id) for s in ours] == [
            (s.service, s.name, s.kind, s.pod, s.parent_id) for s in there
        ]

    asyncio.run(scene())


def test_what_comes_later_is_copied_once(sim: Sim, sources: Sources) -> None:
    async def scene() -> None:
        mine = copy(sim, sources)
        before = (await mine.sql("SELECT count(*) FROM spans")).rows[0][0]
        sim.run_for(30.0)
        again = await mine.sql("SELECT count(*), count(DISTINCT span_id) FROM spans")
        assert again.rows[0][0] == again.rows[0][1] > before
        start = sim.now() - BACK_S - 30.0
        _, total = await sim.telemetry.logs(start=start, end=sim.now(), limit=1)
        assert (await mine.logs(start=0.0, end=9e9, limit=1))[1] == total
        times = mine._copied.samples.times()
        assert len(times) == len(set(times.tolist()))
        groups = await mine.rule_groups()
        assert {r.health for g in groups for r in g.rules} == {"ok"}

    asyncio.run(scene())


def test_events_and_changes_are_those_that_it_is_told(sim: Sim, sources: Sources) -> None:
    event = Event(
        time=sim.now(), type="Warning", reason="R", namespace=NAMESPACE, kind="Pod", name="p",
        message="m", component="kubelet",
    )  # fmt: skip
    change = Change(time=sim.now(), actor="ann", kind="scale", component="geo", summary="s")

    other = change.model_copy(update={"component": "rate"})
    post = StatusPost(
        time=sim.now(), partner="cards", provider="Cards", state="resolved", text="We looked"
    )

    class Told:
        """Who knows what happened."""

        async def events(self, **_: object) -> list[Event]:
            return [event]

        async def changes(self, **_: object) -> list[Change]:
            return [other]

        async def status_posts(self, **_: object) -> list[StatusPost]:
            return [post]

    async def scene() -> None:
        mine = copy(sim, sources, news=Told())
        mine.record_change(change)
        for _ in range(2):
            await mine.refresh(anyway=True)
        assert await mine.events(namespace=NAMESPACE, since=0.0) == [event]
        assert await mine.changes(since=0.0) == [change, other]
        assert await mine.status_posts(since=0.0) == [post]

    asyncio.run(scene())


def test_the_stack_of_a_world_has_all_that_is_needed(sim: Sim, sources: Sources) -> None:
    assert len(needed(sim.app)) > 25
    assert asyncio.run(check(URLS, sim.app, sim.now(), sources)) == []


def test_the_check_says_what_is_missing(sim: Sim, sources: Sources) -> None:
    services = {**sim.app.services, "ghost": sim.app.services["geo"]}
    app = sim.app.model_copy(update={"services": services})
    found = asyncio.run(check(URLS, app, sim.now(), sources))
    assert [(m.what, m.name) for m in found] == [("logs", "ghost"), ("traces", "ghost")]
    elsewhere = sim.app.model_copy(update={"namespace": "nowhere"})
    found = asyncio.run(check(URLS, elsewhere, sim.now(), sources))
    assert Missing(
        "metric", "kube_deployment_spec_replicas", "there is no series with namespace='nowhere'"
    ) in found  # fmt: skip
    assert {m.what for m in found} == {"metric", "logs"}


@pytest.mark.parametrize(
    ("answer", "status"),
    [("<html>", 200), ({}, 200), ({"data": {}}, 503), ([], 200), ({"data": {"result": [5]}}, 200)],
)
def test_a_stack_that_answers_nonsense_is_a_failure_of_the_lab(
    sim: Sim, answer: Any, status: int
) -> None:
    mine = copy(sim, answering(answer, status))
    with pytest.raises(InfraError):
        asyncio.run(mine.alerts())
    with pytest.raises(InfraError):  # and it is asked again
        asyncio.run(mine.alerts())


def test_a_stack_that_is_not_there_is_said_by_the_check(sim: Sim) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    transport = httpx2.MockTransport(refuse)
    made: Sources = lambda url: Source(  # noqa: E731 - one line says it
        url.replace("127.0.0.1", "u:secret@h"), lambda: httpx2.AsyncClient(transport=transport)
    )
    found = asyncio.run(check(URLS, sim.app, sim.now(), made))
    assert [m.what for m in found] == ["api"] * 3
    assert not any("secret" in str(m) for m in found)


def test_pages_of_lines_are_joined_without_a_gap_or_a_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(byo_sources, "LINES", 4)
    times = [1, 2, 2, 3, 3, 3, 4, 5, 5, 6]

    def answer(request: httpx2.Request) -> httpx2.Response:
        start = int(request.url.params["start"])
        values = [[str(t), f"{t}/{i}"] for i, t in enumerate(times) if t >= start][:4]
        result = [{"stream": {"app": "a"}, "values": values}] if values else []
        return httpx2.Response(200, json={"data": {"result": result}})

    transport = httpx2.MockTransport(answer)
    source = Source("http://h", lambda: httpx2.AsyncClient(transport=transport))
    found = asyncio.run(byo_sources.lines(source, "{}", 0.0, 1.0))
    assert [line.text for line in found] == [f"{t}/{i}" for i, t in enumerate(times)]
    times[:] = [7] * 5
    with pytest.raises(InfraError, match="at one instant"):
        asyncio.run(byo_sources.lines(source, "{}", 0.0, 1.0))
