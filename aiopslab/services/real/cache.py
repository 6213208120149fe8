"""``protocols.Cache`` over the valkey client: a pool of connections to a real Valkey.

Errors keep the server's whole text (``OOM command not allowed ...``), of which the client library
drops the first word. Not here: what a failing cache means (``services.caching``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from valkey._parsers import _AsyncRESP2Parser
from valkey.asyncio.connection import Connection
from valkey.exceptions import ConnectionError as LinkError
from valkey.exceptions import ResponseError
from valkey.exceptions import TimeoutError as LinkTimeout

from aiopslab.services.net_errors import (
    CacheError,
    ConnectionReset,
    ConnectTimeout,
    NetError,
    RequestTimeout,
)
from aiopslab.services.protocols import PoolStats
from aiopslab.services.real.links import Way
from aiopslab.services.real.pooled import Pooled
from aiopslab.services.real.reach import Address, failure, resolve


class CacheClient:
    """Connections to one cache.

    Args:
        address: Host and port of the server.
        password: Of the default user; empty sends none.
        pool: Connections at most.
        pool_timeout_s: Longest wait for one of them.
        way: What happens to packets there and back; None: nothing.
    """

    def __init__(
        self, address: Address, *, password: str, pool: int, pool_timeout_s: float,
        way: Way | None = None,
    ) -> None:  # fmt: skip
        self._address = address
        self._way = way or Way.usual()
        self._password = password
        self._pool: Pooled[_Link] = Pooled(address, pool, pool_timeout_s, self._open)

    async def get(self, key: str, *, timeout_s: float) -> str | None:
        value = await self._run(timeout_s, "GET", key)
        return None if value is None else value.decode(errors="replace")

    async def set(self, key: str, size: int, ttl_s: float | None, *, timeout_s: float) -> None:
        expiry = () if ttl_s is None else ("PX", max(1, round(ttl_s * 1000)))
        await self._run(timeout_s, "SET", key, b"x" * size, *expiry)

    async def delete(self, key: str, *, timeout_s: float) -> None:
        await self._run(timeout_s, "DEL", key)

    def stats(self) -> PoolStats:
        return self._pool.stats()

    def close(self) -> None:
        """Close what is idle; the process ends."""
        self._pool.close()

    async def _run(self, timeout_s: float, *command: str | bytes | int) -> bytes | None:
        link = await self._pool.take()
        broken = True
        try:
            with _named(link.where):
                async with asyncio.timeout(timeout_s):
                    await self._way.out()
                    await link.send_command(*command)
                    reply: bytes | None = await link.read_response(disable_decoding=True)
                    await self._way.back()
            broken = False
            return reply
        except CacheError:
            broken = link.closed
            raise
        finally:
            self._pool.give(link, broken=broken)

    async def _open(self, timeout_s: float) -> _Link:
        """Connect and authenticate, if there is a password."""
        host, port = self._address
        deadline = asyncio.get_running_loop().time() + timeout_s
        ip = await resolve(self._address, timeout_s)
        link = _Link(self._address, ip, self._password)
        try:
            async with asyncio.timeout_at(deadline):
                with _named(link.where):
                    await self._way.dial()
                    await link.connect()  # type: ignore[no-untyped-call]  # the library has none
        except TimeoutError:
            link.close()
            raise ConnectTimeout(host, port, link.where[2]) from None
        except BaseException:
            link.close()
            raise
        return link


class _Whole(_AsyncRESP2Parser):
    """Reads replies; errors keep their text as the server sent it."""

    @classmethod
    def parse_error(cls, response: str) -> ResponseError:
        return ResponseError(response)


class _Link(Connection):
    """One connection, as pools want it."""

    def __init__(self, address: Address, ip: str, password: str) -> None:
        options: dict[str, Any] = {"lib_name": None, "lib_version": None, "socket_timeout": None}
        super().__init__(
            host=ip, port=address[1], password=password or None, parser_class=_Whole, **options
        )
        self.where = (*address, f"{ip}:{address[1]}")

    async def _connect(self) -> None:
        try:
            await super()._connect()  # type: ignore[no-untyped-call]  # as above
        except OSError as error:
            raise _Unreachable(failure(error, self.where[:2], self.host)) from None

    @property
    def closed(self) -> bool:
        return self._reader is None or bool(self._reader.at_eof())

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None


class _Unreachable(Exception):
    """Carries the reason past the library, which keeps the text of an OSError alone."""

    def __init__(self, reason: NetError) -> None:
        super().__init__(str(reason))
        self.reason = reason


@contextmanager
def _named(where: tuple[str, int, str]) -> Iterator[None]:
    """Name what goes wrong the way clients of the app do."""
    try:
        yield
    except ResponseError as error:
        raise CacheError(str(error)) from None
    except (TimeoutError, LinkTimeout):
        raise RequestTimeout(*where) from None
    except LinkError as error:
        inner = error.__cause__
        if isinstance(inner, _Unreachable):
            raise inner.reason from None
        raise ConnectionReset(*where) from None
