"""A small collector: takes OTLP over HTTP into a store, by the lab's own reading of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from aiopslab.telemetry import otlp
from aiopslab.telemetry.store import Store

_SIGNALS = {
    "traces": (otlp.decode_traces, otlp.ingest_traces),
    "metrics": (otlp.decode_metrics, otlp.ingest_metrics),
    "logs": (otlp.decode_logs, otlp.ingest_logs),
}
_LIMIT = 32 * 2**20


@dataclass
class Collector:
    """What processes sent."""

    store: Store = field(default_factory=Store)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        decode, ingest = _SIGNALS[request.match_info["signal"]]
        headers = request.headers
        message = decode(
            await request.read(), headers["Content-Type"], headers.get("Content-Encoding", "")
        )
        rejected = ingest(self.store, message, now=None)
        assert rejected.count == 0, rejected
        return web.Response()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Take in telemetry on a loopback port."""
    collector = Collector()
    site = web.Application(client_max_size=_LIMIT)
    site.router.add_post("/v1/{signal:traces|metrics|logs}", collector.take)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        host, port = runner.addresses[0][:2]
        collector.url = f"http://{host}:{port}"
        yield collector
    finally:
        await runner.cleanup()
