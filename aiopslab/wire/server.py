"""An HTTP server for the time of a ``with`` block, on loopback by default: no trace afterwards.

Runs on the caller's event loop, installs no signal handlers and starts no thread. Not here: what is
served (``site``), who may ask (``guard``), how many are let in (``accepting``).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from aiopslab.wire.accepting import Acceptor, Connections
from aiopslab.wire.websockets import WebSocketProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"
BACKLOG = 4096
GOODBYE_S = 1
"""Seconds that open connections have to end when the server stops."""


SWEEP_TICKS = 100
"""Tenths of a second between two looks for connections that ask nothing."""


class _Server(uvicorn.Server):
    """uvicorn that accepts as many connections as there is room for, without signal handlers.

    The program decides what Ctrl-C means.
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._listener = listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        connections = Connections()
        self.server_state.connections = connections
        self._acceptor = Acceptor(self._listener, connections, self._protocol, self.config.ssl)
        self._accepting = asyncio.create_task(self._acceptor.run())
        self.servers = []
        self.started = True
        self.ready.set()

    def _protocol(self) -> asyncio.Protocol:
        return H11Protocol(self.config, self.server_state, self.lifespan.state)

    async def on_tick(self, counter: int) -> bool:
        if counter % SWEEP_TICKS == 0:
            self._acceptor.sweep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._accepting.cancel()
        await asyncio.wait([self._accepting])
        self._listener.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(
    app: ASGIApp, *, host: str = LOOPBACK, port: int = 0, tls: tuple[Path, Path] | None = None
) -> AsyncIterator[int]:
    """Serve an application; yields the port.

    Args:
        app: An ASGI application; it gets no lifespan events.
        host: Address to bind.
        port: Port to bind; 0 is any that is free.
        tls: Files of certificate and key; None serves plain HTTP.

    Raises:
        OSError: The address cannot be bound.
    """
    # The protocol is named because asyncio turns Nagle's algorithm off for such sockets alone; with
    # it every answer of two writes waits 40 ms for the client's delayed acknowledgement.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
        bound.setblocking(False)
        server = _Server(_config(app, tls), bound)
        serving = asyncio.create_task(server.serve())
        try:
            await server.ready.wait()
            yield bound.getsockname()[1]
        finally:
            server.should_exit = True
            await serving
            await _cut(server)
    finally:
        bound.close()


async def _cut(server: uvicorn.Server) -> None:
    """End the connections whose clients did not say goodbye in time; TLS would wait for them."""
    for connection in list(server.server_state.connections):
        transport = connection.transport
        if transport is not None:
            transport.abort()
    await asyncio.sleep(0)


def _config(app: ASGIApp, tls: tuple[Path, Path] | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        # Limits are those of this implementation, whatever else is installed.
        http="h11",
        access_log=False,
        log_config=None,
        # Its warnings are about clients' mistakes, which the clients are told.
        log_level="error",
        timeout_graceful_shutdown=GOODBYE_S,
        server_header=False,
        # Answers are dated by the cluster's clock (``assembly``), or not at all.
        date_header=False,
        h11_max_incomplete_event_size=64 * 1024,
        ws=WebSocketProtocol,
        ws_max_size=16 * 2**20,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )
