"""The HTTP server of a service over aiohttp: one port, one handler, one task a request.

A client that gives up tells nobody: its request is worked on to the end. Not here: what a request
is (``wire``), routes and admission (``services.server``).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

from aiohttp import web

from aiopslab.services.protocols import HEALTH, Handler, Response
from aiopslab.services.real import wire
from aiopslab.services.real.place import Place

_BACKLOG = 512
_KEEP_ALIVE_S = 75.0
"""How long a connection may rest; longer than clients keep one."""
_LAST_ANSWERS_S = 10.0
"""Longest wait for answers on their way when the process ends."""


class HttpServer:
    """``protocols.Listening``.

    Args:
        handler: Answers requests.
        tls: What to show and to trust; None speaks plain text.
        clients_certified: With TLS, answer only clients that show a certificate, except on health.
    """

    def __init__(
        self, handler: Handler, tls: ssl.SSLContext | None, *, clients_certified: bool = True
    ) -> None:
        self._handler = handler
        self._tls = tls
        self._members_only = tls is not None and clients_certified
        self._site: asyncio.Server | None = None
        self._protocol = web.Server(
            self._answer, access_log=None, keepalive_timeout=_KEEP_ALIVE_S, tcp_keepalive=True
        )

    async def open(self, listener: socket.socket) -> None:
        """Accept connections on a socket that is bound."""
        loop = asyncio.get_running_loop()
        self._site = await loop.create_server(
            self._protocol, sock=listener, ssl=self._tls, backlog=_BACKLOG
        )

    def close(self) -> None:
        if self._site is not None:
            self._site.close()

    async def aclose(self) -> None:
        """Send what is answered already, then hang up."""
        self.close()
        self._protocol.pre_shutdown()
        await self._protocol.shutdown(_LAST_ANSWERS_S)

    async def _answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        answer = _Answer(raw)
        if self._members_only and raw.path not in HEALTH and not _certified(raw):
            return await answer.finish(Response(400, "No required SSL certificate was sent"))
        request = await wire.read(raw)
        request.emit = answer.emit
        return await answer.finish(await self._handler(request))


class _Answer:
    """What goes back: at once, or streamed from the moment the handler emits."""

    def __init__(self, raw: web.BaseRequest) -> None:
        self._raw = raw
        self._stream = web.StreamResponse(headers={"Content-Type": wire.STREAM})
        self._begun: asyncio.Task[None] | None = None

    def emit(self) -> None:
        """Send the first part."""
        if self._begun is None:
            self._begun = asyncio.get_running_loop().create_task(self._begin())

    async def finish(self, response: Response) -> web.StreamResponse:
        """Send the rest; return what aiohttp is to look after."""
        if response.pauses:
            self.emit()
        if self._begun is None:
            whole = web.Response(status=response.status, text=response.body)
            if response.close:
                whole.force_close()
            return whole
        await self._begun
        if response.close:
            self._stream.force_close()
        with suppress(ConnectionResetError):
            await self._stream.write(wire.end(response))
            await self._stream.write_eof()
        return self._stream

    async def _begin(self) -> None:
        with suppress(ConnectionResetError):  # the client has given up
            await self._stream.prepare(self._raw)
            await self._stream.write(wire.PART)


def _certified(raw: web.BaseRequest) -> bool:
    """Say whether the client showed a certificate that was accepted."""
    return raw.transport is not None and bool(raw.transport.get_extra_info("peercert"))


def listener(place: Place, port: int) -> socket.socket:
    """Return what a process that has a port in the cluster listens on where it runs.

    Raises:
        OSError: The port is taken, or may not be used.
    """
    if place.fd is not None:
        return socket.socket(fileno=place.fd)
    return bind(place.bind, port if place.port is None else place.port)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address.

    Raises:
        OSError: The port is taken, or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
