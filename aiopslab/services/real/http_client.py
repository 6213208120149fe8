"""The HTTP client of a service over aiohttp: a pool of connections to one target.

The pool is ``services.pool``, as in the simulated world, so both count, wait and replace alike.
Each of its connections is a session of aiohttp that may not have a second one; it connects with
its first request and is never used for two at once. Not here: what is sent (``wire``), what
failures are called (``http_errors``), retries and breakers (``services.client``).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from aiopslab.services import protocols as p
from aiopslab.services.pool import Pool, PoolExhausted
from aiopslab.services.real import wire
from aiopslab.services.real.addresses import Address, AddressBook
from aiopslab.services.real.http_errors import named
from aiopslab.services.real.links import Way

Dial = Callable[[], ssl.SSLContext]
"""Returns what to make the next connection with; raises TlsFilesError."""


class HttpClient:
    """``protocols.Http``.

    Args:
        target: Name and port as the service knows them.
        book: Where they lead.
        pool: Connections at most.
        max_age_s: Older connections are replaced.
        dial: How to make TLS connections; None speaks plain text.
        way: What happens to packets there and back; None: nothing.
    """

    def __init__(
        self, target: Address, book: AddressBook, pool: int, max_age_s: float, dial: Dial | None,
        way: Way | None = None,
    ) -> None:  # fmt: skip
        self._target = target
        self._book = book
        self._max_age_s = max_age_s
        self._dial = dial
        self._way = way or Way.usual()
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._pool: Pool[_Line] = Pool(pool, self._open, self._now, max_age_s=max_age_s)
        self._endings: set[asyncio.Task[None]] = set()
        self.stats = self._pool.stats

    async def send(
        self,
        request: p.Request,
        *,
        timeout_s: float,
        on_part: Callable[[], None] | None = None,
    ) -> p.Response:
        deadline = self._now() + timeout_s
        line = self._pool.ready() or await self._take(timeout_s)
        broken = True
        try:
            response = await line.call(request, max(deadline - self._now(), 0.0), on_part)
            broken = response.close
            return response
        finally:
            self._pool.give(line, broken=broken)

    async def aclose(self) -> None:
        """Hang up."""
        self._pool.close()
        while self._endings:
            await asyncio.wait(self._endings)

    async def _take(self, timeout_s: float) -> _Line:
        try:
            return await self._pool.take(timeout_s)
        except PoolExhausted:
            detail = self._pool.crowded(timeout_s)
            raise p.PoolTimeout(*self._target, "", detail) from None

    async def _open(self, timeout_s: float) -> _Line:
        try:
            tls = self._dial() if self._dial is not None else None
        except p.TlsFilesError as error:
            raise p.TlsError(*self._target, "", str(error)) from None
        resolver = _Resolver(self._book, self._target, self._way)
        return _Line(self._target, resolver, self._max_age_s, tls, self._hang_up)

    def _hang_up(self, session: aiohttp.ClientSession) -> None:
        ending = asyncio.get_running_loop().create_task(session.close())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


class _Resolver(aiohttp.ThreadedResolver):
    """The system's resolver behind the address book; remembers what it found.

    Who is about to connect asks it last, so here the packets pass that make a connection.
    """

    def __init__(self, book: AddressBook, target: Address, way: Way) -> None:
        super().__init__()
        self._book = book
        self.way = way
        host, port = target
        self.address = f"{host}:{port}" if host.replace(".", "").isdecimal() else ""
        """``ip:port`` last resolved; of a literal address itself."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(*self._book.find(host, port), family)
        if found:
            self.address = f"{found[0]['host']}:{found[0]['port']}"
            await self.way.dial()
        return found


class _Line:
    """One connection, made by the first request over it."""

    def __init__(
        self,
        target: Address,
        resolver: _Resolver,
        idle_s: float,
        tls: ssl.SSLContext | None,
        hang_up: Callable[[aiohttp.ClientSession], None],
    ) -> None:
        self._target = target
        self._tls = tls
        self._hang_up = hang_up
        self._connected = False
        self._resolver = resolver
        connector = aiohttp.TCPConnector(
            limit=1, resolver=resolver, use_dns_cache=False, keepalive_timeout=idle_s
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),
            trace_configs=[self._watch()],
        )
        # One attempt is one attempt: aiohttp would repeat a request on a connection that broke.
        self._session._retry_connection = False

    @property
    def closed(self) -> bool:
        return self._session.closed

    def close(self) -> None:
        if not self._session.closed:
            self._hang_up(self._session)

    async def call(
        self, request: p.Request, timeout_s: float, on_part: Callable[[], None] | None
    ) -> p.Response:
        """Send a request and wait for the whole answer; raises NetError."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(request, on_part)
        except TimeoutError:
            kind = p.RequestTimeout if self._connected else p.ConnectTimeout
            raise kind(*self._target, self._resolver.address, self._detail()) from None
        except (aiohttp.ClientError, OSError, wire.Truncated) as error:
            raise named(error, *self._target, self._resolver.address) from error

    async def _exchange(self, request: p.Request, on_part: Callable[[], None] | None) -> p.Response:
        in_query = request.method in wire.IN_QUERY
        host, port = self._target
        url = URL.build(
            scheme="https" if self._tls else "http", host=host, port=port, path=request.path,
            query=request.params if in_query else None,
        )  # fmt: skip
        async with self._session.request(
            request.method, url, data=None if in_query else wire.form(request.params),
            headers=wire.headers(request), allow_redirects=False, ssl=self._tls or False,
        ) as raw:  # fmt: skip
            await self._resolver.way.back()
            if raw.content_type == wire.STREAM:
                return await wire.stream(raw.content, on_part)
            close = raw.headers.get("Connection", "").lower() == "close"
            return p.Response(raw.status, await raw.text(), close)

    def _detail(self) -> str:
        """Say that it was the name that nobody resolved in time, if so."""
        if self._connected or self._resolver.address:
            return ""
        return f"lookup {self._target[0]}: i/o timeout"

    def _watch(self) -> aiohttp.TraceConfig:
        """Have it noted whether the connection stands: deadlines have two names.

        Once it does, the request is on its way.
        """

        async def begun(*_: object) -> None:
            self._connected = False

        async def made(*_: object) -> None:
            self._connected = True
            await self._resolver.way.out()

        config = aiohttp.TraceConfig()
        config.on_connection_create_start.append(begun)
        config.on_connection_create_end.append(made)
        config.on_connection_reuseconn.append(made)
        return config
