"""Releases that lock: one request after the other, or none at all; and workers as configured."""

from __future__ import annotations

import asyncio

import pytest
from services_fakes import FakeHost, run

from aiopslab.models.service import Bug
from aiopslab.services.critical import Critical
from aiopslab.services.defects import Defects
from aiopslab.services.exchange import Exchange
from aiopslab.world.clock import VirtualLoop


def finished(bug: Bug, requests: int, *, within_s: float) -> int:
    """Count the requests that got through in time."""

    async def main(loop: VirtualLoop) -> int:
        host = FakeHost(loop, {})
        critical = Critical(host, Defects(bug, host.random))
        tasks = [asyncio.create_task(critical.enter(Exchange(n, 1, {}))) for n in range(requests)]
        done, pending = await asyncio.wait(tasks, timeout=within_s)
        for task in pending:
            task.cancel()
        await asyncio.wait(tasks)
        return len(done)

    return run(main)


def test_a_sound_release_lets_everybody_through_at_once() -> None:
    assert finished(Bug(), 20, within_s=0.001) == 20


def test_a_lock_serves_one_after_the_other() -> None:
    assert finished(Bug(lock_ms=100), 20, within_s=1.0) == pytest.approx(10, abs=3)
    assert finished(Bug(lock_ms=100), 20, within_s=10.0) == 20


def test_two_locks_in_either_order_stop_for_good() -> None:
    assert finished(Bug(deadlock_ms=1), 20, within_s=3600.0) < 20
