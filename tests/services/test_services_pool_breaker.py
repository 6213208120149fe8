from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services_fakes import run

from aiopslab.services.breaker import Breaker
from aiopslab.services.pool import Pool, PoolExhausted
from aiopslab.services.workers import Workers
from aiopslab.world.clock import VirtualLoop


class Wire:
    closed = False

    def close(self) -> None:
        self.closed = True


class Opener:
    def __init__(self) -> None:
        self.made: list[Wire] = []
        self.error: Exception | None = None

    async def __call__(self, timeout_s: float) -> Wire:
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        self.made.append(Wire())
        return self.made[-1]


def test_a_connection_is_reused_until_it_is_old_or_closed() -> None:
    async def main(loop: VirtualLoop) -> None:
        opener = Opener()
        pool = Pool(4, opener, loop.time, max_age_s=30.0)
        first = await pool.take(1.0)
        pool.give(first)
        assert await pool.take(1.0) is first
        pool.give(first)
        await asyncio.sleep(31)
        second = await pool.take(1.0)
        assert (second is first, first.closed) == (False, True)
        second.close()
        pool.give(second)
        assert await pool.take(1.0) is not second
        assert len(opener.made) == 3

    run(main)


def test_a_pool_keeps_connections_ready_and_replaces_the_dead_and_the_old() -> None:
    async def main(loop: VirtualLoop) -> None:
        opener = Opener()
        pool = Pool(4, opener, loop.time, max_age_s=30.0)
        await pool.keep(3, 1.0)
        assert (pool.stats().idle, len(opener.made)) == (3, 3)
        opener.made[0].close()
        await pool.keep(3, 1.0)
        assert (pool.stats().idle, len(opener.made)) == (3, 4)
        await asyncio.sleep(31)
        await pool.keep(3, 1.0)
        assert (pool.stats().idle, len(opener.made)) == (3, 7)
        assert all(wire.closed for wire in opener.made[:4])

    run(main)


def test_a_pool_keeps_no_more_ready_than_it_may_hold_and_counts_what_is_used() -> None:
    async def main(loop: VirtualLoop) -> None:
        opener = Opener()
        pool = Pool(2, opener, loop.time, max_age_s=30.0)
        held = await pool.take(1.0)
        await pool.keep(5, 1.0)
        assert (pool.stats().used, pool.stats().idle, len(opener.made)) == (1, 1, 2)
        pool.give(held)
        opener.error = ConnectionError("too many")
        opener.made[0].close()
        with pytest.raises(ConnectionError):
            await pool.keep(2, 1.0)
        assert (pool.stats().used, pool.stats().idle) == (0, 1)

    run(main)


def test_waiters_are_served_in_order_and_give_up_in_time() -> None:
    async def main(loop: VirtualLoop) -> None:
        pool = Pool(1, Opener(), loop.time, max_age_s=30.0)
        held = await pool.take(1.0)
        start = loop.time()
        patient = loop.create_task(pool.take(5.0))
        with pytest.raises(PoolExhausted):
            await pool.take(0.5)
        assert loop.time() - start == pytest.approx(0.5)
        assert pool.stats().pending == 1
        pool.give(held)
        assert await patient is held

    run(main)


def test_a_connection_that_cannot_be_opened_frees_its_place() -> None:
    async def main(loop: VirtualLoop) -> None:
        opener = Opener()
        pool = Pool(1, opener, loop.time, max_age_s=30.0)
        opener.error = ConnectionError("no")
        with pytest.raises(ConnectionError):
            await pool.take(1.0)
        opener.error = None
        assert await pool.take(1.0)

    run(main)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 4),
    jobs=st.lists(
        st.tuples(st.floats(0, 2), st.floats(0.001, 1), st.floats(0.01, 1), st.booleans()),
        max_size=25,
    ),
)
def test_a_pool_never_exceeds_its_size_and_always_comes_to_rest(
    size: int, jobs: list[tuple[float, float, float, bool]]
) -> None:
    async def main(loop: VirtualLoop) -> None:
        pool = Pool(size, Opener(), loop.time, max_age_s=0.7)

        async def job(at: float, hold: float, patience: float, broken: bool) -> None:
            await asyncio.sleep(at)
            try:
                wire = await pool.take(patience)
            except PoolExhausted:
                return
            stats = pool.stats()
            assert stats.used + stats.idle <= size
            try:
                await asyncio.sleep(hold)
            finally:
                pool.give(wire, broken=broken)

        tasks = [loop.create_task(job(*each)) for each in jobs]
        for task in tasks[::3]:
            loop.call_later(0.6, task.cancel)
        await asyncio.wait(tasks) if tasks else None
        stats = pool.stats()
        assert (stats.used, stats.pending) == (0, 0)

    run(main)


def test_a_breaker_opens_after_failures_in_a_row_and_tries_one_request() -> None:
    breaker = Breaker(3, 5.0)
    for _ in range(2):
        breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(3):
        assert breaker.allows(1.0)
        breaker.failed(1.0)
    assert (breaker.state, breaker.allows(5.9)) == ("open", False)
    assert breaker.allows(6.0)
    assert (breaker.state, breaker.allows(6.0)) == ("half_open", False)
    breaker.failed(6.0)
    assert (breaker.state, breaker.allows(10.9)) == ("open", False)
    assert breaker.allows(11.0)
    breaker.succeeded()
    assert breaker.allows(11.0)
    assert breaker.state == "closed"


def test_a_trial_without_outcome_lets_another_try() -> None:
    breaker = Breaker(1, 5.0)
    breaker.failed(0.0)
    assert breaker.allows(5.0)
    assert not breaker.allows(5.0)
    breaker.cancelled()
    assert breaker.allows(5.0)


def test_a_breaker_without_threshold_never_opens() -> None:
    breaker = Breaker(0, 5.0)
    for second in range(50):
        breaker.failed(float(second))
    assert breaker.state == "closed"


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 3),
    queue=st.integers(0, 3),
    jobs=st.lists(st.tuples(st.floats(0, 1), st.floats(0.001, 1)), min_size=1, max_size=20),
)
def test_workers_admit_at_most_their_size_and_lose_no_one(
    size: int, queue: int, jobs: list[tuple[float, float]]
) -> None:
    async def main(loop: VirtualLoop) -> None:
        workers = Workers(size, queue)

        async def job(at: float, hold: float) -> None:
            await asyncio.sleep(at)
            if not await workers.enter():
                return
            assert workers.active <= size
            assert workers.waiting <= queue
            try:
                await asyncio.sleep(hold)
            finally:
                workers.leave()

        tasks = [loop.create_task(job(*each)) for each in jobs]
        loop.call_later(0.5, tasks[-1].cancel)
        await asyncio.wait(tasks)
        assert (workers.active, workers.waiting) == (0, 0)
        await workers.drained()

    run(main)
