"""Ports of a pod on loopback, through the API server: what ``kubectl port-forward`` does.

Each connection is a WebSocket of its own (``v4.channel.k8s.io``: channel 0 carries data, channel 1
why it failed), read in a thread. For the lab's own errands, stores that only speak their own
protocol above all. Not here: HTTP (the API server's proxies), commands (``cluster.exec``).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from socket import SHUT_RDWR
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiopslab.environments.cluster.connection import Connection
from aiopslab.environments.cluster.exec import V4, open_socket
from aiopslab.models.kube import KubeError

if TYPE_CHECKING:
    from websocket import WebSocket

LOOPBACK = "127.0.0.1"
_DATA, _ERROR = 0, 1
_CHUNK = 1 << 15


@asynccontextmanager
async def forwarded(
    connection: Connection, namespace: str, pod: str, port: int
) -> AsyncIterator[Forwarding]:
    """Listen on loopback for as long as the block lasts.

    Args:
        connection: The way to the API server.
        namespace: The pod's.
        pod: Its name.
        port: What it listens on.
    """
    where = f"{quote(namespace)}/pods/{quote(pod)}"
    forwarding = Forwarding(connection, f"/api/v1/namespaces/{where}/portforward?ports={port}")
    server = await asyncio.start_server(forwarding.serve, LOOPBACK, 0)
    try:
        forwarding.address = server.sockets[0].getsockname()[:2]
        yield forwarding
    finally:
        server.close()
        await forwarding.aclose()


class Forwarding:
    """The connections to one port.

    Args:
        connection: The way to the API server.
        target: The URL of the pod's ``portforward``.
    """

    address: tuple[str, int]
    """Where to dial."""
    failure = ""
    """Why a connection could not be made, or broke: its client only sees that it is hung up on."""

    def __init__(self, connection: Connection, target: str) -> None:
        self._connection = connection
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, in a task of its own that ends with the forwarding."""
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            writer.close()

        task.add_done_callback(ended)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from websocket import WebSocketException  # noqa: PLC0415 - the client is an extra

        try:
            opening = asyncio.to_thread(open_socket, self._connection, self._target, V4)
            socket = await opening
        except (KubeError, WebSocketException, OSError) as error:
            self.failure = str(error)
            return
        socket.settimeout(None)
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        arrivals = _Arrivals(self, socket, loop, writer, gone)
        thread = threading.Thread(target=arrivals.run, name="kubernetes port", daemon=True)
        thread.start()
        ended = asyncio.create_task(gone.wait())
        try:
            while not gone.is_set():
                reading = asyncio.create_task(reader.read(_CHUNK))
                await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done() or not (data := reading.result()):
                    reading.cancel()
                    return
                await asyncio.to_thread(socket.send_binary, bytes([_DATA]) + data)
        except (WebSocketException, ConnectionError) as error:
            self.failure = self.failure or str(error)
        finally:
            ended.cancel()
            # Wakes the thread out of its read, which closing does not; and closed under a read, its
            # descriptor could be that of another connection by then.
            raw = socket.sock
            if raw is not None:
                with suppress(OSError):
                    raw.shutdown(SHUT_RDWR)
            await asyncio.shield(asyncio.to_thread(_finish, thread, socket))

    async def aclose(self) -> None:
        """End every connection."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _finish(thread: threading.Thread, socket: WebSocket) -> None:
    thread.join()
    socket.shutdown()


class _Arrivals:
    """Reads what comes from the pod, in a thread."""

    def __init__(
        self,
        forwarding: Forwarding,
        socket: WebSocket,
        loop: asyncio.AbstractEventLoop,
        writer: asyncio.StreamWriter,
        gone: asyncio.Event,
    ) -> None:
        self._forwarding = forwarding
        self._socket = socket
        self._loop = loop
        self._writer = writer
        self._gone = gone

    def run(self) -> None:
        """Pass on until the end."""
        from websocket import ABNF, WebSocketException  # noqa: PLC0415 - the client is an extra

        named: set[int] = set()
        try:
            while True:
                code, data = self._socket.recv_data()
                if code == ABNF.OPCODE_CLOSE or not data:
                    return
                channel, rest = data[0], data[1:]
                if channel not in named:
                    # The first message on a channel says which port it is of.
                    named.add(channel)
                elif channel == _ERROR:
                    self._forwarding.failure = rest.decode("utf-8", "replace")
                    return
                else:
                    self._call(self._writer.write, rest)
        except (WebSocketException, OSError):
            return
        finally:
            self._call(self._gone.set)

    def _call(self, function: object, *args: bytes) -> None:
        # The loop may have ended first: then nobody is left to be told.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)  # type: ignore[arg-type]
