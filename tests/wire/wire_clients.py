"""Clients of the monitoring APIs: in memory, one request at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2

from aiopslab.environments.protocol import Environment
from aiopslab.telemetry.store import Store
from aiopslab.wire.gate import Gate, StandingGate
from aiopslab.wire.identity import Tokens, administrator
from aiopslab.wire.monitoring import mounts
from aiopslab.wire.monitoring.otlp import otlp_app, otlp_refusal
from aiopslab.wire.server import listening
from aiopslab.wire.site import Mount, Site

if TYPE_CHECKING:
    from starlette.types import ASGIApp


APIS = (*mounts.APIS, "otlp")


def monitoring(env: Environment, gate: Gate, inbox: Store) -> list[Mount]:
    """Mount every monitoring API of an environment."""
    inbox_api = Mount("/otlp", otlp_app(inbox, gate), otlp_refusal)
    return [*mounts.monitoring(env, gate), inbox_api]


def asked(app: ASGIApp, method: str, path: str, **options: Any) -> httpx2.Response:
    """Send one request to an application in memory."""

    async def request() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **options)

    return asyncio.run(request())


class Wire:
    """A site with all monitoring APIs of an environment, and one token for it."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.inbox = Store()
        gate = StandingGate(env, 1.0)
        tokens = Tokens()
        self.token = tokens.issue(administrator())
        self.site = Site(monitoring(env, gate, self.inbox), tokens)

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return asked(self.site, method, path, headers=headers, **options)

    def bare(self, path: str) -> httpx2.Response:
        """Ask without an ``Authorization`` header."""
        return asked(self.site, "GET", path)

    def get(self, path: str, **params: Any) -> httpx2.Response:
        return self.ask("GET", path, params=params or None)

    def form(self, path: str, **fields: Any) -> httpx2.Response:
        return self.ask("POST", path, data=fields)

    def json(self, path: str, **params: Any) -> Any:
        answer = self.get(path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def data(self, path: str, **params: Any) -> Any:
        """Ask one of the APIs that wrap answers in ``data``."""
        return self.json(path, **params)["data"]


@contextmanager
def on_socket(site: ASGIApp) -> Iterator[str]:
    """Serve a site from a thread of its own, for clients that block; yields ``http://host:port``."""
    port: Future[int] = Future()
    stop: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        ended = asyncio.Event()
        async with listening(site) as bound:
            stop.set_result((asyncio.get_running_loop(), ended))
            port.set_result(bound)
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        yield f"http://127.0.0.1:{port.result(timeout=60)}"
    finally:
        loop, ended = stop.result(timeout=60)
        loop.call_soon_threadsafe(ended.set)
        thread.join(timeout=60)
