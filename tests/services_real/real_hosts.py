"""Processes of the app program inside the test's event loop, and servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from waiting import until

from aiopslab.models.app import App
from aiopslab.services import programs
from aiopslab.services.manifests import manifests
from aiopslab.services.protocols import Request, Response
from aiopslab.services.real import kubelet
from aiopslab.services.real.addresses import AddressBook
from aiopslab.services.real.clock import WallClock
from aiopslab.services.real.host import ProcessHost
from aiopslab.services.real.http_client import Dial, HttpClient
from aiopslab.services.real.http_server import HttpServer, bind
from aiopslab.services.real.links import Way
from aiopslab.services.real.place import Place

CONTENT = Path(__file__).parent / "content"
"""Where the app of these tests is: three services without stores."""
LOOPBACK = "127.0.0.1"


@dataclass
class Running:
    """A process of a service in this event loop."""

    host: ProcessHost
    main: asyncio.Task[int]

    @property
    def address(self) -> tuple[str, int]:
        return LOOPBACK, self.host.port

    async def end(self) -> int:
        self.host.terminate()
        return await self.main


@asynccontextmanager
async def running(
    app: App,
    service: str,
    root: Path,
    *,
    env: Mapping[str, str] | None = None,
    version: str = "",
    book: Mapping[str, tuple[str, int]] | None = None,
) -> AsyncIterator[Running]:
    """Run a service of an app; ``book`` leads names of services to addresses."""
    objects = kubelet.Manifests(manifests(app, 0, WallClock().now()))
    pod = objects.pod(service)
    kubelet.write(root, objects.files(pod))
    variables = objects.environment(pod) | {"SHUTDOWN_DELAY_MS": "0"} | dict(env or {})
    entries = {(n, app.services[n].port): place for n, place in (book or {}).items()}
    place = Place(f"{service}-0", root, AddressBook(entries), LOOPBACK, 0)
    version = version or app.services[service].image.version
    async with ProcessHost(app, service, version, variables, place) as host:
        program = programs.make(app, service, version, host)
        main = asyncio.create_task(host.run(program.run()))
        process = Running(host, main)
        try:
            await until(lambda: host.port or main.done())
            yield process
        finally:
            await process.end()


@asynccontextmanager
async def client(
    port: int,
    *,
    name: str = "peer",
    pool: int = 4,
    max_age_s: float = 60.0,
    dial: Dial | None = None,
    way: Way | None = None,
) -> AsyncIterator[HttpClient]:
    """A client that knows a server on loopback by a name."""
    book = AddressBook({(name, 8080): (LOOPBACK, port)})
    made = HttpClient((name, 8080), book, pool, max_age_s, dial, way)
    try:
        yield made
    finally:
        await made.aclose()


@dataclass
class Raw:
    """A TCP server that does what a test wants with each connection."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


Behave = Callable[[Raw, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(behave: Behave) -> AsyncIterator[Raw]:
    """Accept connections and let each be handled by ``behave``; hang up afterwards."""
    state = Raw()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        try:
            await behave(state, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, LOOPBACK, 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()


async def request_of(state: Raw, reader: asyncio.StreamReader) -> bytes:
    """Read the head of a request."""
    head = await reader.readuntil(b"\r\n\r\n")
    state.requests.append(head)
    return head


@asynccontextmanager
async def server(
    handler: Callable[[Request], Awaitable[Response]],
) -> AsyncIterator[int]:
    """The program's own server with a handler; yields its port."""
    listener = bind(LOOPBACK, 0)
    port: int = listener.getsockname()[1]
    made = HttpServer(handler, None)
    await made.open(listener)
    try:
        yield port
    finally:
        await made.aclose()


def reserved() -> socket.socket:
    """A port that nobody listens on, as long as the socket is kept."""
    return bind(LOOPBACK, 0)
