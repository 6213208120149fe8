"""The worker pool of a server: so many requests at once, so many waiting, the rest turned away."""

from __future__ import annotations

import asyncio
from collections import deque


class Workers:
    """Admission to a server.

    Args:
        size: Requests served at once.
        queue: Requests that may wait.
    """

    __slots__ = ("_idle", "_queue", "_waiting", "active", "size")

    def __init__(self, size: int, queue: int) -> None:
        self.size = size
        self._queue = queue
        self.active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: asyncio.Event | None = None

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    async def enter(self) -> bool:
        """Take a worker, waiting in the queue; False when the queue is full."""
        if self.active < self.size and not self._waiting:
            self.active += 1
            return True
        if len(self._waiting) >= self._queue:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            elif turn in self._waiting:  # ``leave`` may have passed over it already
                self._waiting.remove(turn)
            raise
        return True

    def leave(self) -> None:
        """Give the worker to the first who waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.active -= 1
        if self._idle is not None and self.active == 0:
            self._idle.set()

    async def drained(self) -> None:
        """Return once nothing is served or waits."""
        if self.active:
            self._idle = asyncio.Event()
            await self._idle.wait()
