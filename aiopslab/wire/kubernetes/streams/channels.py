"""The channels of a stream over WebSocket: ``v5.channel.k8s.io`` and ``v4.channel.k8s.io``.

A message's first byte names the channel. Opens the socket or refuses in the words of the API,
reads and writes channels, ends with a ``Status``. Not here: what travels (``exec``, ``attach``,
``portforward``), SPDY (``spdy``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocketDisconnect

from aiopslab.errors import LimitExceeded
from aiopslab.models.kube import KubeError, Object
from aiopslab.wire.kubernetes.cluster import call_of, cluster_of
from aiopslab.wire.kubernetes.status import failure, refusal

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
_CLOSE = 255
"""A message on this channel closes the one its next byte names (v5)."""
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
_CHUNK = 32 * 1024
_GONE = 1006
"""Code of a connection that is simply over (RFC 6455, 7.4.1)."""
_SUCCESS: Object = {"metadata": {}, "status": "Success"}


class Channels:
    """One accepted socket.

    Args:
        socket: Accepted with one of the channel protocols.
        closing: Set when nothing more is served.
    """

    def __init__(self, socket: WebSocket, closing: asyncio.Event) -> None:
        self._socket = socket
        self._closing = closing

    async def receive(self) -> tuple[int, bytes] | None:
        """Return the next (channel, data); empty data on ``STDIN`` is its end, None the client's.

        Text is taken as bytes: the Python client sends standard input so.
        """
        while (message := await received(self._socket, self._closing)) is not None:
            if not message:
                continue
            channel, data = message[0], message[1:]
            if channel == _CLOSE:
                if data == bytes([STDIN]):
                    return STDIN, b""
            elif data:
                return channel, data
        return None

    async def send(self, channel: int, data: bytes) -> None:
        """Send data on a channel, in pieces."""
        for at in range(0, len(data), _CHUNK):
            await deliver(self._socket, bytes([channel]) + data[at : at + _CHUNK])

    async def finish(self, status: Object | None = None) -> None:
        """Say how it ended (by default well) and close."""
        await self.send(ERROR, json.dumps(status or _SUCCESS).encode())
        await close(self._socket)


async def deliver(socket: WebSocket, data: bytes) -> None:
    """Send a message.

    Raises:
        WebSocketDisconnect: The client has left.
    """
    try:
        await socket.send_bytes(data)
    except RuntimeError as error:
        # How the server says that the closing handshake is over.
        raise WebSocketDisconnect(_GONE) from error


async def close(socket: WebSocket) -> None:
    """Close; does nothing where the client was first."""
    with contextlib.suppress(RuntimeError):
        await socket.close()


async def received(socket: WebSocket, closing: asyncio.Event) -> bytes | None:
    """Return the next message; None when the client has left or nothing more is served."""
    message = asyncio.ensure_future(socket.receive())
    end = asyncio.ensure_future(closing.wait())
    try:
        await asyncio.wait({message, end}, return_when=asyncio.FIRST_COMPLETED)
        if not message.done():
            return None
        found: dict[str, Any] = dict(message.result())
    finally:
        message.cancel()
        end.cancel()
    if found["type"] == "websocket.disconnect":
        return None
    data: bytes | None = found.get("bytes")
    return data if data is not None else str(found.get("text") or "").encode()


async def refuse(socket: WebSocket, error: KubeError) -> None:
    """Refuse before the upgrade, and have it recorded."""
    with contextlib.suppress(LimitExceeded):
        async with cluster_of(socket.scope).gate.turn(call_of(socket)) as turn:
            turn.saw(error.message, ok=False)
    await socket.send_denial_response(refusal(error))


def negotiate(offered: Sequence[str], spoken: Sequence[str]) -> str | None:
    """Choose a sub-protocol; a client that offers none gets none.

    Raises:
        KubeError: 400, nothing in common.
    """
    if not offered:
        return None
    for protocol in spoken:
        if protocol in offered:
            return protocol
    text = (
        f"unable to upgrade: unable to negotiate protocol: client supports [{' '.join(offered)}], "
        f"server accepts [{' '.join(spoken)}]"
    )
    raise KubeError(400, "BadRequest", text)


def exit_status(code: int) -> Object:
    """Return the ``Status`` of a command that ended with a code."""
    if code == 0:
        return _SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def internal_error(message: str) -> Object:
    """Return the ``Status`` of something that could not be started."""
    return failure(KubeError(500, "InternalError", f"Internal error occurred: {message}"))
