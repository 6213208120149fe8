"""OTLP passed on to a collector of somebody's: for a monitoring stack that is there already.

What the app's pods send is sent on as it came, one request after another. A collector that is away
costs what does not fit the queue meanwhile, which is counted; pods never wait for it. Not here:
reading such a stack (``environments.byo.telemetry``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from google.protobuf.message import Message

from aiopslab.observer.lacks import Lacks
from aiopslab.telemetry.otlp import Rejected
from aiopslab.telemetry.otlp.responses import Signal

QUEUE = 1000
"""Requests that may wait; pods of an app send some ten a second."""
_AGAIN_S, _ANSWER_S = 1.0, 10.0
_HEADERS = {"Content-Type": "application/x-protobuf"}
Take = Callable[[Signal, Message], Rejected]


class Forwarding:
    """Sends on what is taken in.

    Args:
        url: Base URL of the collector.
        lacks: Is told when it does not answer.
    """

    def __init__(self, url: str, lacks: Lacks) -> None:
        self._url = url.rstrip("/")
        self._lacks = lacks
        self._waiting: asyncio.Queue[tuple[Signal, bytes]] = asyncio.Queue(QUEUE)

    def beside(self, take: Take) -> Take:
        """Return what takes a request, and queues it to be sent on."""

        def taken(signal: Signal, message: Message) -> Rejected:
            if self._waiting.full():
                self._lacks.counts["forwarding dropped"] += 1
            else:
                self._waiting.put_nowait((signal, message.SerializeToString()))
            return take(signal, message)

        return taken

    async def run(self) -> None:
        """Send until cancelled; a request is sent again until the collector has answered it."""
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout, headers=_HEADERS) as session:
            while True:
                signal, body = await self._waiting.get()
                # A collector that is away tells nobody when it is back.
                while not await self._sent(session, signal, body):  # noqa: ASYNC110
                    await asyncio.sleep(_AGAIN_S)

    async def _sent(self, session: aiohttp.ClientSession, signal: Signal, body: bytes) -> bool:
        """Send one request; whether it was answered. One that is refused is not sent again."""
        try:
            async with session.post(f"{self._url}/v1/{signal}", data=body) as answer:
                await answer.read()
                if answer.status >= 500:
                    self._lacks.lack("collector", f"{self._url}: {answer.status}")
                    return False
                if answer.status >= 400:
                    self._lacks.counts["forwarding refused"] += 1
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._lacks.lack("collector", f"{self._url}: {error!r}")
            return False
        self._lacks.have("collector")
        return True
