"""The stream handlers behind plain routes, a gate driven by hand, and a WebSocket in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import httpx2
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from aiopslab.environments.sim import Sim
from aiopslab.errors import LimitExceeded
from aiopslab.wire.gate import Call, Turn
from aiopslab.wire.identity import Identity, administrator
from aiopslab.wire.kubernetes.cluster import Cluster
from aiopslab.wire.kubernetes.streams import attach, exec, logs, portforward

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message

POD = "/api/v1/namespaces/{namespace}/pods/{name}"
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"


class HandGate:
    """Turns are recorded and free; whoever waits for the world lets a second pass.

    Args:
        sim: The environment.
        budget: How often the world moves before the budget is used up.
    """

    def __init__(self, sim: Sim, budget: int = 10_000) -> None:
        self.closing = asyncio.Event()
        self.calls: list[tuple[Call, Turn]] = []
        self.failure: Exception | None = None
        self.moves = 0
        self._sim = sim
        self._budget = budget
        self._lock = asyncio.Lock()
        self._marks: dict[int, asyncio.Event] = {}

    async def after(self, moves: int) -> None:
        """Wait until the world has moved so often."""
        await self._marks.setdefault(moves, asyncio.Event()).wait()

    @asynccontextmanager
    async def turn(self, call: Call) -> AsyncIterator[Turn]:
        async with self._lock:
            turn = Turn(id=f"obs-{len(self.calls) + 1}")
            self.calls.append((call, turn))
            try:
                yield turn
            except Exception as error:
                # A trial would count this as the lab's failure, and end.
                self.failure = error
                raise

    async def moved(self) -> None:
        self.moves += 1
        if self.moves in self._marks:
            self._marks[self.moves].set()
        if self.moves > self._budget:
            raise LimitExceeded("virtual seconds", "used up")
        async with self._lock:
            await self._sim.advance(1.0)


class Served:
    """The handlers over one world, for one identity."""

    def __init__(self, sim: Sim, *, who: Identity | None = None, budget: int = 10_000) -> None:
        self.sim = sim
        self.gate = HandGate(sim, budget)
        self.who = who or administrator()
        app = Starlette(
            routes=[
                Route(f"{POD}/log", logs.logs),
                WebSocketRoute(f"{POD}/exec", exec.exec),
                Route(f"{POD}/exec", exec.exec_refused, methods=["POST"]),
                WebSocketRoute(f"{POD}/attach", attach.attach),
                WebSocketRoute(f"{POD}/portforward", portforward.portforward),
                Route(f"{POD}/portforward", portforward.portforward_refused, methods=["POST"]),
            ]
        )
        self._app = app
        self.serve_with(Cluster(sim.world, sim, self.gate))

    def serve_with(self, cluster: Cluster) -> None:
        """Serve a cluster, behind whatever gate it has."""
        self._app.state.cluster = cluster

    @property
    def app(self) -> ASGIApp:
        async def known(scope: Any, receive: Any, send: Any) -> None:
            scope["identity"] = self.who
            await self._app(scope, receive, send)

        return known

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx2.AsyncClient]:
        transport = httpx2.ASGITransport(app=self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client

    async def log(self, pod: str, **query: Any) -> httpx2.Response:
        async with self.client() as client:
            answer = await client.get(f"/api/v1/namespaces/hotel/pods/{pod}/log", params=query)
        assert self.gate.failure is None
        return answer

    def socket(
        self, pod: str, verb: str, *, offered: Sequence[str] = (V5, V4), **query: Any
    ) -> Socket:
        path = f"/api/v1/namespaces/hotel/pods/{quote(pod)}/{verb}"
        return Socket(self.app, self.gate, path, urlencode(query, doseq=True), offered)

    def exec(self, pod: str, *command: str, **query: Any) -> Socket:
        wanted = {"stdout": "true", "stderr": "true", **query}
        return self.socket(pod, "exec", command=list(command), **wanted)


class Socket:
    """A client's WebSocket to an application, without a network."""

    def __init__(
        self, app: ASGIApp, gate: HandGate, path: str, query: str, offered: Sequence[str]
    ) -> None:
        self._gate = gate
        self.accepted: str | None = None
        self._left = False
        self.refused: tuple[int, dict[str, Any]] | None = None
        self._app = app
        self._scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "root_path": "",
            "query_string": query.encode(), "headers": [], "subprotocols": list(offered),
            "scheme": "wss", "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        self._in: asyncio.Queue[Message] = asyncio.Queue()
        self._out: asyncio.Queue[Message] = asyncio.Queue()

    async def __aenter__(self) -> Socket:
        self._in.put_nowait({"type": "websocket.connect"})

        async def send(message: Message) -> None:
            if self._left:
                raise RuntimeError(f"Unexpected ASGI message {message['type']!r}")
            self._out.put_nowait(message)

        self._task = asyncio.ensure_future(self._app(self._scope, self._in.get, send))
        first = await self._next()
        if first["type"] == "websocket.accept":
            self.accepted = first.get("subprotocol") or ""
        else:
            body = (await self._next())["body"]
            self.refused = first["status"], json.loads(body)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()
        await self._task
        assert self._gate.failure is None

    async def _next(self) -> Message:
        got = asyncio.ensure_future(self._out.get())
        await asyncio.wait({got, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not got.done():
            got.cancel()
            self._task.result()
            return {"type": "websocket.close"}
        return got.result()

    def send(self, data: bytes | str) -> None:
        key = "text" if isinstance(data, str) else "bytes"
        self._in.put_nowait({"type": "websocket.receive", key: data})

    def leave(self) -> None:
        self._left = True
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def receive(self) -> bytes | None:
        """Return the next message; None once the server has closed."""
        message = await self._next()
        return message["bytes"] if message["type"] == "websocket.send" else None

    async def until(self, channel: int, text: str) -> str:
        """Read a channel until a text has come."""
        seen = ""
        while text not in seen:
            data = await self.receive()
            assert data is not None, f"closed after {seen!r}"
            seen += data[1:].decode() if data[0] == channel else ""
        return seen

    async def rest(self) -> dict[int, str]:
        """Read to the end; return what came by channel."""
        seen: dict[int, str] = {}
        while (data := await self.receive()) is not None:
            seen[data[0]] = seen.get(data[0], "") + data[1:].decode()
        return seen
