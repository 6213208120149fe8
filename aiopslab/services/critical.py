"""Locks that a defective release takes around its requests.

One lock held too long makes a process serve one request after the other; two locks taken in
either order stop it for good once two requests meet. Both leave the CPU idle. A release without
such a defect passes straight through. Not here: admission to the workers (``workers``).
"""

from __future__ import annotations

import asyncio

from aiopslab.seeds import lognormal
from aiopslab.services.defects import Defects
from aiopslab.services.exchange import Exchange
from aiopslab.services.protocols import Host

_HOLD_CV = 0.4


class Critical:
    """The critical section in front of every request of one process."""

    def __init__(self, host: Host, defects: Defects) -> None:
        self._clock = host.clock
        self._random = host.random
        self._defects = defects
        self._lock = asyncio.Lock()
        self._pair = (asyncio.Lock(), asyncio.Lock())

    async def enter(self, x: Exchange) -> None:
        """Wait for what the release, or a flag, makes a request wait for."""
        if hold_s := self._defects.lock_s:
            async with self._lock:
                await self._clock.sleep(lognormal(self._random, hold_s, _HOLD_CV))
        elif hold_s := self._defects.deadlock_s:
            await self._both(hold_s, x)

    async def _both(self, hold_s: float, x: Exchange) -> None:
        """Take both locks, in the order that the request's key happens to have."""
        first, second = self._pair if x.trace_id & 1 else self._pair[::-1]
        async with first:
            await self._clock.sleep(lognormal(self._random, hold_s, _HOLD_CV))
            async with second:
                return
