"""Settling where only the verdict counts: it ends when it is decided, and decides the same."""

from __future__ import annotations

import asyncio
from typing import Any

import orchestrator_fakes as fakes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading import grade
from aiopslab.load.slis import Slis
from aiopslab.models.answer import Mitigation
from aiopslab.models.evidence import Evidence, SliWindow
from aiopslab.models.journey import Slo
from aiopslab.orchestrator import evidence, staging

LAB = fakes.FakeLab({})
LENGTH = 60.0
FAST, SLOW = 0.01, 2.0
"""Latencies far inside and outside the promise."""


def slis(parts: list[tuple[float, list[tuple[bool, bool]]]]) -> Slis:
    """Users' experience: for each (start, outcomes) requests that were good or not, fast or not."""
    found = Slis({"browse": Slo(success=0.9, p95_ms=500)})
    for start, outcomes in parts:
        for ok, fast in outcomes:
            found.record("browse", start, FAST if fast else SLOW, ok=ok)
    return found


def window(found: Slis, end: float) -> SliWindow:
    (only,) = found.window(0.0, end)
    return only


outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(seen=outcomes, rest=st.integers(0, 10_000), at=st.sampled_from([10.0, 20.0, 40.0, LENGTH]))
def test_a_window_that_is_given_up_could_not_have_been_met(
    seen: list[tuple[bool, bool]], rest: int, at: float
) -> None:
    part = window(slis([(0.0, seen)]), at)
    if not evidence.beyond_repair(part, LENGTH):
        return
    most = int(evidence.SURGE * len(seen) * LENGTH / at)
    perfect = [(True, True)] * min(rest, most - len(seen))
    assert not window(slis([(0.0, seen), (at, perfect)]), LENGTH).met


def test_a_window_without_a_good_request_is_given_up_at_once_and_a_good_one_never() -> None:
    assert evidence.beyond_repair(window(slis([(0.0, [(False, True)] * 50)]), 40.0), LENGTH)
    assert evidence.beyond_repair(window(slis([(0.0, [(True, False)] * 50)]), 40.0), LENGTH)
    assert not evidence.beyond_repair(window(slis([(0.0, [(True, True)] * 50)]), 40.0), LENGTH)
    assert not evidence.beyond_repair(window(slis([]), 40.0), LENGTH)


async def measured(*, repaired: bool, verdict_only: bool) -> tuple[staging.Staged, Evidence]:
    env: Any = fakes.FakeEnvironment(7)
    await env.advance(300.0)
    led = await staging.lead(env, LAB.draw("one", 7))
    staged = (await staging.strike(led, twin=False)).for_task("mitigation")
    if repaired:
        await env.kube.patch("Deployment", "web", {"spec": {"replicas": 2}})
    begun = await evidence.at_handover(env)
    found = await evidence.after_answer(
        staged, begun, [], submitted=True, verdict_only=verdict_only
    )
    return staged, found


def test_where_nothing_is_lost_the_evidence_is_the_same() -> None:
    _, whole = asyncio.run(measured(repaired=True, verdict_only=False))
    _, short = asyncio.run(measured(repaired=True, verdict_only=True))
    assert short == whole


@pytest.mark.parametrize("repaired", [True, False])
def test_the_verdict_is_that_of_whole_evidence(repaired: bool) -> None:
    verdicts = []
    for verdict_only in (False, True):
        staged, found = asyncio.run(measured(repaired=repaired, verdict_only=verdict_only))
        answer = Mitigation(summary="done", confidence=1.0)
        verdicts.append(grade("mitigation", answer, staged.truth, found, []).passed)
    assert verdicts == [repaired, repaired]


def test_what_was_not_measured_is_not_there() -> None:
    _, whole = asyncio.run(measured(repaired=False, verdict_only=False))
    _, short = asyncio.run(measured(repaired=False, verdict_only=True))
    assert len(whole.settle) == 2
    ((first,),) = short.settle
    assert first.end - first.start < LENGTH
    assert not first.met
