"""The users: open loop, patience, retries, drops."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.errors import UsageError
from aiopslab.load.generator import Generator, Reply
from aiopslab.load.slis import Slis
from aiopslab.models.journey import Journey, Load, Slo
from aiopslab.seeds import Streams
from aiopslab.world.clock import VirtualLoop


class App:
    """An app that answers after a fixed time, or not at all."""

    def __init__(self, loop: VirtualLoop, latency_s: float, statuses: list[int]) -> None:
        self._loop = loop
        self._latency_s = latency_s
        self._statuses = statuses
        self.seen: list[tuple[float, str, Mapping[str, str]]] = []

    async def request(
        self, service: str, method: str, path: str, params: Mapping[str, str], *, timeout_s: float
    ) -> Reply:
        self.seen.append((self._loop.time(), f"{service} {method} {path}", params))
        await asyncio.sleep(min(self._latency_s, timeout_s))
        if self._latency_s >= timeout_s:
            return Reply(0)
        return Reply(self._statuses[min(len(self.seen), len(self._statuses)) - 1])


def drive(
    latency_s: float = 0.01,
    *,
    seconds: float = 20.0,
    statuses: list[int] | None = None,
    cap: int = 5000,
    shape: str = "poisson",
    **journey: object,
) -> tuple[App, Slis, Generator]:
    loop = VirtualLoop(0.0)
    app = App(loop, latency_s, statuses or [200])
    slis = Slis({"search": Slo(success=0.99, p95_ms=100.0)})
    base = {
        "entry": "web",
        "rate": 5.0,
        "timeout_s": 2.0,
        "steps": [{"request": "GET /s", "params": {"n": {"int": [1, 999]}}}],
    }
    journeys = {"search": Journey.model_validate({**base, **journey})}
    load = Load.model_validate({"shape": shape})
    generator = Generator(app, loop, Streams(1), journeys, load, slis, max_in_flight=cap)
    generator.start()
    loop.run_until(seconds)
    generator.stop()
    loop.run_until(seconds + 60.0)
    return app, slis, generator


def test_healthy_requests_meet_the_promise() -> None:
    app, slis, _ = drive(shape="constant")
    (window,) = slis.window(0.0, 20.0)
    assert window.offered == window.succeeded == 100
    assert window.p95_ms == pytest.approx(10.0)
    assert window.met
    assert app.seen[0][1] == "web GET /s"


@given(latency_s=st.floats(0.0, 5.0))
@settings(max_examples=15, deadline=None)
def test_arrivals_and_parameters_do_not_depend_on_latency(latency_s: float) -> None:
    fast, _, _ = drive(0.0, seconds=8.0)
    slow, _, _ = drive(latency_s, seconds=8.0)
    assert slow.seen == fast.seen


def test_an_unanswered_request_fails_when_its_user_gives_up() -> None:
    _, slis, _ = drive(30.0, seconds=5.0)
    (window,) = slis.window(0.0, 5.0)
    assert window.offered > 0
    assert window.succeeded == 0


def test_an_open_request_is_not_counted_yet() -> None:
    loop = VirtualLoop(0.0)
    slis = Slis({"search": Slo(success=0.99, p95_ms=100.0)})
    journey = Journey.model_validate(
        {"entry": "web", "rate": 5.0, "timeout_s": 9.0, "steps": [{"request": "GET /s"}]}
    )
    app = App(loop, 5.0, [200])
    generator = Generator(app, loop, Streams(1), {"search": journey}, Load(), slis)
    generator.start()
    loop.run_until(3.0)
    assert app.seen
    assert slis.window(0.0, 3.0)[0].offered == 0


def test_a_user_retries_and_latency_counts_from_the_first_attempt() -> None:
    app, slis, _ = drive(
        0.01,
        seconds=0.3,
        shape="constant",
        statuses=[503, 200],
        retry={"attempts": 2, "backoff_s": 1.0},
    )
    (window,) = slis.window(0.0, 1.0)
    assert (len(app.seen), window.succeeded) == (2, 1)
    assert window.p50_ms is not None
    assert 520.0 <= window.p50_ms <= 1020.0


def test_a_refusal_is_not_retried() -> None:
    app, slis, _ = drive(
        seconds=0.3, shape="constant", statuses=[404], retry={"attempts": 3, "backoff_s": 1.0}
    )
    assert len(app.seen) == 1
    assert slis.window(0.0, 1.0)[0].succeeded == 0


def test_a_failed_step_ends_the_session() -> None:
    steps = [{"request": "GET /a"}, {"request": "GET /b"}]
    app, slis, _ = drive(seconds=0.3, shape="constant", statuses=[500], steps=steps)
    assert [what for _, what, _ in app.seen] == ["web GET /a"]
    assert len(slis) == 1


def test_steps_of_a_session_follow_each_other_with_pauses() -> None:
    steps = [{"request": "GET /a"}, {"request": "POST /b"}]
    app, _, _ = drive(seconds=0.3, shape="constant", steps=steps, think_s=3.0)
    (first, a, _), (second, b, _) = app.seen
    assert (a, b) == ("web GET /a", "web POST /b")
    assert second > first + 0.01


def test_arrivals_beyond_the_cap_are_dropped_and_count_as_failed() -> None:
    app, slis, generator = drive(1.0, seconds=10.0, cap=2, shape="constant")
    (window,) = slis.window(0.0, 10.0)
    assert generator.dropped > 0
    assert window.offered == len(app.seen) + generator.dropped
    assert window.succeeded == len(app.seen)


def test_scaling_changes_the_rate_from_now_on() -> None:
    loop = VirtualLoop(0.0)
    app = App(loop, 0.0, [200])
    journey = Journey.model_validate(
        {"entry": "web", "rate": 5.0, "steps": [{"request": "GET /s"}]}
    )
    slis = Slis({})
    load = Load(shape="constant", scale=2.0)
    generator = Generator(app, loop, Streams(1), {"search": journey}, load, slis)
    generator.start()
    loop.run_until(10.0)
    generator.scale(0.0)
    loop.run_until(20.0)
    generator.scale(3.0, "search")
    loop.run_until(30.0)
    times = [time for time, _, _ in app.seen]
    assert sum(t <= 10 for t in times) == pytest.approx(100, abs=1)
    assert sum(10 < t <= 20 for t in times) == 0
    assert sum(t > 20 for t in times) == pytest.approx(300, abs=2)


def test_an_unknown_journey_is_the_users_mistake() -> None:
    _, _, generator = drive(seconds=0.1)
    with pytest.raises(UsageError, match="no journey 'buy'"):
        generator.scale(1.0, "buy")
    with pytest.raises(UsageError, match="-1"):
        generator.scale(-1.0)


def test_a_visitor_counts_for_no_promise_and_keeps_his_own_pace() -> None:
    loop = VirtualLoop(0.0)
    app, crawler = App(loop, 0.01, [200]), App(loop, 0.01, [200])
    slis = Slis({"search": Slo(success=0.99, p95_ms=100.0)})
    journey = Journey.model_validate(
        {"entry": "web", "rate": 5.0, "steps": [{"request": "GET /s"}], "timeout_s": 2.0}
    )
    load = Load.model_validate({"shape": "constant"})
    generator = Generator(app, loop, Streams(1), {"search": journey}, load, slis)
    generator.start()
    generator.join("198.18.66.7", journey, crawler)
    generator.scale(0.0)
    loop.run_until(20.0)
    assert len(crawler.seen) == pytest.approx(100, abs=30)
    assert len(app.seen) <= 1
    generator.leave("198.18.66.7")
    generator.leave("198.18.66.7")
    seen = len(crawler.seen)
    loop.run_until(40.0)
    assert len(crawler.seen) == seen
    assert sum(w.offered for w in slis.window(0.0, 40.0)) <= 1


def test_fixed_clusters_come_at_even_intervals_and_are_spread() -> None:
    app, _, _ = drive(rate=1.0, seconds=24.0, cluster={"size": 5, "within_s": 2.0, "fixed": True})
    times = [round(at, 3) for at, _, _ in app.seen]
    assert times[:5] == [5.0, 5.4, 5.8, 6.2, 6.6]
    assert len(times) == 20


def test_clusters_keep_the_rate_and_make_it_bursty() -> None:
    app, _, _ = drive(rate=5.0, seconds=400.0, cluster={"size": 8, "within_s": 0.5})
    assert 0.75 < len(app.seen) / (5.0 * 400.0) < 1.25
    gaps = sorted(b[0] - a[0] for a, b in itertools.pairwise(app.seen))
    assert gaps[len(gaps) // 2] < 0.1
