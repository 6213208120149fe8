"""The clients of a service's process: HTTP, SQL and cache, each a pool of connections.

The protocols of ``services.protocols`` over the world's network and the messages of the stores.
Not here: queues (``app_queue``), the process (``app``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aiopslab.models.store import Statement
from aiopslab.services import protocols as p
from aiopslab.services.pool import Pool, PoolExhausted
from aiopslab.world.connection import Connection
from aiopslab.world.images.messages import (
    CacheAuth,
    CacheDelete,
    CacheErr,
    CacheGet,
    CacheReply,
    CacheSet,
    PgError,
    Query,
    Rows,
    Startup,
    TlsRefused,
)
from aiopslab.world.tls import ClientTls

if TYPE_CHECKING:
    from aiopslab.world.container import Container

_SESSION_S = 1800.0
"""Longest life of a connection to a store; HikariCP's default ``maxLifetime``."""
_NO_TLS = "server refused TLS connection"


class _Pooled:
    """A client with a pool of connections to one address."""

    def __init__(
        self,
        box: Container,
        address: tuple[str, int],
        size: int,
        age_s: float,
        dial: Callable[[], ClientTls] | None = None,
    ) -> None:
        self._box = box
        self._dial = dial
        self._host, self._port = address
        self._now: Callable[[], float] = box.loop.time
        self._pool: Pool[Connection] = Pool(size, self._open, self._now, max_age_s=age_s)
        self.stats = self._pool.stats

    async def _open(self, timeout_s: float) -> Connection:
        try:
            tls = self._dial() if self._dial is not None else None
        except p.TlsFilesError as error:
            raise p.TlsError(self._host, self._port, "", str(error)) from None
        return await self._box.netns.connect(self._host, self._port, timeout_s=timeout_s, tls=tls)

    async def _take(self, timeout_s: float) -> Connection:
        try:
            return await self._pool.take(timeout_s)
        except PoolExhausted:
            detail = self._pool.crowded(timeout_s)
            raise p.PoolTimeout(self._host, self._port, "", detail) from None


class HttpClient(_Pooled):
    """``protocols.Http``."""

    async def send(
        self,
        request: p.Request,
        *,
        timeout_s: float,
        on_part: Callable[[], None] | None = None,
    ) -> p.Response:
        deadline = self._now() + timeout_s
        connection = self._pool.ready() or await self._take(timeout_s)
        broken = True
        try:
            left = max(deadline - self._now(), 0.0)
            response: p.Response = await connection.call(request, timeout_s=left, on_part=on_part)
            broken = response.close
            return response
        finally:
            self._pool.give(connection, broken=broken)


class SqlClient(_Pooled):
    """``protocols.Sql``: one database as one role."""

    def __init__(
        self,
        box: Container,
        address: tuple[str, int],
        startup: Startup,
        statements: Mapping[str, Statement],
        size: int,
        wait_s: float,
    ) -> None:
        super().__init__(box, address, size, _SESSION_S)
        self._startup = startup
        self._statements = statements
        self._wait_s = wait_s

    async def _open(self, timeout_s: float) -> Connection:
        """Connect and log in; an ErrorResponse becomes SqlError."""
        connection = await super()._open(timeout_s)
        try:
            reply = await connection.call(self._startup, timeout_s=timeout_s)
        except BaseException:
            connection.close()
            raise
        if isinstance(reply, PgError | TlsRefused):
            connection.close()
            if isinstance(reply, TlsRefused):
                raise p.TlsError(self._host, self._port, connection.address, _NO_TLS)
            raise p.SqlError(reply.sqlstate, reply.message, reply.severity)
        return connection

    async def keep(self, least: int) -> None:
        await self._pool.keep(least, self._wait_s)

    async def execute(
        self, statement: str, params: Mapping[str, str], *, timeout_s: float, keep: bool = False
    ) -> p.SqlResult:
        connection = self._pool.ready() or await self._take(self._wait_s)
        broken = True
        try:
            query = Query(self._statements[statement], params)
            reply: Rows | PgError = await connection.call(query, timeout_s=timeout_s)
            broken = False
        finally:
            if broken or not keep:
                self._pool.give(connection, broken=broken)
        if isinstance(reply, PgError):
            raise p.SqlError(reply.sqlstate, reply.message, reply.severity)
        return p.SqlResult(reply.rows)


class CacheClient(_Pooled):
    """``protocols.Cache``."""

    def __init__(
        self, box: Container, address: tuple[str, int], password: str, size: int, wait_s: float
    ) -> None:
        super().__init__(box, address, size, _SESSION_S)
        self._password = password
        self._wait_s = wait_s

    async def _open(self, timeout_s: float) -> Connection:
        """Connect and authenticate, if there is a password."""
        connection = await super()._open(timeout_s)
        if not self._password:
            return connection
        try:
            _value(await connection.call(CacheAuth(self._password), timeout_s=timeout_s))
        except BaseException:
            connection.close()
            raise
        return connection

    async def get(self, key: str, *, timeout_s: float) -> str | None:
        return await self._run(CacheGet(key), timeout_s)

    async def set(self, key: str, size: int, ttl_s: float | None, *, timeout_s: float) -> None:
        await self._run(CacheSet(key, size, ttl_s), timeout_s)

    async def delete(self, key: str, *, timeout_s: float) -> None:
        await self._run(CacheDelete(key), timeout_s)

    async def _run(
        self, command: CacheGet | CacheSet | CacheDelete, timeout_s: float
    ) -> str | None:
        connection = self._pool.ready() or await self._take(self._wait_s)
        broken = True
        try:
            reply = await connection.call(command, timeout_s=timeout_s)
            broken = False
        finally:
            self._pool.give(connection, broken=broken)
        return _value(reply)


def _value(reply: CacheReply | CacheErr) -> str | None:
    if isinstance(reply, CacheErr):
        raise p.CacheError(reply.text)
    return reply.value
