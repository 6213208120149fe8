"""The load generator's program beside a simulated cluster, behind the API server's proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from aiopslab.environments.cluster.traffic import service_proxy
from aiopslab.load.plan import TOKEN_HEADER, LoadPlan
from aiopslab.load.program.control import Control
from aiopslab.models.journey import Journey, JourneyStep, Slo

LAB = "lab-x7k2p"
_PASSED = (TOKEN_HEADER.lower().encode(),)


class Entry:
    """What users reach; answers with a status."""

    def __init__(self) -> None:
        self.status = 200
        self.seen: list[tuple[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.path, request.headers["X-Forwarded-For"]))
        return web.Response(status=self.status)


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[int]:
    """Serve an application on loopback; yields the port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    try:
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def plan(url: str, rate: float = 20.0) -> LoadPlan:
    journeys = {
        name: Journey(entry="frontend", rate=rate, steps=[JourneyStep(request=f"GET /{name}")])
        for name in ("search", "book")
    }
    slos = {name: Slo(success=0.99, p95_ms=2000.0) for name in journeys}
    return LoadPlan(seed=7, entries={"frontend": url}, journeys=journeys, slos=slos)


@asynccontextmanager
async def users(entry: Entry, token: str = "") -> AsyncIterator[int]:
    """Run the program against an entry; yields its port."""
    site = web.Application()
    site.router.add_route("*", "/{path:.*}", entry.answer)
    async with (
        listening(site) as port,
        Control(plan(f"http://127.0.0.1:{port}"), token) as control,
        listening(control.app()) as own,
    ):
        yield own


class Proxy:
    """Wraps an API: passes what is for the users' Service on to a port; 503 while there is none."""

    def __init__(self, namespace: str = LAB) -> None:
        self._path = service_proxy(namespace, "users", 8080, "")
        self.port = 0
        self.refusals = 0
        """How often the port is refused before it is reached."""

    def around(self, api: Any, _tokens: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "")
            if not path.startswith(self._path):
                await api(scope, receive, send)
                return
            if not self.port or self.refusals:
                self.refusals = max(self.refusals - 1, 0)
                await _answer(send, 503, b"no endpoints available for service")
                return
            body, more = b"", True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            url = f"http://127.0.0.1:{self.port}/{path.removeprefix(self._path)}"
            query = scope["query_string"].decode()
            async with aiohttp.ClientSession() as session:
                said = {
                    k.decode(): v.decode("latin-1") for k, v in scope["headers"] if k in _PASSED
                }
                request = session.request(
                    scope["method"], f"{url}?{query}", data=body, headers=said
                )
                async with request as answer:
                    await _answer(send, answer.status, await answer.read())

        return app


async def _answer(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def offered(entry: Entry, path: str, times: int) -> None:
    """Wait until an entry was asked so often for a path."""
    async with asyncio.timeout(120.0):
        while sum(1 for seen, _ in entry.seen if seen == path) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
