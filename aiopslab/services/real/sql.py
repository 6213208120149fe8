"""``protocols.Sql`` over asyncpg: named statements of the app on a real PostgreSQL.

A deadline that passes closes the connection, as drivers do with a socket timeout; the server is
not asked to cancel. Statements are prepared once a connection. Not here: parameters
(``sql_values``), what a statement says (``services.database.statements_of``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from aiopslab.models.store import Statement
from aiopslab.services.net_errors import (
    ConnectionReset,
    ConnectTimeout,
    RequestTimeout,
    SqlError,
    TlsError,
)
from aiopslab.services.protocols import PoolStats, SqlResult, SslMode
from aiopslab.services.real.links import Way
from aiopslab.services.real.pooled import Pooled
from aiopslab.services.real.reach import Address, failure, resolve
from aiopslab.services.real.sql_values import bound

_NO_TLS = "server refused TLS connection"
_Prepared = tuple[PreparedStatement, list[str]]
"""A prepared statement, and the types of its parameters."""


class SqlPool:
    """Connections to one database, as one role.

    Args:
        address: Host and port of the server.
        user: Role to log in as.
        password: Its password.
        database: Name of the database.
        application: How the sessions call themselves (``application_name``).
        statements: The statements by name, as this release words them.
        pool: Connections at most.
        pool_timeout_s: Longest wait for one of them.
        sslmode: Whether to use TLS; the server's certificate is not verified.
        way: What happens to packets there and back; None: nothing.
    """

    def __init__(
        self, address: Address, *, user: str, password: str, database: str, application: str,
        statements: Mapping[str, Statement], pool: int, pool_timeout_s: float,
        sslmode: SslMode = "disable", way: Way | None = None,
    ) -> None:  # fmt: skip
        self._address = address
        self._way = way or Way.usual()
        self._dial = partial(
            asyncpg.connect, user=user, password=password, database=database, ssl=sslmode,
            statement_cache_size=0, server_settings={"application_name": application},
        )  # fmt: skip
        self._statements = statements
        self._pool: Pooled[_Session] = Pooled(address, pool, pool_timeout_s, self._open)
        self._leaked: list[_Session] = []
        """What defects never gave back; a reference keeps the connection open."""

    async def execute(
        self, statement: str, params: Mapping[str, str], *, timeout_s: float, keep: bool = False
    ) -> SqlResult:
        session = await self._pool.take()
        broken = True
        try:
            rows = await session.run(self._statements[statement].text, params, timeout_s)
            broken = False
        except SqlError as error:
            broken = error.severity != "ERROR"
            raise
        finally:
            if broken or not keep:
                self._pool.give(session, broken=broken)
            else:
                self._leaked.append(session)
        return SqlResult(rows)

    async def keep(self, least: int) -> None:
        await self._pool.keep(least)

    def stats(self) -> PoolStats:
        return self._pool.stats()

    def close(self) -> None:
        """Close every connection that no caller is using; the process ends."""
        self._pool.close()
        while self._leaked:
            self._leaked.pop().close()

    async def _open(self, timeout_s: float) -> _Session:
        """Connect and log in. Raises NetError or SqlError."""
        host, port = self._address
        deadline = asyncio.get_running_loop().time() + timeout_s
        ip = await resolve(self._address, timeout_s)
        try:
            async with asyncio.timeout_at(deadline):
                await self._way.dial()
                # Who logs in asks and is answered, too.
                await self._way.out()
                await self._way.back()
            left = max(deadline - asyncio.get_running_loop().time(), 0.0)
            connection = await self._dial(host=ip, port=port, timeout=left)
        except asyncpg.PostgresError as error:
            raise _refusal(error, (host, port, f"{ip}:{port}")) from None
        except TimeoutError:
            raise ConnectTimeout(host, port, f"{ip}:{port}") from None
        except OSError as error:
            if type(error) is ConnectionError:  # asyncpg: the server answered N to SSLRequest
                raise TlsError(host, port, f"{ip}:{port}", _NO_TLS) from None
            raise failure(error, self._address, ip) from None
        return _Session(connection, self._address, ip, self._way)


class _Session:
    """One connection, with the statements that were prepared on it."""

    def __init__(self, connection: asyncpg.Connection, address: Address, ip: str, way: Way) -> None:
        self._connection = connection
        self._way = way
        self._where = (*address, f"{ip}:{address[1]}")
        self._prepared: dict[str, _Prepared] = {}
        self._count = 0

    @property
    def closed(self) -> bool:
        return self._connection.is_closed()

    def close(self) -> None:
        self._connection.terminate()

    async def run(self, text: str, params: Mapping[str, str], timeout_s: float) -> int:
        """Run a statement; return the rows it returned or touched."""
        now = asyncio.get_running_loop().time
        deadline = now() + timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                await self._way.out()
            rows = await self._answered(text, params, max(deadline - now(), 0.0))
            async with asyncio.timeout_at(deadline):
                await self._way.back()
        except TimeoutError:
            raise RequestTimeout(*self._where) from None
        return rows

    async def _answered(self, text: str, params: Mapping[str, str], timeout_s: float) -> int:
        with self._deadline(timeout_s):
            try:
                return await self._run(text, params)
            except asyncpg.InvalidCachedStatementError:
                # The table changed since the statement was prepared: have it planned again.
                self._prepared.clear()
                return await self._run(text, params)

    async def _run(self, text: str, params: Mapping[str, str]) -> int:
        prepared, kinds = self._prepared.get(text) or await self._prepare(text)
        await prepared.fetch(*bound(text, kinds, params))
        # The command tag: SELECT 25, UPDATE 4, INSERT 0 1.
        return int((prepared.get_statusmsg() or "").rpartition(" ")[2])

    async def _prepare(self, text: str) -> _Prepared:
        self._count += 1
        name = f"app_{self._count}"  # the library would reuse one unnamed statement
        prepared = await self._connection.prepare(text, name=name)
        kinds = [parameter.name for parameter in prepared.get_parameters()]
        self._prepared[text] = prepared, kinds
        return prepared, kinds

    @contextmanager
    def _deadline(self, timeout_s: float) -> Iterator[None]:
        """Close the connection when the time is over, and name what goes wrong."""
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            self._connection.terminate()

        timer = asyncio.get_running_loop().call_later(timeout_s, expire)
        try:
            yield
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError) as error:
            if expired:
                raise RequestTimeout(*self._where) from None
            raise _refusal(error, self._where) from None
        finally:
            timer.cancel()


def _refusal(error: BaseException, where: tuple[str, int, str]) -> SqlError | ConnectionReset:
    """Return the server's own words, also where they were its last, else that it went away."""
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        # Made by the library; the server's reason is the cause, if it gave one.
        error = error.__cause__ or ConnectionError()
    if not isinstance(error, asyncpg.PostgresError):
        return ConnectionReset(*where)
    severity = error.severity_en or error.severity or "ERROR"
    return SqlError(error.sqlstate or "XX000", error.message or str(error), severity)
