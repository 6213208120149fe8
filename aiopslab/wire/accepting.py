"""Accepting connections only as long as there is room for them; the others wait in the kernel.

asyncio's own server accepts whatever comes. A crowd of more connections than the process may open
files then takes it down: it logs every accept that fails, thousands at a time, and serves nobody
while it does. Not here: requests and their number (``guard``), the server around this (``server``).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from uvicorn.server import Protocols

MOST = 1024
"""Connections that one server holds at once."""
SHARE = 3
"""Part of the files a process may open: a trial has two servers, and files of its own."""
HANDSHAKE_S = 10.0
"""Seconds for the TLS handshake of a connection."""
PAUSE_S = 0.1
"""Seconds until the next try where the process is short of files for another reason."""


def room() -> int:
    """Return how many connections a server of this process may hold."""
    try:
        import resource  # noqa: PLC0415 - not on every platform
    except ImportError:
        return MOST
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else max(1, min(MOST, files // SHARE))


class Connections(set["Protocols"]):
    """The open connections of a server; says when one has gone."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()

    def discard(self, connection: object, /) -> None:
        """Forget a connection that has become a WebSocket, or has ended."""
        super().discard(connection)
        self.gone.set()

    def remove(self, connection: Protocols, /) -> None:
        """Forget a WebSocket that has ended."""
        super().remove(connection)
        self.gone.set()


class Acceptor:
    """Accepts from one listening socket.

    Args:
        listener: A listening socket that does not block.
        connections: Those that are open; ``protocol`` keeps them.
        protocol: Makes the protocol of a connection.
        tls: The context of TLS; None is plain.
    """

    def __init__(
        self,
        listener: socket.socket,
        connections: Connections,
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._listener = listener
        self._connections = connections
        self._protocol = protocol
        self._tls = tls
        self._room = room()
        self._greeted: set[asyncio.Task[None]] = set()
        # Connections without a request at the last sweep, and what each was asked before.
        self._waiting: dict[H11Protocol, object] = {}

    async def run(self) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._space()
                try:
                    accepted, _ = await loop.sock_accept(self._listener)
                except OSError:
                    await asyncio.sleep(PAUSE_S)
                    continue
                greeting = loop.create_task(self._greet(accepted))
                self._greeted.add(greeting)
                greeting.add_done_callback(self._welcomed)
        finally:
            for greeting in self._greeted:
                greeting.cancel()

    async def _space(self) -> None:
        while len(self._connections) + len(self._greeted) >= self._room:
            self._connections.gone.clear()
            await self._connections.gone.wait()

    async def _greet(self, accepted: socket.socket) -> None:
        """Make a connection of a socket; a client that fails the handshake is its own trouble."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_S if self._tls else None,
            )

    def _welcomed(self, greeting: asyncio.Task[None]) -> None:
        self._greeted.discard(greeting)
        self._connections.gone.set()

    def sweep(self) -> None:
        """Cut the connections that have asked nothing since the last sweep.

        Whoever opens connections, or sends the head of a request without end, would take the room
        of others for good.
        """
        waiting: dict[H11Protocol, object] = {}
        for connection in self._connections:
            if isinstance(connection, H11Protocol):
                asked = connection.cycle
                if asked is None or asked.response_complete:
                    waiting[connection] = asked
        for connection, last in waiting.items():
            if self._waiting.get(connection, connection) is last:
                connection.transport.abort()
        self._waiting = waiting
