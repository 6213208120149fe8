"""A pool of connections: bounded, first come first served, with a longest wait.

Generic over the connection, so that both bindings share one behaviour. Not here: how a connection
is made or spoken to.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from aiopslab.services.protocols import PoolStats


class Closable(Protocol):
    """What a pool needs of a connection."""

    @property
    def closed(self) -> bool:
        """Whether either side has ended it."""
        ...

    def close(self) -> None:
        """End it."""
        ...


C = TypeVar("C", bound=Closable)


class PoolExhausted(Exception):
    """No connection became free in time."""


class Pool(Generic[C]):
    """Connections to one target.

    Args:
        size: Connections at most.
        open: Makes a connection within so many seconds; its errors reach the caller of ``take``.
        now: Clock, unix seconds.
        max_age_s: An idle connection older than this is closed instead of reused, so that load
            spreads over new endpoints.
    """

    def __init__(
        self,
        size: int,
        open: Callable[[float], Awaitable[C]],
        now: Callable[[], float],
        *,
        max_age_s: float,
    ) -> None:
        self.size = size
        self._open = open
        self._now = now
        self._max_age_s = max_age_s
        self._idle: deque[tuple[C, float]] = deque()
        self._born: dict[int, float] = {}
        self._used = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    def ready(self) -> C | None:
        """Return an idle connection if one can be had at once; else ``take`` must be awaited."""
        if self._used >= self.size or self._waiters:
            return None
        connection = self._pop()
        if connection is not None:
            self._used += 1
        return connection

    async def take(self, timeout_s: float) -> C:
        """Return an idle connection or a new one.

        Raises:
            PoolExhausted: All connections stayed in use for ``timeout_s`` seconds.
        """
        if self._used >= self.size or self._waiters:
            deadline = self._now() + timeout_s
            await self._turn(timeout_s)
            timeout_s = max(deadline - self._now(), 0.0)
        else:
            self._used += 1
        connection = self._pop()
        if connection is not None:
            return connection
        try:
            connection = await self._open(timeout_s)
        except BaseException:
            self._free()
            raise
        self._born[id(connection)] = self._now()
        return connection

    def give(self, connection: C, *, broken: bool = False) -> None:
        """Return a connection; ``broken`` ones are closed."""
        if broken or connection.closed:
            self._drop(connection)
        else:
            self._idle.append((connection, self._born[id(connection)]))
        self._free()

    async def keep(self, least: int, timeout_s: float) -> None:
        """Open connections until so many exist, idle and in use together.

        Raises:
            Exception: What ``open`` raised; the connections made so far stay.
        """
        while self._living() + self._used < min(least, self.size):
            self._used += 1
            try:
                connection = await self._open(timeout_s)
            except BaseException:
                self._free()
                raise
            self._born[id(connection)] = self._now()
            self.give(connection)

    def _living(self) -> int:
        """Count what is idle and may still be used; the dead and the old are dropped."""
        oldest = self._now() - self._max_age_s
        for connection, born in [*self._idle]:
            if connection.closed or born < oldest:
                self._idle.remove((connection, born))
                self._drop(connection)
        return len(self._idle)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._drop(self._idle.popleft()[0])

    def crowded(self, waited_s: float) -> str:
        """Say what the pool looks like to who waited so long in vain."""
        now = self.stats()
        return (
            f"request timed out after {waited_s * 1000:.0f}ms (total={now.used + now.idle}, "
            f"active={now.used}, idle={now.idle}, waiting={now.pending})"
        )

    def stats(self) -> PoolStats:
        """Count connections and waiters."""
        return PoolStats(self._used, len(self._idle), len(self._waiters), self.size)

    def _pop(self) -> C | None:
        """Return the connection that rested longest, dropping the dead and the old."""
        oldest = self._now() - self._max_age_s
        while self._idle:
            connection, born = self._idle.popleft()
            if not connection.closed and born >= oldest:
                return connection
            self._drop(connection)
        return None

    def _drop(self, connection: C) -> None:
        self._born.pop(id(connection), None)
        connection.close()

    def _free(self) -> None:
        """Hand the slot to the first live waiter, or count it free."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._used -= 1

    async def _turn(self, timeout_s: float) -> None:
        """Wait for a slot; on return it is ours."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_later(timeout_s, _expire, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._free()
            raise
        finally:
            timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            del waiter  # it holds the error that is raised, which holds this call


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(PoolExhausted)
