"""Steps side by side: all end, the first failure ends the others."""

from __future__ import annotations

import asyncio

import pytest

from aiopslab.pauses import pause
from aiopslab.services.branches import Branches, Run
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.languages import Problem
from aiopslab.world.clock import VirtualLoop

ended: list[str] = []


def step(name: str, after_s: float, error: Exception | None = None) -> Run:
    async def run(x: Exchange) -> None:
        try:
            await pause(asyncio.get_running_loop(), after_s)
            if error is not None:
                raise error
        finally:
            ended.append(f"{name} {asyncio.get_running_loop().time():g}")

    return run


def failure(status: int) -> RequestFailed:
    return RequestFailed(status, Problem(str(status), "no"))


@pytest.fixture(autouse=True)
def loop() -> VirtualLoop:
    ended.clear()
    return VirtualLoop(0.0)


def run(loop: VirtualLoop, *runs: Run) -> None:
    loop.run_until_complete(Branches().run(runs, Exchange(1, 2, {})))


def test_branches_overlap_and_all_end(loop: VirtualLoop) -> None:
    run(loop, step("a", 3.0), step("b", 1.0), step("c", 2.0))
    assert ended == ["b 1", "c 2", "a 3"]


def test_the_first_failure_ends_the_others_and_is_what_is_raised(loop: VirtualLoop) -> None:
    with pytest.raises(RequestFailed) as raised:
        run(loop, step("a", 3.0), step("b", 1.0, failure(502)), step("c", 2.0, failure(503)))
    assert raised.value.status == 502
    assert ended == ["b 1", "a 1", "c 1"]


def test_an_error_that_is_no_failed_request_is_not_taken_for_one(loop: VirtualLoop) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        run(loop, step("a", 1.0, ZeroDivisionError()), step("b", 1.0, failure(503)))
    assert isinstance(raised.value.exceptions[0], ZeroDivisionError)


def test_cancelling_ends_every_branch_before_it_is_over(loop: VirtualLoop) -> None:
    async def stubborn(x: Exchange) -> None:
        try:
            await pause(loop, 9.0)
        finally:
            await pause(loop, 1.0)
            ended.append(f"stubborn {loop.time():g}")

    async def cancelled() -> None:
        task = loop.create_task(Branches().run([step("a", 9.0), stubborn], Exchange(1, 2, {})))
        await pause(loop, 2.0)
        task.cancel()
        await pause(loop, 0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run_until_complete(cancelled())
    assert ended == ["a 2", "stubborn 3"]
