"""Pauses and deadlines are those of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.pauses import Deadline, pause
from aiopslab.world.clock import VirtualLoop

Story = Callable[[VirtualLoop, list[str]], Awaitable[None]]


def told(story: Story) -> list[str]:
    loop, said = VirtualLoop(0.0), list[str]()
    loop.run_until_complete(_tell(story, loop, said))
    return said


async def _tell(story: Story, loop: VirtualLoop, said: list[str]) -> None:
    await story(loop, said)


def outcome(loop: VirtualLoop, name: str) -> str:
    return f"{name} at {loop.time():g}"


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12))
def test_pauses_end_in_the_order_of_asyncio(naps: list[tuple[int, bool]]) -> None:
    def story(ours: bool) -> Story:
        async def nap(loop: VirtualLoop, said: list[str], n: int, seconds: int) -> None:
            await (pause(loop, seconds) if ours else asyncio.sleep(seconds))
            said.append(outcome(loop, str(n)))

        async def all_naps(loop: VirtualLoop, said: list[str]) -> None:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(nap(loop, said, n, s)) for n, (s, _) in enumerate(naps)]
                await asyncio.sleep(1.5)
                for task, (_, cancelled) in zip(tasks, naps, strict=True):
                    if cancelled:
                        task.cancel()

        return all_naps

    assert told(story(True)) == told(story(False))


@given(
    st.sampled_from([-1.0, 0.0, 1.0, 2.0, 3.0]),
    st.sampled_from([0.0, 1.0, 2.0, 3.0]),
    st.sampled_from([None, 0.5, 1.0, 2.0]),
)
def test_deadlines_end_as_those_of_asyncio(limit: float, work: float, cancel: float | None) -> None:
    def story(ours: bool) -> Story:
        async def limited(loop: VirtualLoop) -> str:
            try:
                if ours:
                    with Deadline(loop, limit):
                        await asyncio.sleep(work)
                else:
                    async with asyncio.timeout(limit):
                        await asyncio.sleep(work)
            except TimeoutError:
                return outcome(loop, "late")
            return outcome(loop, "done")

        async def tell(loop: VirtualLoop, said: list[str]) -> None:
            task = loop.create_task(limited(loop))
            if cancel is not None:
                loop.call_later(cancel, task.cancel)
            try:
                said.append(await task)
            except asyncio.CancelledError:
                said.append(outcome(loop, "cancelled"))

        return tell

    assert told(story(True)) == told(story(False))


def test_an_error_inside_a_deadline_comes_out_as_it_is() -> None:
    async def story(loop: VirtualLoop, said: list[str]) -> None:
        with pytest.raises(ZeroDivisionError), Deadline(loop, 1.0):
            raise ZeroDivisionError
        await pause(loop, 2.0)
        said.append("went on")

    assert told(story) == ["went on"]
