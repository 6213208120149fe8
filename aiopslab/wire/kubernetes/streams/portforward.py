"""``pods/X/portforward``: connections to ports of a pod, over WebSocket.

kubectl tunnels SPDY (``SPDY/3.1+portforward.k8s.io``): each connection is a pair of streams, data
and error. The Python client uses channels (``v4.channel.k8s.io``): a pair of channels a port, and
it waits for the server to close. Not here: frames (``spdy``), what a connection carries
(``forwarding``).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from aiopslab.errors import LimitExceeded
from aiopslab.models.kube import KubeError
from aiopslab.wire.kubernetes.cluster import cluster_of, identity_of
from aiopslab.wire.kubernetes.pods import authorize
from aiopslab.wire.kubernetes.status import refusal, status_refusal
from aiopslab.wire.kubernetes.streams.channels import (
    V4,
    close,
    deliver,
    negotiate,
    received,
    refuse,
)
from aiopslab.wire.kubernetes.streams.forwarding import Forwarded, ForwardError
from aiopslab.wire.kubernetes.streams.spdy import Aborted, Arrived, Opened, Pinged, Spdy, SpdyError
from aiopslab.world.kube.objects import dig

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

SPDY_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
_DATA_LIMIT = 64 * 1024
_PORTS = 64
"""Ports of one request: two channels each, of the 255 there are."""
_CONNECTIONS = 256
"""Connections that one stream may carry at a time."""


async def portforward(socket: WebSocket) -> None:
    """Serve ``/api/v1/namespaces/{namespace}/pods/{name}/portforward`` to a WebSocket."""
    try:
        check(socket)
        protocol = negotiate(socket.scope["subprotocols"], (SPDY_PROTOCOL, V4))
        ports = [] if protocol == SPDY_PROTOCOL else _ports(socket)
    except KubeError as error:
        await refuse(socket, error)
        return
    await socket.accept(protocol)
    with contextlib.suppress(WebSocketDisconnect):
        if protocol == SPDY_PROTOCOL:
            await _Tunnel(socket).run()
        else:
            await _serve_channels(socket, ports)
        await close(socket)


async def portforward_refused(request: Request) -> Response:
    """Answer a request that is no WebSocket: kubectl's fall-back, or an old client."""
    try:
        check(request)
    except KubeError as error:
        return refusal(error)
    return status_refusal(400, "unable to upgrade: WebSocket is needed; use kubectl 1.31 or later")


def check(request: HTTPConnection) -> None:
    """Refuse what cannot be forwarded. It looks at one object, never changed in place.

    Raises:
        KubeError: 400, 403 or 404.
    """
    namespace, name = request.path_params["namespace"], request.path_params["name"]
    authorize(identity_of(request.scope), "create", "portforward", name, namespace)
    pod = cluster_of(request.scope).world.api.get("Pod", name, namespace)
    phase = dig(pod, "status", "phase", default="Pending")
    if phase != "Running":
        text = f"unable to forward port because pod is not running. Current status={phase}"
        raise KubeError(400, "BadRequest", text)


def _ports(socket: WebSocket) -> Sequence[int]:
    words = [w for text in socket.query_params.getlist("ports") for w in text.split(",")]
    if not 0 < len(words) <= _PORTS or not all(map(_is_port, words)):
        raise KubeError(400, "BadRequest", 'query parameter "ports" is required: port numbers')
    return [int(word) for word in words]


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536


def _connection(socket: WebSocket, port: int) -> Forwarded:
    return Forwarded(socket, socket.path_params["name"], socket.path_params["namespace"], port)


# -- channels -------------------------------------------------------------------------------------


async def _serve_channels(socket: WebSocket, ports: Sequence[int]) -> None:
    """Channel 2i carries the data of port i, 2i+1 its errors; each begins with the port."""
    open_ = {2 * i: _connection(socket, port) for i, port in enumerate(ports)}
    for i, port in enumerate(ports):
        for channel in (2 * i, 2 * i + 1):
            await deliver(socket, bytes([channel]) + struct.pack("<H", port))
    closing = cluster_of(socket.scope).gate.closing
    # The client has no other way to learn of an end than the end of everything.
    while open_ and (message := await received(socket, closing)) is not None:
        channel = message[0] if message else 255
        connection = open_.get(channel)
        if connection is None or len(message) < 2:
            continue
        try:
            out = await connection.feed(message[1:])
        except (ForwardError, LimitExceeded) as error:
            await deliver(socket, bytes([channel + 1]) + str(error).encode())
            del open_[channel]
            continue
        for at in range(0, len(out), _DATA_LIMIT):
            await deliver(socket, bytes([channel]) + out[at : at + _DATA_LIMIT])
        if connection.closed:
            del open_[channel]


# -- SPDY -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Pair:
    """The two streams of one connection."""

    connection: Forwarded
    error: int = 0
    data: int = 0


class _Tunnel:
    """SPDY inside the messages of a WebSocket."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._spdy = Spdy()
        self._pairs: dict[str, _Pair] = {}
        self._by_data: dict[int, _Pair] = {}

    async def run(self) -> None:
        """Serve until the client leaves or speaks something else."""
        closing = cluster_of(self._socket.scope).gate.closing
        while (message := await received(self._socket, closing)) is not None:
            try:
                events = self._spdy.feed(message)
            except SpdyError:
                return
            for event in events:
                match event:
                    case Opened():
                        await self._opened(event)
                    case Arrived(stream, data, fin) if stream in self._by_data:
                        await self._arrived(self._by_data[stream], data, fin=fin)
                    case Aborted(stream) if stream in self._by_data:
                        self._forget(self._by_data[stream])
                    case Pinged(id):
                        await self._send(self._spdy.pong(id))
                    case _:
                        # The client's side of an error stream, or of one that is over.
                        pass

    async def _opened(self, event: Opened) -> None:
        """Pair the streams of a connection by its request id."""
        id, port = event.headers.get("requestid", ""), event.headers.get("port", "")
        await self._send(self._spdy.accept(event.stream))
        problem = ""
        if not _is_port(port):
            problem = f'unable to parse "{port}" as a port'
        elif id not in self._pairs and len(self._pairs) >= _CONNECTIONS:
            problem = f"more than {_CONNECTIONS} connections"
        if problem:
            await self._send(self._spdy.data(event.stream, problem.encode(), fin=True))
            return
        pair = self._pairs.get(id)
        if pair is None:
            pair = self._pairs[id] = _Pair(_connection(self._socket, int(port)))
        if event.headers.get("streamtype") == "error":
            pair.error = event.stream
        else:
            pair.data = event.stream
            self._by_data[event.stream] = pair

    async def _arrived(self, pair: _Pair, data: bytes, *, fin: bool) -> None:
        problem = b""
        try:
            out = await pair.connection.feed(data) if data else b""
            if fin:
                out += await pair.connection.feed(b"")
        except (ForwardError, LimitExceeded) as error:
            out, problem = b"", str(error).encode()
        for at in range(0, len(out), _DATA_LIMIT):
            await self._send(self._spdy.data(pair.data, out[at : at + _DATA_LIMIT]))
        if problem or pair.connection.closed:
            # The error first: kubectl tells why only if it hears before the data ends.
            await self._send(self._spdy.data(pair.error, problem, fin=True))
            await self._send(self._spdy.data(pair.data, fin=True))
            self._forget(pair)

    def _forget(self, pair: _Pair) -> None:
        self._by_data.pop(pair.data, None)
        self._pairs = {id: other for id, other in self._pairs.items() if other is not pair}

    async def _send(self, frames: bytes) -> None:
        await deliver(self._socket, frames)
