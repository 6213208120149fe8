"""What a host gives its nodes: credits, cores, memory behind memory, a memory bus."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.app import CreditSpec, NodeSpec
from aiopslab.world.backing import Backing
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.credits import CREDIT_S, Credits
from aiopslab.world.host import BEAT_S
from aiopslab.world.memory_bus import CORE_BYTES, MemoryBus
from aiopslab.world.node import Node

CREDITS = CreditSpec(baseline=0.1, launch=1.0, limit=10.0)


def machine(credits: CreditSpec | None = None) -> Node:
    spec = NodeSpec(name="n1", cpu=4.0, memory=8 * 2**30, credits=credits)
    return Node(VirtualLoop(0.0), spec, "198.18.240.10")


def passes(node: Node, seconds: float) -> None:
    loop = node.cpu._loop
    loop.run_until(loop.time() + seconds)


def took(node: Node, seconds: float) -> float:
    """Return how long a job of so many CPU seconds takes alone on a node."""
    loop = node.cpu._loop
    group = node.cpu.group("job", request=0.1, limit=None)
    begin = loop.time()
    loop.run_until_complete(asyncio.wait_for(group.burn(seconds), 1e6))
    group.close()
    return loop.time() - begin


def busy(node: Node, threads: float) -> None:
    node.cpu.group("app", request=1.0, limit=None).spin(threads)


def test_a_standard_machine_is_held_at_its_baseline_from_the_moment_its_credits_are_gone() -> None:
    node = machine(CREDITS)
    node.host.lift_credit_limit(False)
    busy(node, 1.0)
    # 60 CPU seconds are there, 0.4 a second are earned, 1 is spent.
    passes(node, 98.0)
    assert node.cpu.steal == 0.0
    assert node.cpu.spent.stolen == 0.0
    passes(node, 5.0)
    assert node.cpu.steal == pytest.approx(0.9)
    assert node.host.credits is not None
    assert node.host.credits.balance == 0.0
    assert node.cpu.spent.stolen > 0.0


def test_an_unlimited_machine_goes_on_and_is_billed() -> None:
    node = machine(CREDITS)
    busy(node, 1.0)
    passes(node, 400.0)
    node.host.settle()
    assert node.host.credits is not None
    assert node.host.credits.surplus == pytest.approx((400.0 * 0.6 - CREDIT_S) / CREDIT_S)
    assert node.cpu.spent.used == pytest.approx(400.0)


def test_lifting_the_limit_again_frees_the_machine_at_once() -> None:
    node = machine(CREDITS)
    node.host.lift_credit_limit(False)
    busy(node, 4.0)
    passes(node, 100.0)
    assert node.cpu.steal > 0.0
    node.host.lift_credit_limit(True)
    assert node.cpu.steal == 0.0


@given(threads=st.floats(0.0, 8.0), launch=st.floats(0.0, 3.0), baseline=st.floats(0.05, 0.5))
def test_a_standard_machine_never_uses_more_than_it_had_and_earned(
    threads: float, launch: float, baseline: float
) -> None:
    node = machine(CreditSpec(baseline=baseline, launch=launch, limit=10.0))
    node.host.lift_credit_limit(False)
    busy(node, threads)
    passes(node, 300.0)
    allowed = launch * CREDIT_S + baseline * 4.0 * 300.0
    # It is looked at once a beat, so one beat's use may come before.
    assert node.cpu.spent.used <= allowed + BEAT_S * 4.0 + 1e-6
    assert node.cpu.spent.used >= min(threads, 4.0, baseline * 4.0) * 299.0 * 0.9


@given(
    st.lists(st.tuples(st.floats(0.1, 50.0), st.floats(0.0, 4.0)), min_size=1, max_size=20),
    st.booleans(),
)
def test_a_balance_stays_between_nothing_and_its_limit(
    steps: list[tuple[float, float]], unlimited: bool
) -> None:
    credits = Credits(CREDITS, 4.0, 0.0)
    credits.unlimited = unlimited
    now = used = 0.0
    for seconds, cores in steps:
        now += seconds
        used += seconds * cores
        credits.settle(now, used)
        assert 0.0 <= credits.balance <= CREDITS.limit
        assert unlimited or credits.surplus == 0.0


def test_cores_that_are_taken_back_are_neither_idle_nor_used() -> None:
    node = machine()
    busy(node, 4.0)
    node.host.give_cores(1.0)
    passes(node, 10.0)
    spent = node.cpu.spent
    assert spent.used == pytest.approx(10.0)
    assert spent.offline == pytest.approx(30.0)
    assert spent.pressure == pytest.approx(10.0)
    assert node.host.cores == 1.0
    node.host.give_cores(None)
    assert node.host.cores is None
    passes(node, 10.0)
    assert node.cpu.spent.used == pytest.approx(50.0)


def test_a_full_memory_bus_makes_work_longer_and_keeps_the_cores_as_busy() -> None:
    node = machine()
    alone = took(node, 2.0)
    node.host.stream("other", 10.0 * node.host.bus.bandwidth)
    before = node.cpu.spent.used
    crowded = took(node, 2.0)
    assert crowded > 3.0 * alone
    spent = node.cpu.spent
    assert spent.used - before == pytest.approx(crowded, rel=1e-3)
    assert spent.work == pytest.approx(4.0, rel=1e-3)
    node.host.stream("other", 0.0)
    assert took(node, 2.0) == pytest.approx(2.0)


@given(st.lists(st.floats(1e6, 1e12), max_size=6))
def test_a_bus_carries_no_more_than_it_can_and_shares_by_what_is_wanted(rates: list[float]) -> None:
    bus = MemoryBus(4.0, 0.0)
    efficiency = bus.efficiency
    assert efficiency == 1.0
    for n, rate in enumerate(rates):
        bus.stream(f"g{n}", rate, 0.0)
        assert 0.0 < bus.efficiency <= efficiency
        efficiency = bus.efficiency
    moved = bus.moved(1.0)
    assert sum(moved.values()) <= 4.0 * CORE_BYTES * (1.0 + 1e-9)
    for n, rate in enumerate(rates):
        assert moved[f"g{n}"] <= rate * (1.0 + 1e-9)


def test_pages_that_are_not_backed_make_threads_wait_without_using_a_core() -> None:
    node = machine()
    node.host.back(node.memory.used // 2)
    before = node.cpu.spent.used
    long = took(node, 1.0)
    assert long == pytest.approx(11.0, rel=1e-3)
    node.host.settle()
    spent = node.cpu.spent
    assert spent.used - before == pytest.approx(1.0, rel=1e-3)
    assert spent.stalled == pytest.approx(10.0, rel=1e-3)
    assert node.host.backing.faults == pytest.approx(20_000, rel=1e-3)
    assert node.host.memory_pressure_s > 5.0


def test_a_node_that_gives_memory_back_faults_no_more() -> None:
    node = machine()
    group = node.memory.group(request=0, limit=None)
    group.hold("cache", 2**30)
    busy(node, 1.0)
    node.host.back(node.memory.used - 2**29)
    passes(node, 2.0)
    waited = node.cpu.spent.stalled
    assert waited > 1.0
    group.hold("cache", 0)
    passes(node, 2.0)
    assert node.cpu.spent.stalled - waited <= BEAT_S
    used = node.cpu.spent.used
    passes(node, 2.0)
    assert node.cpu.spent.used - used == pytest.approx(2.0)


@given(held=st.integers(1, 2**40), backed=st.integers(0, 2**40))
def test_the_less_is_backed_the_longer_threads_wait(held: int, backed: int) -> None:
    backing = Backing()
    assert backing.stall(held) == 0.0
    backing.bytes = backed
    stall = backing.stall(held)
    assert 0.0 <= stall < 1.0
    assert (stall > 0.0) == (backed < held)
    backing.bytes = backed // 2
    assert backing.stall(held) >= stall


def test_a_host_that_is_short_of_nothing_does_nothing() -> None:
    node = machine(CREDITS)
    loop = node.cpu._loop
    assert took(node, 1.0) == 1.0
    node.host.settle()
    passes(node, 100.0)
    assert node.cpu.spent.stolen == node.cpu.spent.stalled == node.cpu.spent.offline == 0.0
    assert loop.time() == 101.0
