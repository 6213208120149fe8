"""Clients of stores that keep a pool of connections: what SQL and cache clients share.

Not here: the pool itself (``services.pool``), which both bindings use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from aiopslab.services.net_errors import PoolTimeout
from aiopslab.services.pool import Closable, Pool, PoolExhausted
from aiopslab.services.protocols import PoolStats
from aiopslab.services.real.reach import Address

C = TypeVar("C", bound=Closable)
_SESSION_S = 1800.0
"""Longest life of a connection to a store; HikariCP's default ``maxLifetime``."""


class Pooled(Generic[C]):
    """A pool of connections to one address.

    Args:
        address: Host and port.
        size: Connections at most.
        wait_s: Longest wait for one.
        open: Makes a connection within so many seconds.
    """

    def __init__(
        self, address: Address, size: int, wait_s: float, open: Callable[[float], Awaitable[C]]
    ) -> None:
        self._address = address
        self._wait_s = wait_s
        self._pool: Pool[C] = Pool(size, open, _now, max_age_s=_SESSION_S)

    async def take(self) -> C:
        """Return a connection that is the caller's until ``give``.

        Raises:
            NetError: The pool is exhausted, or the store cannot be reached.
        """
        try:
            return self._pool.ready() or await self._pool.take(self._wait_s)
        except PoolExhausted:
            detail = self._pool.crowded(self._wait_s)
            raise PoolTimeout(*self._address, "", detail) from None

    def give(self, connection: C, *, broken: bool) -> None:
        """Return a connection; a broken one is closed."""
        self._pool.give(connection, broken=broken)

    async def keep(self, least: int) -> None:
        """Open connections until so many exist."""
        await self._pool.keep(least, self._wait_s)

    def stats(self) -> PoolStats:
        """Count connections and waiters."""
        return self._pool.stats()

    def close(self) -> None:
        """Close what is idle."""
        self._pool.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
