"""Users who wait for work that is done later."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.load.generator import Generator, Reply
from aiopslab.load.slis import Slis
from aiopslab.models.evidence import SliWindow
from aiopslab.models.journey import Journey, Load, Slo
from aiopslab.seeds import Streams
from aiopslab.world.clock import VirtualLoop

JOURNEY = {
    "entry": "web",
    "rate": 2.0,
    "think_s": 0.0,
    "steps": [
        {"request": "POST /orders", "params": {"order": {"session": "o-"}}},
        {
            "request": "GET /status",
            "params": {"order": {"session": "o-"}},
            "poll": {"every": 1.0, "within": 10.0},
            "sli": "confirmed",
        },
    ],
}


class Later:
    """An app that takes an order at once and confirms it after ``delay_s``."""

    def __init__(self, loop: VirtualLoop, delay_s: float, not_yet: int) -> None:
        self._loop = loop
        self._delay_s = delay_s
        self._not_yet = not_yet
        self.taken: dict[str, float] = {}
        self.looks: Counter[str] = Counter()

    async def request(
        self, service: str, method: str, path: str, params: Mapping[str, str], *, timeout_s: float
    ) -> Reply:
        await asyncio.sleep(0.01)
        order = params["order"]
        if method == "POST":
            assert order not in self.taken, "each session has a number of its own"
            self.taken[order] = self._loop.time()
            return Reply(200)
        self.looks[order] += 1
        done = self._loop.time() >= self.taken[order] + self._delay_s
        return Reply(200 if done else self._not_yet)


def drive(delay_s: float, *, not_yet: int = 404) -> tuple[dict[str, SliWindow], Later]:
    loop = VirtualLoop(0.0)
    app = Later(loop, delay_s, not_yet)
    slis = Slis(
        {"order": Slo(success=0.99, p95_ms=100.0), "confirmed": Slo(success=0.99, p95_ms=1e4)}
    )
    journeys = {"order": Journey.model_validate(JOURNEY)}
    load = Load(shape="constant")
    generator = Generator(app, loop, Streams(1), journeys, load, slis)
    generator.start()
    loop.run_until(20.0)
    generator.stop()
    loop.run_until(80.0)
    return {w.journey: w for w in slis.window(0.0, 20.0)}, app


@given(delay_s=st.floats(0.0, 20.0))
@settings(max_examples=15, deadline=None)
def test_a_promise_of_completion_holds_where_the_work_is_done_in_time(delay_s: float) -> None:
    windows, app = drive(delay_s)
    assert windows["order"].met
    confirmed = windows["confirmed"]
    assert confirmed.offered == windows["order"].offered
    assert confirmed.succeeded == (confirmed.offered if delay_s <= 10.0 else 0) or 9 < delay_s < 11
    assert max(app.looks.values()) <= 11


def test_the_latency_is_that_of_the_whole_wait() -> None:
    windows, _ = drive(3.5)
    assert windows["confirmed"].p50_ms == pytest.approx(4_050.0, abs=60.0)
    assert windows["order"].p95_ms == pytest.approx(10.0)


def test_an_answer_that_is_no_yes_and_no_not_yet_ends_the_wait() -> None:
    windows, app = drive(3.5, not_yet=410)
    assert windows["confirmed"].succeeded == 0
    assert max(app.looks.values()) == 1


def test_an_error_that_may_pass_does_not() -> None:
    windows, _ = drive(3.5, not_yet=503)
    assert windows["confirmed"].succeeded == windows["confirmed"].offered
