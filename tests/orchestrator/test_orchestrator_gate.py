"""Requests of wire APIs in a trial: they cost, count and are recorded as tool calls are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orchestrator_fakes as fakes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.errors import InfraError, LimitExceeded
from aiopslab.models.observation import Brief
from aiopslab.models.run import RunConfig
from aiopslab.models.trial import Step
from aiopslab.orchestrator.session import PATIENCE, Session
from aiopslab.orchestrator.trial_gate import TrialGate
from aiopslab.wire.gate import POLL_S, Call, StandingGate

LIST = Call("kubernetes", {"method": "GET", "path": "/api/v1/pods"})
PATCH = Call("kubernetes", {"method": "PATCH", "path": "/x"}, "write")


class Bench:
    """A session on a fake environment, with the steps it records."""

    def __init__(self, **config: Any) -> None:
        self.env: Any = fakes.FakeEnvironment(7)
        self.steps: list[Step] = []
        brief = Brief(
            trial="t-1", task="mitigation", instructions="", app="a", namespace="one",
            app_summary="", now="", answer_schema={},
        )  # fmt: skip
        given = RunConfig.model_validate({"targets": ["one"], **config})
        self.session = Session(brief, self.env, given, self.steps.append)
        self.gate = TrialGate(self.session)

    async def ask(self, call: Call = LIST, text: str = "seen", *, ok: bool = True) -> str:
        async with self.gate.turn(call) as turn:
            turn.saw(text, ok=ok)
        return turn.id


def on_a_bench(body: Callable[[Bench], Awaitable[None]], **config: Any) -> Bench:
    async def go() -> Bench:
        bench = Bench(**config)
        await body(bench)
        return bench

    return asyncio.run(go())


def test_a_request_costs_what_a_tool_call_costs() -> None:
    async def body(bench: Bench) -> None:
        began = bench.env.now()
        await bench.ask(LIST)
        assert bench.env.now() - began == 2.0 + 2.0
        await bench.ask(PATCH)
        assert bench.env.now() - began == 4.0 + 2.0 + 5.0

    used = on_a_bench(body).session.used()
    assert (used.steps, used.reads, used.writes) == (2, 1, 1)


def test_requests_and_tool_calls_share_one_count_of_observations() -> None:
    async def body(bench: Bench) -> None:
        assert await bench.ask() == "obs-1"
        assert (await bench.session.call("alerts")).id == "obs-2"
        assert await bench.ask(PATCH, "no", ok=False) == "obs-3"

    steps = on_a_bench(body).steps
    assert [(s.id, s.tool, s.effect, s.ok, s.text) for s in steps if s.tool == "kubernetes"] == [
        ("obs-1", "kubernetes", "read", True, "seen"),
        ("obs-3", "kubernetes", "write", False, "no"),
    ]


def test_a_used_up_budget_refuses_and_one_who_goes_on_regardless_is_stopped() -> None:
    async def body(bench: Bench) -> None:
        await bench.ask()
        for n in range(PATIENCE):
            assert bench.session.over.is_set() is False, n
            with pytest.raises(LimitExceeded, match="budget of 1 steps"):
                await bench.ask()
        assert bench.session.over.is_set()
        with pytest.raises(LimitExceeded, match="the trial is over"):
            await bench.ask()

    session = on_a_bench(body, limits={"steps": 1}).session
    assert (session.limit, session.malformed) == ("steps", False)


def test_after_the_answer_nothing_follows() -> None:
    async def body(bench: Bench) -> None:
        await bench.session.call("submit", summary="done", confidence=0.5)
        with pytest.raises(LimitExceeded, match="the trial is over"):
            await bench.ask()

    assert on_a_bench(body).session.answer is not None


def test_a_tool_call_after_the_answer_is_refused_and_moves_nothing() -> None:
    async def body(bench: Bench) -> None:
        await bench.session.call("submit", summary="done", confidence=0.5)
        ended = bench.env.now()
        for _ in range(3):
            assert not (await bench.session.call("wait", seconds=60)).ok
        assert bench.env.now() == ended

    assert on_a_bench(body).session.answer is not None


def test_who_was_stopped_for_a_used_up_budget_gets_no_tool_and_no_answer_in() -> None:
    async def body(bench: Bench) -> None:
        await bench.session.call("alerts")
        for _ in range(PATIENCE):
            with pytest.raises(LimitExceeded, match="budget of 1 steps"):
                await bench.session.call("alerts")
        ended = bench.env.now()
        for name, arguments in (("alerts", {}), ("submit", {"summary": "x", "confidence": 0.5})):
            with pytest.raises(LimitExceeded, match="the trial is over"):
                await bench.session.call(name, **arguments)
        assert bench.env.now() == ended

    bench = on_a_bench(body, limits={"steps": 1})
    assert (bench.session.answer, bench.session.limit, len(bench.steps)) == (None, "steps", 1)


def test_a_failure_of_the_lab_inside_a_turn_is_the_labs() -> None:
    async def body(bench: Bench) -> None:
        with pytest.raises(InfraError, match="kubernetes: KeyError"):
            async with bench.gate.turn(LIST):
                raise KeyError("x")

    session = on_a_bench(body).session
    assert session.failure is not None
    assert session.over.is_set()


def test_an_open_stream_lets_time_pass_at_the_trials_expense() -> None:
    async def body(bench: Bench) -> None:
        began = bench.env.now()
        for _ in range(3):
            await bench.gate.moved()
        assert bench.env.now() - began == 3 * POLL_S

    assert on_a_bench(body).session.used().virtual_s == 3 * POLL_S


def test_a_stream_ends_with_the_time_and_with_the_trial() -> None:
    async def body(bench: Bench) -> None:
        await bench.gate.moved()
        await bench.gate.moved()
        with pytest.raises(LimitExceeded):
            await bench.gate.moved()
        bench.session.over.set()
        await bench.gate.moved()
        assert bench.gate.closing.is_set()

    on_a_bench(body, limits={"virtual_s": 2 * POLL_S})


def test_only_one_at_a_time_holds_the_world() -> None:
    inside = 0

    async def body(bench: Bench) -> None:
        async def ask() -> None:
            nonlocal inside
            async with bench.gate.turn(LIST) as turn:
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                turn.saw("")
                inside -= 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(ask())
            tasks.create_task(bench.session.call("alerts"))

    assert [s.n for s in on_a_bench(body).steps] == list(range(1, 22))


def test_a_world_on_the_hosts_clock_stands_still_during_a_turn() -> None:
    async def body(bench: Bench) -> None:
        pacing = asyncio.create_task(bench.session.pace())
        async with bench.gate.turn(LIST) as turn:
            then = bench.env.now()
            await asyncio.sleep(0.25)
            assert bench.env.now() == then
            turn.saw("")
        await bench.session.call("wait", seconds=5)
        assert bench.env.now() > then
        pacing.cancel()

    on_a_bench(body, clock="wall:10")


def test_waiting_on_the_hosts_clock_lets_the_world_move() -> None:
    async def body(bench: Bench) -> None:
        pacing = asyncio.create_task(bench.session.pace())
        then = bench.env.now()
        await bench.session.call("wait", seconds=30)
        assert bench.env.now() > then
        pacing.cancel()

    on_a_bench(body, clock="wall:100")


@given(st.lists(st.sampled_from(["read", "write", "tool", "fail"]), max_size=8))
@settings(deadline=None, max_examples=20)
def test_whatever_is_asked_every_step_is_recorded_once_and_in_order(acts: list[str]) -> None:
    async def body(bench: Bench) -> None:
        for act in acts:
            match act:
                case "tool":
                    await bench.session.call("alerts")
                case "fail":
                    await bench.ask(ok=False)
                case _:
                    await bench.ask(PATCH if act == "write" else LIST)

    bench = on_a_bench(body)
    assert [s.n for s in bench.steps] == list(range(1, len(acts) + 1))
    used = bench.session.used()
    assert used.steps == len(acts)
    assert used.tool_errors == acts.count("fail")
    assert used.writes == acts.count("write")


def test_a_standing_lab_moves_only_between_turns() -> None:
    async def go() -> None:
        env: Any = fakes.FakeEnvironment(7)
        gate = StandingGate(env, 100.0)
        pacing = asyncio.create_task(gate.pace(every_s=0.01))
        async with gate.turn(LIST) as turn:
            then = env.now()
            await asyncio.sleep(0.05)
            assert (env.now(), turn.id) == (then, "")
        await gate.moved()
        assert env.now() > then
        gate.close()
        await gate.moved()
        pacing.cancel()

    asyncio.run(go())


def test_doors_that_cannot_open_are_the_labs_failure(tmp_path: Path) -> None:
    from test_orchestrator_trial import play

    trial, _ = play(tmp_path, fakes.Repairer(), serve=True)
    assert (trial.outcome, trial.termination) == ("infra_error", "error: doors")
