"""What pods send reaches a collector as it came, and one that is away keeps nobody waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from aiopslab.observer import forwarding
from aiopslab.observer.forwarding import Forwarding
from aiopslab.observer.lacks import Lacks
from aiopslab.telemetry.otlp import Rejected
from aiopslab.telemetry.otlp.responses import Signal


class Collector:
    """Answers as it is told, and keeps what it took."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.took: list[tuple[str, bytes]] = []
        self.came = asyncio.Event()

    async def _take(self, request: web.Request) -> web.Response:
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.took.append((request.path, await request.read()))
        self.came.set()
        return web.Response(status=status)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Serve; yields the base URL."""
        app = web.Application()
        app.router.add_post("/v1/{signal}", self._take)
        async with TestServer(app) as server:
            yield str(server.make_url("/"))


def spans(service: str) -> ExportTraceServiceRequest:
    """A request with one span."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add().name = service
    return request


def kept(signal: Signal, message: Message) -> Rejected:
    """What the observer itself does with a request."""
    return Rejected(0, "")


async def until(collector: Collector, count: int) -> None:
    """Wait until so many requests were taken."""
    while len(collector.took) < count:
        collector.came.clear()
        await collector.came.wait()


def test_requests_are_sent_on_byte_for_byte_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forwarding, "_AGAIN_S", 0.01)

    async def scene() -> None:
        lacks, collector = Lacks(lambda: 0.0), Collector(503, 200)
        async with collector.open() as url:
            passing = Forwarding(url, lacks)
            take = passing.beside(kept)
            running = asyncio.create_task(passing.run())
            for name in ("one", "two"):
                assert take("traces", spans(name)) == kept("traces", spans(name))
            await asyncio.wait_for(until(collector, 2), 120.0)
            running.cancel()
        wanted = [("/v1/traces", spans(name).SerializeToString()) for name in ("one", "two")]
        assert collector.took == wanted
        assert lacks.counts["collector"] == 1
        assert lacks.now == {}

    asyncio.run(scene())


def test_what_a_collector_refuses_is_counted_and_not_sent_again() -> None:
    async def scene() -> None:
        lacks, collector = Lacks(lambda: 0.0), Collector(400, 200)
        async with collector.open() as url:
            passing = Forwarding(url, lacks)
            take = passing.beside(kept)
            running = asyncio.create_task(passing.run())
            for name in ("bad", "good"):
                take("traces", spans(name))
            await asyncio.wait_for(until(collector, 1), 120.0)
            running.cancel()
        assert [body for _, body in collector.took] == [spans("good").SerializeToString()]
        assert lacks.counts["forwarding refused"] == 1

    asyncio.run(scene())


def test_what_does_not_fit_while_nobody_answers_is_dropped_and_counted() -> None:
    async def scene() -> None:
        lacks = Lacks(lambda: 0.0)
        take = Forwarding("http://127.0.0.1:9", lacks).beside(kept)
        for _ in range(forwarding.QUEUE + 3):
            take("traces", spans("one"))
        assert lacks.counts["forwarding dropped"] == 3

    asyncio.run(scene())
