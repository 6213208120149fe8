"""The way into a world from other event loops: one at a time, and never half driven."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from aiopslab.environments.bridge import LIMIT_S, Bridge
from aiopslab.world.clock import VirtualLoop, WorldFailure

START = 1_000.0


@pytest.fixture
def loop() -> VirtualLoop:
    return VirtualLoop(START)


@pytest.fixture
def bridge(loop: VirtualLoop) -> Iterator[Bridge]:
    bridge = Bridge(loop)
    yield bridge
    bridge.close()


def test_a_world_that_nobody_entered_from_outside_has_no_thread(
    bridge: Bridge, loop: VirtualLoop
) -> None:
    before = threading.active_count()
    bridge.run(bridge.advance(60.0))
    bridge.run(bridge.enter(asyncio.sleep(5.0)))
    assert loop.time() == START + 65.0
    assert threading.active_count() == before


def test_time_passes_when_a_foreign_loop_asks_for_it(bridge: Bridge, loop: VirtualLoop) -> None:
    asyncio.run(bridge.advance(60.0))
    assert loop.time() == START + 60.0


def test_what_is_due_fires_on_the_way(bridge: Bridge, loop: VirtualLoop) -> None:
    seen: list[float] = []
    for delay in (10.0, 60.0, 60.5):
        loop.call_later(delay, lambda: seen.append(loop.time()))
    asyncio.run(bridge.advance(60.0))
    assert seen == [START + 10.0, START + 60.0]


def test_a_coroutine_of_the_world_takes_the_time_it_needs(
    bridge: Bridge, loop: VirtualLoop
) -> None:
    async def work() -> str:
        await asyncio.sleep(7.0)
        return "done"

    assert asyncio.run(bridge.enter(work())) == "done"
    assert loop.time() == START + 7.0


def test_the_same_call_works_on_the_worlds_own_loop(bridge: Bridge, loop: VirtualLoop) -> None:
    async def work() -> float:
        await bridge.advance(3.0)
        return await bridge.enter(asyncio.sleep(4.0, result=loop.time()))

    assert bridge.run(work()) == START + 3.0
    assert loop.time() == START + 7.0


def test_parallel_callers_take_turns(bridge: Bridge, loop: VirtualLoop) -> None:
    inside = 0

    async def work(seconds: float) -> float:
        nonlocal inside
        inside += 1
        assert inside == 1
        await asyncio.sleep(seconds)
        inside -= 1
        return loop.time()

    async def main() -> list[float]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bridge.enter(work(s))) for s in (5.0, 1.0, 2.0)]
            tasks.append(group.create_task(_advance()))
        return [t.result() for t in tasks]

    async def _advance() -> float:
        await bridge.advance(10.0)
        return loop.time()

    assert asyncio.run(main()) == [START + t for t in (5.0, 6.0, 8.0, 18.0)]


def test_the_callers_loop_goes_on_while_the_world_is_driven(
    bridge: Bridge, loop: VirtualLoop
) -> None:
    gate = threading.Event()
    loop.call_later(1.0, gate.wait)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(bridge.advance(2.0))
            # If driving blocked this loop, the gate would never be opened.
            group.create_task(asyncio.to_thread(gate.set))

    asyncio.run(main())
    assert loop.time() == START + 2.0


def test_an_error_of_the_coroutine_comes_out_unchanged(bridge: Bridge) -> None:
    async def work() -> None:
        await asyncio.sleep(1.0)
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        asyncio.run(bridge.enter(work()))


def test_a_task_of_the_world_that_dies_is_a_failure_of_the_world(
    bridge: Bridge, loop: VirtualLoop
) -> None:
    def die() -> None:
        raise ZeroDivisionError("defect")

    loop.call_later(1.0, die)
    with pytest.raises(WorldFailure, match="defect"):
        asyncio.run(bridge.advance(5.0))


def test_a_coroutine_that_hangs_is_ended(bridge: Bridge, loop: VirtualLoop) -> None:
    async def hang() -> None:
        await asyncio.sleep(2 * LIMIT_S)

    with pytest.raises(WorldFailure, match="not done after"):
        asyncio.run(bridge.enter(hang()))
    assert loop.time() <= START + LIMIT_S


def test_a_cancelled_caller_leaves_only_once_the_world_stands_still(
    bridge: Bridge, loop: VirtualLoop
) -> None:
    entered, gate = threading.Event(), threading.Event()

    def pause() -> None:
        entered.set()
        gate.wait()

    loop.call_later(1.0, pause)

    async def main() -> None:
        caller = asyncio.create_task(bridge.advance(60.0))
        await asyncio.to_thread(entered.wait)
        caller.cancel()
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.sleep(0)
        assert not caller.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert not loop.is_running()
        assert loop.time() == START + 60.0

    asyncio.run(main())


def test_a_timeout_around_a_call_still_times_out(bridge: Bridge, loop: VirtualLoop) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await bridge.advance(60.0)
        await bridge.advance(1.0)

    asyncio.run(main())
    assert loop.time() in (START + 1.0, START + 61.0)


def test_a_caller_cancelled_before_its_turn_leaves_nothing_behind(
    bridge: Bridge, loop: VirtualLoop
) -> None:
    entered, gate = threading.Event(), threading.Event()

    def pause() -> None:
        entered.set()
        gate.wait()

    loop.call_later(1.0, pause)
    ran: list[str] = []

    async def work() -> None:
        ran.append("work")

    async def main() -> None:
        first = asyncio.create_task(bridge.advance(2.0))
        await asyncio.to_thread(entered.wait)
        second = asyncio.create_task(bridge.enter(work()))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        await first

    # A coroutine that was never awaited would be a warning, and warnings are errors.
    asyncio.run(main())
    assert ran == []


def test_closing_ends_the_thread_and_the_world_may_be_entered_again(
    bridge: Bridge, loop: VirtualLoop
) -> None:
    before = threading.active_count()
    asyncio.run(bridge.advance(1.0))
    bridge.close()
    bridge.close()
    assert threading.active_count() == before
    asyncio.run(bridge.advance(1.0))
    assert loop.time() == START + 2.0


def test_another_loop_may_come_after_one_that_is_gone(bridge: Bridge, loop: VirtualLoop) -> None:
    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(bridge.advance(1.0))
            group.create_task(bridge.advance(1.0))

    asyncio.run(both())
    asyncio.run(both())
    assert loop.time() == START + 4.0
