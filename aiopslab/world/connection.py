"""A connection between two processes: the client's end and the server's.

``Connection`` is the client's end: requests go over it and replies come back. ``Peer`` is the
server's, what a handler is given. A client that times out tells nobody: the server goes on
working. A process that dies resets its connections.

Requests may overlap on a connection; clients whose protocol cannot do that keep one in flight.
Not here: making a connection (``network``), how long packets take (``path``), pools (programs).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiopslab.services.protocols import ConnectionReset, RequestTimeout
from aiopslab.world.path import Path
from aiopslab.world.process import Process

Handler = Callable[[Any, "Peer"], Awaitable[Any]]
Book = dict["Connection", None]
"""Open connections of a process, in order of opening."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a connection leads.

    ``host`` and ``port`` are what the client dialled, ``address`` is the ``ip:port`` that became
    (a pod's or a Service's), ``remote`` the ``ip:port`` of the process that answers.
    """

    host: str
    port: int
    address: str
    remote: str


class Peer:
    """The server's end of a connection."""

    __slots__ = (
        "_closing", "_connection", "_hooks", "_serving", "certified", "closed", "ip", "port",
        "session",
    )  # fmt: skip

    def __init__(self, connection: Connection, ip: str, port: int) -> None:
        self.ip = ip
        """Address of the client."""
        self.port = port
        """Ephemeral port of the client."""
        self.closed = False
        """Whether the connection is over, as far as this side knows."""
        self.certified = False
        """Whether the client showed a certificate that was accepted."""
        self.session: Any = None
        """For the server: what belongs to this connection."""
        self._connection = connection
        self._hooks: list[Callable[[], None]] = []
        self._serving = 0
        self._closing = False

    @property
    def address(self) -> str:
        """``ip:port`` of the client."""
        return f"{self.ip}:{self.port}"

    def on_close(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called once when the connection is over at this side."""
        self._hooks.append(hook)

    def emit(self) -> None:
        """Send the first part of the answer being prepared; the client must keep one in flight."""
        if not self.closed:
            self._connection._back.send(self._connection._part)

    def close(self) -> None:
        """Accept no further request and hang up once those being served are answered."""
        if not self._closing:
            self._closing = True
            if not self._serving:
                self.abort()

    def abort(self) -> None:
        """Hang up now; requests without an answer fail at the client."""
        if not self.closed:
            connection = self._connection
            self._over()
            connection._back.send(connection._over)

    def _over(self) -> None:
        """End this side."""
        if self.closed:
            return
        self.closed = self._closing = True
        self._connection._server_book.pop(self._connection, None)
        del self._connection  # both sides hold each other: only the collector would find them
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook()
        self.session = None

    def _finished(self) -> None:
        """One request less is being served."""
        self._serving -= 1
        if self._closing and not self._serving:
            self.abort()


class Connection:
    """The client's end of a connection; made by ``Netns.connect``.

    Args:
        route: Where it leads.
        paths: From the client to the server, and back.
        handler: The server's.
        process: The server's; handlers run as its tasks.
        books: The client's and the server's, in which it is entered while open.
    """

    __slots__ = (
        "_back", "_client_book", "_handler", "_hooks", "_loop", "_on_part", "_out", "_pending",
        "_process", "_server_book", "closed", "peer", "route",
    )  # fmt: skip

    peer: Peer
    """The server's end."""

    def __init__(
        self,
        route: Route,
        paths: tuple[Path, Path],
        handler: Handler,
        process: Process,
        books: tuple[Book, Book],
    ) -> None:
        self.route = route
        self.closed = False
        """Whether the connection is over, as far as this side knows."""
        self._loop = process.loop
        self._out, self._back = paths
        self._handler = handler
        self._process = process
        self._client_book, self._server_book = books
        self._client_book[self] = self._server_book[self] = None
        self._pending: dict[asyncio.Future[Any], None] = {}
        self._hooks: list[Callable[[], None]] = []
        self._on_part: Callable[[], None] | None = None

    @property
    def address(self) -> str:
        """``ip:port`` that was dialled."""
        return self.route.address

    @property
    def remote(self) -> str:
        """``ip:port`` of the process that answers."""
        return self.route.remote

    @property
    def busy(self) -> bool:
        """Whether a request waits for its reply."""
        return bool(self._pending)

    async def call(
        self, message: Any, *, timeout_s: float, on_part: Callable[[], None] | None = None
    ) -> Any:
        """Send a request and wait for the reply.

        Args:
            message: Given to the server's handler as it is; nobody changes it afterwards.
            timeout_s: Seconds until the client gives up; the server is not told.
            on_part: Called when the first part of a streamed reply arrives.

        Returns:
            What the handler returned.

        Raises:
            RequestTimeout: No reply in time.
            ConnectionReset: The connection is closed, or was while waiting.
        """
        if self.closed:
            raise self._error(ConnectionReset)
        loop = self._loop
        reply: asyncio.Future[Any] = loop.create_future()
        self._pending[reply] = None
        self._on_part = on_part
        deadline = loop.call_at(loop._now + timeout_s, self._expire, reply)
        self._out.send(self._arrive, message, reply)
        try:
            return await reply
        finally:
            deadline.cancel()
            self._pending.pop(reply, None)
            del reply  # it holds the error that is raised, which holds this call

    def on_close(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called once when this side learns that the connection is over."""
        self._hooks.append(hook)

    def close(self) -> None:
        """Hang up; the server learns of it one latency later."""
        if not self.closed:
            self._over()
            self._out.send(self.peer._over)

    def _arrive(self, message: Any, reply: asyncio.Future[Any]) -> None:
        """A request reaches the server; one that hung up answers with a reset."""
        peer = self.peer
        if peer._closing:
            self._back.send(self._over)
            return
        peer._serving += 1
        self._process.start(reply, self._serve(message, reply))

    async def _serve(self, message: Any, reply: asyncio.Future[Any]) -> None:
        peer = self.peer
        try:
            try:
                if self._process.awake is not None:  # the kernel has the packet; nobody reads it
                    await self._process.awake.wait()
                answer = await self._handler(message, peer)
                if self._process.awake is not None:
                    await self._process.awake.wait()
                if not peer.closed:
                    self._back.send(_deliver, reply, answer)
            finally:
                peer._finished()
        except Exception as error:
            self._process.failed(error)
        finally:
            self._process.done(reply)

    def _part(self) -> None:
        """The first part of the reply is here, unless its client has given up."""
        on_part, self._on_part = self._on_part, None
        if on_part is not None and self._pending:
            on_part()

    def _expire(self, reply: asyncio.Future[Any]) -> None:
        if not reply.done():
            reply.set_exception(self._error(RequestTimeout))

    def _over(self) -> None:
        """End this side: by its own will, or a FIN or RST came in."""
        if self.closed:
            return
        self.closed = True
        self._client_book.pop(self, None)
        for reply in self._pending:
            if not reply.done():
                reply.set_exception(self._error(ConnectionReset))
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook()

    def _error(
        self, kind: type[ConnectionReset] | type[RequestTimeout]
    ) -> ConnectionReset | RequestTimeout:
        return kind(self.route.host, self.route.port, self.route.address)


def _deliver(reply: asyncio.Future[Any], answer: Any) -> None:
    if not reply.done():
        reply.set_result(answer)
