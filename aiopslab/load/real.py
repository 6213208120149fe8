"""Users in real time: the generator's requests over HTTP, on a clock of unix seconds.

``generator`` draws arrivals and plays sessions as it does in the simulated world; here are the loop
it runs on and the way to the app. Outcomes count from the intended start, so a generator that is
itself short of CPU makes no request look better than it was. Not here: what is asked and when
(``journeys``, ``arrivals``), the promises (``slis``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType

import aiohttp
from yarl import URL

from aiopslab.load.generator import Generator, Reply

ADDRESS = "198.18.250.10"
"""Where users come from, as in the simulated world: an edge proxy outside the cluster."""
_KEEP_ALIVE_S = 15.0
"""Seconds after which a connection is replaced, busy or not: new pods get their share of users."""
_CONNECTIONS = 1000
_STREAM = "text/event-stream"
_IN_QUERY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


class WallLoop(asyncio.SelectorEventLoop):
    """An event loop whose ``time()`` is unix seconds and never steps back.

    Args:
        now: Unix seconds at this moment.
    """

    def __init__(self, now: float) -> None:
        super().__init__()
        self._epoch = now - super().time()

    def time(self) -> float:
        """Return unix seconds, carried on monotonically from those at the beginning."""
        return self._epoch + super().time()


@dataclass(slots=True)
class _Batch:
    """Connections that were made within some seconds."""

    session: aiohttp.ClientSession
    since: float
    requests: int = 0
    """Under way."""


class HttpUsers:
    """``generator.Client`` over HTTP/1.1; a context within which connections are kept.

    Args:
        entries: Base URL of each service that users reach.
        address: Where they say they come from (``X-Forwarded-For``).
    """

    def __init__(self, entries: Mapping[str, str], *, address: str = ADDRESS) -> None:
        self._entries = {name: URL(url) for name, url in entries.items()}
        self._headers = {"X-Forwarded-For": address, "User-Agent": "users"}
        self._batches: list[_Batch] = []
        """The last one is used; those before it go as soon as their requests have ended."""

    async def __aenter__(self) -> HttpUsers:
        self._batches.append(self._batch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._batches:
            await self._batches.pop().session.close()

    def _batch(self) -> _Batch:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_S)
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=self._headers
        )
        # A user's attempt is one request: aiohttp would repeat it on a connection that broke.
        session._retry_connection = False
        return _Batch(session, asyncio.get_running_loop().time())

    @asynccontextmanager
    async def _connections(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Give the connections to use for one request."""
        assert self._batches, "users send within their context"
        if asyncio.get_running_loop().time() - self._batches[-1].since > _KEEP_ALIVE_S:
            self._batches.append(self._batch())
        batch = self._batches[-1]
        batch.requests += 1
        try:
            yield batch.session
        finally:
            batch.requests -= 1
            for old in [b for b in self._batches[:-1] if not b.requests]:
                self._batches.remove(old)
                await old.session.close()

    async def request(
        self, service: str, method: str, path: str, params: Mapping[str, str], *, timeout_s: float
    ) -> Reply:
        """Send one request; status 0 if no whole answer came in time."""
        in_query, url = method in _IN_QUERY, self._entries[service].with_path(path)
        try:
            async with self._connections() as session, session.request(
                method, url, params=params if in_query else None,
                data=None if in_query else dict(params), allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as raw:  # fmt: skip
                if raw.content_type == _STREAM:
                    return await _streamed(raw.content)
                await raw.read()
                return Reply(raw.status)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Reply(0)


async def _streamed(lines: AsyncIterable[bytes]) -> Reply:
    """Read an answer of server-sent events: ``part`` when it begins, ``end`` with its outcome."""
    event, first_at = "", None
    async for line in lines:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            event = value
            if event == "part" and first_at is None:
                first_at = asyncio.get_running_loop().time()
        elif name == "data" and event == "end":
            told = json.loads(value)
            return Reply(told["status"], first_at, tuple((s, n) for s, n in told["pauses"]))
    return Reply(0)  # it broke off


async def offer(generator: Generator, seconds: float) -> None:
    """Let users arrive for so long, then wait for those who are under way."""
    generator.start()
    try:
        await asyncio.sleep(seconds)
    finally:
        generator.stop()
    await generator.drained()
