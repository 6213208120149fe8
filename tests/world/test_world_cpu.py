"""CPU sharing, limits, steal and neighbours."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.world.bandwidth import PERIOD_S
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.cpu import CpuGroup, NodeCpu

RESOLUTION = 1e-5


def burn(loop: VirtualLoop, group: CpuGroup, *seconds: float) -> list[float]:
    """Start jobs together; return how long each took."""
    begin = loop.time()
    took = [0.0] * len(seconds)

    async def job(n: int) -> None:
        await group.burn(seconds[n])
        took[n] = loop.time() - begin

    async def all_jobs() -> None:
        async with asyncio.TaskGroup() as tasks:
            for n in range(len(seconds)):
                tasks.create_task(job(n))

    loop.run_until_complete(all_jobs())
    return took


def test_a_job_alone_takes_its_cpu_time() -> None:
    loop = VirtualLoop(0.0)
    node = NodeCpu(loop, 4.0)
    group = node.group("a", request=0.1, limit=None)
    assert burn(loop, group, 0.25) == [pytest.approx(0.25)]
    assert group.usage_seconds == pytest.approx(0.25)
    assert node.usage_seconds == pytest.approx(0.25)
    assert node.pressure_seconds == 0.0


def test_jobs_beyond_the_cores_share_them_equally() -> None:
    loop = VirtualLoop(0.0)
    group = NodeCpu(loop, 2.0).group("a", request=0.1, limit=None)
    assert burn(loop, group, 1.0, 1.0, 1.0, 1.0) == [pytest.approx(2.0, abs=1e-5)] * 4


def test_short_jobs_leave_the_cores_to_long_ones() -> None:
    loop = VirtualLoop(0.0)
    group = NodeCpu(loop, 1.0).group("a", request=0.1, limit=None)
    short, long = burn(loop, group, 1.0, 3.0)
    assert short == pytest.approx(2.0, abs=1e-5)
    assert long == pytest.approx(4.0, abs=1e-5)


def test_a_limit_lets_a_burst_pass_and_then_throttles_until_the_period_ends() -> None:
    loop = VirtualLoop(0.0)
    group = NodeCpu(loop, 4.0).group("a", request=0.1, limit=0.5)
    assert burn(loop, group, 0.04) == [pytest.approx(0.04)]
    assert group.throttled_periods == 0
    loop.run_until(1.0)
    # A fresh period: 50 ms run, 50 ms of standing still, then the last 10 ms.
    assert burn(loop, group, 0.06) == [pytest.approx(0.11, abs=1e-5)]
    assert (group.periods, group.throttled_periods) == (3, 1)
    assert group.throttled_seconds == pytest.approx(0.05, abs=1e-5)


def test_threads_use_the_quota_up_sooner_although_average_use_is_below_the_limit() -> None:
    loop = VirtualLoop(0.0)
    group = NodeCpu(loop, 4.0).group("a", request=0.1, limit=1.0)
    took = burn(loop, group, 0.03, 0.03, 0.03, 0.03)
    assert took == [pytest.approx(0.105, abs=1e-5)] * 4
    assert group.throttled_periods == 1


def test_raising_the_limit_frees_a_throttled_group_at_once() -> None:
    loop = VirtualLoop(0.0)
    group = NodeCpu(loop, 4.0).group("a", request=0.1, limit=0.01)
    loop.call_at(0.05, setattr, group, "limit", None)
    assert burn(loop, group, 0.101) == [pytest.approx(0.15, abs=1e-5)]
    assert group.throttled_seconds == pytest.approx(0.049, abs=1e-5)


def test_a_crowded_node_shares_by_request() -> None:
    loop = VirtualLoop(0.0)
    node = NodeCpu(loop, 3.0)
    big, small = (node.group(n, request=r, limit=None) for n, r in (("big", 2.0), ("small", 0.5)))
    big.spin(8.0)
    small.spin(8.0)
    loop.run_until(100.0)
    assert big.usage_seconds == pytest.approx(240.0)
    assert small.usage_seconds == pytest.approx(60.0)
    assert node.pressure_seconds == pytest.approx(100.0)


def test_what_a_group_does_not_want_goes_to_the_others() -> None:
    loop = VirtualLoop(0.0)
    node = NodeCpu(loop, 4.0)
    modest = node.group("modest", request=4.0, limit=None)
    greedy = node.group("greedy", request=0.0, limit=None)
    modest.spin(1.0)
    greedy.spin(20.0)
    loop.run_until(10.0)
    assert modest.usage_seconds == pytest.approx(10.0)
    assert greedy.usage_seconds == pytest.approx(30.0)


def test_a_neighbour_slows_jobs_only_once_the_cores_are_short() -> None:
    loop = VirtualLoop(0.0)
    node = NodeCpu(loop, 2.0)
    app, other = (node.group(n, request=1.0, limit=None) for n in ("app", "other"))
    other.spin(1.0)
    assert burn(loop, app, 1.0) == [pytest.approx(1.0)]
    other.spin(7.0)
    assert burn(loop, app, 1.0, 1.0) == [pytest.approx(2.0, abs=1e-5)] * 2
    other.spin(0.0)
    assert burn(loop, app, 1.0) == [pytest.approx(1.0)]


def test_steal_slows_everything_and_is_accounted() -> None:
    loop = VirtualLoop(0.0)
    node = NodeCpu(loop, 2.0)
    group = node.group("a", request=0.1, limit=None)
    node.shape(steal=0.5)
    assert burn(loop, group, 1.0) == [pytest.approx(2.0)]
    assert node.steal_seconds == pytest.approx(1.0)
    with pytest.raises(ValueError, match="steal"):
        node.shape(steal=1.0)


def test_a_cancelled_job_gives_its_share_back() -> None:
    loop = VirtualLoop(0.0)
    group = NodeCpu(loop, 1.0).group("a", request=0.1, limit=None)
    rival = loop.create_task(group.burn(100.0))
    loop.call_at(1.0, rival.cancel)
    assert burn(loop, group, 1.0) == [pytest.approx(1.5, abs=1e-5)]
    assert group.runnable == 0


def test_closing_cancels_whoever_waits_and_frees_the_cores() -> None:
    loop = VirtualLoop(0.0)
    node = NodeCpu(loop, 1.0)
    doomed, other = (node.group(n, request=1.0, limit=0.8) for n in ("doomed", "other"))
    task = loop.create_task(doomed.burn(100.0))
    loop.run_until(1.0)
    used = doomed.usage_seconds
    doomed.close()
    loop.run_until(2.0)
    assert task.cancelled()
    assert doomed.usage_seconds == used == pytest.approx(0.8, abs=0.03)
    assert node.runnable == 0.0
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(doomed.burn(1.0))
    assert burn(loop, other, 0.01) == [pytest.approx(0.01)]


Jobs = list[tuple[float, float, int]]
jobs = st.lists(
    st.tuples(st.floats(0.0, 2.0), st.floats(0.001, 0.6), st.integers(0, 2)),
    min_size=1,
    max_size=25,
)


def start(loop: VirtualLoop, groups: list[CpuGroup], wanted: Jobs) -> list[float]:
    """Schedule jobs (arrival, seconds, group); returns their durations, filled while running."""
    took = [0.0] * len(wanted)

    async def job(n: int, at: float, seconds: float, group: CpuGroup) -> None:
        await asyncio.sleep(at)
        begin = loop.time()
        await group.burn(seconds)
        took[n] = loop.time() - begin

    for n, (at, seconds, g) in enumerate(wanted):
        loop.create_task(job(n, at, seconds, groups[g]))
    return took


@settings(max_examples=60, deadline=None)
@given(jobs, st.sampled_from([1.0, 2.5, 4.0]), st.sampled_from([0.0, 0.3]))
def test_no_core_idles_while_a_thread_wants_one(wanted: Jobs, cores: float, steal: float) -> None:
    loop = VirtualLoop(0.0)
    node = NodeCpu(loop, cores)
    groups = [node.group(str(n), request=0.1 * n, limit=None) for n in range(3)]
    node.shape(steal=steal)
    start(loop, groups, wanted)
    instant = 1e-6
    for n in itertools.count(1):
        loop.run_until(n * 0.0271)
        runnable, used = node.runnable, node.usage_seconds
        loop.run_until(loop.time() + instant)
        if node.runnable == runnable:
            rate = (node.usage_seconds - used) / instant
            assert rate == pytest.approx(min(cores, runnable) * (1 - steal), rel=1e-3)
        if loop.time() > 2.1 and not runnable:
            break
    assert node.usage_seconds == pytest.approx(sum(s for _, s, _ in wanted), abs=1e-4)
    assert sum(g.usage_seconds for g in groups) == pytest.approx(node.usage_seconds, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.01, 0.6), min_size=1, max_size=20), st.integers(1, 4))
def test_a_batch_is_worked_off_without_idling(work: list[float], cores: int) -> None:
    """Started together, equal shares keep all cores busy while enough jobs are left."""
    loop = VirtualLoop(0.0)
    node = NodeCpu(loop, float(cores))
    group = node.group("a", request=0.1, limit=None)
    took = burn(loop, group, *work)
    now, received, left = 0.0, 0.0, len(work)
    for duration, seconds in sorted(zip(took, work, strict=True), key=lambda pair: pair[1]):
        pace = min(1.0, cores / left)
        now += (seconds - received) / pace
        received, left = seconds, left - 1
        assert duration == pytest.approx(now, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(jobs, st.sampled_from([1.0, 4.0]), st.one_of(st.none(), st.floats(0.05, 1.5)))
def test_no_job_is_faster_than_a_core_and_every_job_ends(
    wanted: Jobs, cores: float, limit: float | None
) -> None:
    loop = VirtualLoop(1_773_133_200.0)
    node = NodeCpu(loop, cores)
    groups = [node.group(str(n), request=0.1 * n, limit=limit) for n in range(3)]
    took = start(loop, groups, wanted)
    loop.run_until(
        loop.time() + 2.0 + sum(s for _, s, _ in wanted) / min(cores, limit or cores) + 1
    )
    assert all(t >= s - RESOLUTION for t, (_, s, _) in zip(took, wanted, strict=True))
    assert node.runnable == 0.0


@settings(max_examples=60, deadline=None)
@given(jobs, st.floats(0.05, 2.0))
def test_a_quota_is_never_exceeded(wanted: Jobs, limit: float) -> None:
    loop = VirtualLoop(1_773_133_200.0)
    node = NodeCpu(loop, 4.0)
    group = node.group("a", request=0.1, limit=limit)
    start(loop, [group] * 3, wanted)
    begin = loop.time()
    used = [0.0]
    for n in range(1, 60):
        loop.run_until(begin + n * PERIOD_S / 2)
        used.append(group.usage_seconds)
    for span in (2, 4, 10):
        # A window of k periods touches at most k + 1 of them.
        allowed = limit * PERIOD_S * (span / 2 + 1) + RESOLUTION
        assert all(b - a <= allowed for a, b in zip(used, used[span:], strict=False))
    assert group.throttled_periods <= group.periods


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.01, 4.0), min_size=2, max_size=6))
def test_full_groups_receive_cores_in_proportion_to_their_requests(requests: list[float]) -> None:
    loop = VirtualLoop(0.0)
    node = NodeCpu(loop, 2.0)
    groups = [node.group(str(n), request=r, limit=None) for n, r in enumerate(requests)]
    for group in groups:
        group.spin(50.0)
    loop.run_until(10.0)
    for group, request in zip(groups, requests, strict=True):
        assert group.usage_seconds == pytest.approx(20.0 * request / sum(requests), rel=1e-6)


@given(
    limit=st.sampled_from([None, 0.1, 0.25, 0.9]),
    demands=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=4),
    at=st.floats(0.0, 1.5),
    lasts=st.floats(0.001, 90.0),
    crowd=st.sampled_from([0.0, 3.0]),
)
@settings(deadline=None)
def test_a_frozen_group_makes_no_progress_and_then_ends_its_jobs(
    limit: float | None, demands: list[float], at: float, lasts: float, crowd: float
) -> None:
    loop = VirtualLoop(1_773_133_200.0)
    node = NodeCpu(loop, 2.0)
    node.group("crowd", request=0.5, limit=None).spin(crowd)
    group = node.group("a", request=0.1, limit=limit)
    used = []
    loop.call_at(loop.time() + at, group.freeze, True)
    loop.call_at(loop.time() + at, lambda: used.append(group.usage_seconds))
    loop.call_at(loop.time() + at + lasts, lambda: used.append(group.usage_seconds))
    loop.call_at(loop.time() + at + lasts, group.freeze, False)
    burn(loop, group, *demands)
    loop.run_until(max(loop.time(), 1_773_133_200.0 + at + lasts + 0.1))
    assert used[0] == used[1]
    assert group.usage_seconds == pytest.approx(sum(demands), abs=RESOLUTION)
