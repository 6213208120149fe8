"""The event loop on virtual time."""

from __future__ import annotations

import asyncio
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.world.clock import VirtualLoop, WorldFailure

START = 1_773_133_200.0


def test_sleeping_costs_virtual_time_only() -> None:
    loop = VirtualLoop(START)

    async def nap() -> float:
        await asyncio.sleep(3000.0)
        return asyncio.get_running_loop().time()

    assert loop.run_until_complete(nap()) == START + 3000.0


@given(st.lists(st.integers(0, 20), max_size=40))
def test_timers_fire_by_time_and_then_in_the_order_they_were_set(delays: list[int]) -> None:
    loop = VirtualLoop(START)
    fired: list[tuple[int, int]] = []
    for n, delay in enumerate(delays):
        loop.call_later(delay, fired.append, (delay, n))
    loop.run_until(START + 20)
    assert fired == sorted((delay, n) for n, delay in enumerate(delays))


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60))
def test_cancelled_timers_never_fire_and_the_others_do(timers: list[tuple[int, bool]]) -> None:
    loop = VirtualLoop(0.0)
    fired: list[int] = []
    handles = [loop.call_later(d, fired.append, n) for n, (d, _) in enumerate(timers)]
    for handle, (_, cancelled) in zip(handles, timers, strict=True):
        if cancelled:
            handle.cancel()
            handle.cancel()
    loop.run_until(10.0)
    assert sorted(fired) == [n for n, (_, cancelled) in enumerate(timers) if not cancelled]


def test_many_cancelled_deadlines_are_not_kept_until_they_are_due() -> None:
    loop = VirtualLoop(0.0)
    kept: list[int] = []
    loop.call_at(5000.0, kept.append, 1)
    for second in range(200):
        for _ in range(1000):
            loop.call_at(9000.0, kept.append, 2).cancel()
        loop.run_until(float(second))
        loop.call_later(0.5, len, "")
    assert sum(len(waiting) for waiting in loop._later.values()) < 50_000
    loop.run_until(9000.0)
    assert kept == [1]


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60))
def test_timers_set_while_others_fire_take_their_place(delays: list[tuple[int, bool]]) -> None:
    loop = VirtualLoop(START)
    fired: list[float] = []

    def note(again: int) -> None:
        fired.append(loop.time())
        if again:
            loop.call_later(again / 16.0, note, 0)

    for delay, again in delays:
        loop.call_later(delay / 16.0, note, delay if again else 0)
    loop.run_until(START + 10.0)
    expected = [d / 16.0 for d, _ in delays] + [d / 8.0 for d, again in delays if again and d]
    assert fired == [START + after for after in sorted(expected)]


def test_a_timer_may_lie_at_the_end_of_time() -> None:
    loop = VirtualLoop(START)
    fired: list[int] = []
    loop.call_at(math.inf, fired.append, 2)
    loop.call_at(1e15, fired.append, 1)
    loop.run_until(1e16)
    assert fired == [1]


def test_run_until_ends_at_the_time_asked_for_and_fires_what_is_due_then() -> None:
    loop = VirtualLoop(START)
    fired: list[float] = []
    loop.call_at(START + 5.0, lambda: fired.append(loop.time()))
    loop.run_until(START + 4.999)
    assert fired == []
    loop.run_until(START + 5.0)
    assert fired == [START + 5.0]
    assert loop.time() == START + 5.0
    with pytest.raises(ValueError, match="already"):
        loop.run_until(START)


def test_tasks_groups_timeouts_queues_and_events_of_asyncio_work() -> None:
    loop = VirtualLoop(0.0)

    async def work() -> list[str]:
        seen: list[str] = []
        queue: asyncio.Queue[str] = asyncio.Queue()
        go = asyncio.Event()

        async def producer() -> None:
            await go.wait()
            await asyncio.sleep(1.0)
            queue.put_nowait("made")

        async with asyncio.TaskGroup() as group:
            group.create_task(producer())
            try:
                async with asyncio.timeout(2.0):
                    await queue.get()
            except TimeoutError:
                seen.append(f"timeout at {loop.time():g}")
            go.set()
            seen.append(await queue.get())
        return [*seen, f"end at {loop.time():g}"]

    assert loop.run_until_complete(work()) == ["timeout at 2", "made", "end at 3"]


def test_a_task_that_nobody_watches_stops_the_world_when_it_dies() -> None:
    loop = VirtualLoop(0.0)

    async def dies() -> None:
        await asyncio.sleep(1.0)
        raise KeyError("lost")

    loop.create_task(dies())
    with pytest.raises(WorldFailure, match="KeyError: 'lost'") as caught:
        loop.run_until(10.0)
    assert isinstance(caught.value.__cause__, KeyError)
    loop.run_until(10.0)  # reported once


def test_a_callback_that_raises_stops_the_world() -> None:
    loop = VirtualLoop(0.0)
    loop.call_at(1.0, {}.pop, "missing")
    with pytest.raises(WorldFailure, match="KeyError: 'missing'"):
        loop.run_until(10.0)


def test_run_until_complete_raises_what_the_coroutine_raises() -> None:
    async def dies() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        VirtualLoop(0.0).run_until_complete(dies())


def test_run_until_complete_gives_up_at_its_limit_and_cancels() -> None:
    loop = VirtualLoop(0.0)
    cancelled: list[float] = []

    async def endless() -> None:
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            cancelled.append(loop.time())
            raise

    with pytest.raises(WorldFailure, match="not done after 60 virtual seconds"):
        loop.run_until_complete(endless(), limit_s=60.0)
    assert len(cancelled) == 1


def test_the_loop_does_not_run_inside_itself_but_runs_inside_an_ordinary_loop() -> None:
    world = VirtualLoop(0.0)

    async def inner() -> str:
        with pytest.raises(RuntimeError, match="running already"):
            world.run_until(1.0)
        await asyncio.sleep(1.0)
        return "inner"

    async def outer() -> tuple[str, bool]:
        before = asyncio.get_running_loop()
        found = world.run_until_complete(inner())
        return found, asyncio.get_running_loop() is before

    assert asyncio.run(outer()) == ("inner", True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_a_forked_loop_goes_on_as_the_original_does() -> None:
    loop = VirtualLoop(0.0)
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.7)
            ticks.append(loop.time())

    task = loop.create_task(tick())
    loop.run_until(10.0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        loop.run_until(20.0)
        os.write(writer, repr(ticks).encode())
        os._exit(0)
    os.close(writer)
    loop.run_until(20.0)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read().decode() == repr(ticks)
    assert os.waitpid(child, 0)[1] == 0
    task.cancel()
    loop.run_until(20.0)
