"""Rollout arithmetic under arbitrary sizes, and other pure parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiopslab.world.kube.backoff import FORGET_S, Backoff
from aiopslab.world.kube.controllers import queue, rollouts
from aiopslab.world.kube.controllers.rollouts import Size

SIZES = st.integers(0, 20)


@st.composite
def bounds(draw: st.DrawFn) -> tuple[int, int, int]:
    desired = draw(st.integers(1, 30))
    limit = st.one_of(st.integers(0, 10), st.integers(0, 100).map(lambda n: f"{n}%"))
    surge, unavailable = rollouts.fenceposts(draw(limit), draw(limit), desired)
    return desired, surge, unavailable


@given(bounds(), st.data())
def test_a_rollout_converges_within_its_bounds_whatever_pods_do(
    limits: tuple[int, int, int], data: st.DataObject
) -> None:
    desired, surge, unavailable = limits
    least = max(0, desired - unavailable)
    new, old = Size(0, 0), [Size(desired, desired)]
    for _ in range(400):
        before_total = new.wanted + sum(size.wanted for size in old)
        size = rollouts.new_size(desired, surge, new.wanted, sum(item.wanted for item in old))
        assert size + sum(item.wanted for item in old) <= max(desired + surge, before_total)
        if size != new.wanted:
            new = Size(size, new.available)
        else:
            sizes = rollouts.old_sizes(desired, unavailable, new, old)
            old = [
                Size(count, min(count, item.available))
                for count, item in zip(sizes, old, strict=True)
            ]
        available = new.available + sum(item.available for item in old)
        assert available >= min(least, desired)
        if new.wanted == desired and not any(item.wanted for item in old):
            return
        # Some of the new pods become available, at least one if any is missing.
        missing = new.wanted - new.available
        if missing:
            grown = data.draw(st.integers(1, missing))
            new = Size(new.wanted, new.available + grown)
    raise AssertionError("the rollout did not converge")


@given(bounds(), SIZES, SIZES, st.lists(st.tuples(SIZES, SIZES), max_size=4))
def test_lowering_never_costs_availability(
    limits: tuple[int, int, int], new_wanted: int, new_ready: int, olds: list[tuple[int, int]]
) -> None:
    desired, _, unavailable = limits
    new = Size(new_wanted, min(new_wanted, new_ready))
    old = [Size(wanted, min(wanted, ready)) for wanted, ready in olds]
    sizes = rollouts.old_sizes(desired, unavailable, new, old)
    before = new.available + sum(item.available for item in old)
    # Of a ReplicaSet that is lowered, unavailable pods go first.
    after = new.available + sum(
        min(item.available, count) for count, item in zip(sizes, old, strict=True)
    )
    assert after >= min(before, desired - unavailable)
    assert all(0 <= count <= item.wanted for count, item in zip(sizes, old, strict=True))


@given(st.lists(st.integers(1, 20), min_size=2, max_size=4), st.integers(0, 60))
def test_a_proportional_resize_meets_its_target(sizes: list[int], target: int) -> None:
    result = rollouts.proportional(sizes, target, previous_max=sum(sizes))
    assert sum(result) == target
    assert all(count >= 0 for count in result)


def test_percentages_round_surge_up_and_unavailable_down() -> None:
    assert rollouts.fenceposts("25%", "25%", 3) == (1, 0)
    assert rollouts.fenceposts("25%", "25%", 10) == (3, 2)
    assert rollouts.fenceposts(0, "10%", 3) == (0, 1)


def test_template_hashes_are_stable_and_tell_templates_apart() -> None:
    first = rollouts.template_hash({"spec": {"containers": [{"image": "a:1"}]}})
    second = rollouts.template_hash({"spec": {"containers": [{"image": "a:2"}]}})
    assert first != second
    assert len(first) == 10
    assert not set(first) & set("aeiou013")


@given(st.integers(1, 200))
def test_queue_backoff_doubles_up_to_its_cap(failures: int) -> None:
    delay = queue.backoff(failures)
    assert queue.BASE_BACKOFF_S <= delay <= queue.MAX_BACKOFF_S
    assert queue.backoff(failures + 1) in (delay * 2, queue.MAX_BACKOFF_S)


def test_crashes_wait_0_10_20_40_up_to_300_seconds_and_are_forgotten() -> None:
    backoff, now, waits = Backoff(), 0.0, []
    for _ in range(8):
        wait = backoff.remaining(now, now)
        waits.append(wait)
        now += wait
        backoff.advance(now - wait, now)
        now += 1.0
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.remaining(now + FORGET_S, now + FORGET_S) == 0.0


@given(st.lists(st.floats(0.0, 700.0), max_size=20))
def test_backoff_stays_within_its_bounds(lives: list[float]) -> None:
    backoff, now = Backoff(), 0.0
    for life in lives:
        now += life
        wait = backoff.remaining(now, now)
        assert 0.0 <= wait <= 300.0
        backoff.advance(now, now + wait)
        now += wait
