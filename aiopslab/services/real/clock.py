"""Real time for the app program: a wall clock that never steps back, and sleeps.

Not here: the world's virtual time (``world.clock``).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from aiopslab.services.protocols import Alarm


class WallClock:
    """``protocols.Clock``: unix time as of the start of the process, carried on monotonically.

    A step of the machine's clock does not reach it, so that no duration is ever negative.
    """

    def __init__(self) -> None:
        self._epoch = time.time() - time.monotonic()  # noqa: TID251 - the process's own clock

    def now(self) -> float:
        return self._epoch + time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))

    def alarm(self) -> Alarm:
        return _Alarm()


class _Alarm:
    """``protocols.Alarm``."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    async def wait(self, seconds: float | None) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        rung = self._rung.is_set()
        self._rung.clear()
        return rung

    def ring(self) -> None:
        self._rung.set()
