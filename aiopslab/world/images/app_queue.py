"""The queue client of the app program over the world's network: ``services.protocols.Queue``.

One connection, made when it is needed and again when it broke, as NATS clients do. Requests may
overlap on it. Not here: what messages mean (``services.worker``), the server (``nats``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

from aiopslab.services import messaging as m
from aiopslab.world.connection import Connection
from aiopslab.world.container import Container
from aiopslab.world.images.messages import (
    NatsAnswer,
    NatsBatch,
    NatsBind,
    NatsConnect,
    NatsErr,
    NatsOk,
    NatsPublish,
    NatsPull,
)
from aiopslab.world.images.nats_consumer import ConsumerConfig

Call = NatsPublish | NatsBind | NatsPull | NatsAnswer


class WorldQueue:
    """A client of one NATS server.

    Args:
        box: The container it runs in.
        address: Host and port of the server.
        name: How the client calls itself.
        password: Empty: none.
    """

    def __init__(self, box: Container, address: tuple[str, int], name: str, password: str) -> None:
        self._box = box
        self._address = address
        self._hello = NatsConnect(name, password)
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    async def publish(
        self, subject: str, params: Mapping[str, str], *, size: int, id: str, trace_id: int,
        span_id: int, timeout_s: float,
    ) -> int:  # fmt: skip
        message = NatsPublish(subject, params, size, id, trace_id, span_id)
        reply = await self._call(message, timeout_s)
        assert isinstance(reply, NatsOk)
        return reply.sequence

    async def subscribe(self, subscription: m.Subscription, *, timeout_s: float) -> None:
        config = ConsumerConfig(
            durable=subscription.durable,
            filter_subject=subscription.subject,
            ack_wait_s=subscription.ack_wait_s,
            max_deliver=subscription.max_deliver,
            max_ack_pending=subscription.max_ack_pending,
            backoff_s=subscription.backoff_s,
        )
        await self._call(NatsBind(subscription.stream, config), timeout_s)

    async def fetch(
        self, subscription: m.Subscription, batch: int, *, wait_s: float, timeout_s: float
    ) -> Sequence[m.Message]:
        pull = NatsPull(subscription.stream, subscription.durable, batch, wait_s)
        reply = await self._call(pull, timeout_s)
        assert isinstance(reply, NatsBatch)
        return [
            m.Message(
                stream=subscription.stream,
                sequence=each.message.sequence,
                subject=each.message.subject,
                params=each.message.params,
                size=each.message.size,
                delivery=each.delivery,
                published=each.message.time,
                trace_id=each.message.trace_id,
                span_id=each.message.span_id,
            )
            for each in reply.messages
        ]

    async def ack(
        self, subscription: m.Subscription, message: m.Message, *, timeout_s: float
    ) -> None:
        await self._answer(subscription, message, "ack", 0.0, timeout_s)

    async def nak(
        self, subscription: m.Subscription, message: m.Message, delay_s: float, *, timeout_s: float
    ) -> None:
        await self._answer(subscription, message, "nak", delay_s, timeout_s)

    async def term(
        self, subscription: m.Subscription, message: m.Message, *, timeout_s: float
    ) -> None:
        await self._answer(subscription, message, "term", 0.0, timeout_s)

    async def _answer(
        self, subscription: m.Subscription, message: m.Message,
        verb: Literal["ack", "nak", "term"], delay_s: float, timeout_s: float,
    ) -> None:  # fmt: skip
        stream, durable = subscription.stream, subscription.durable
        await self._call(NatsAnswer(stream, durable, message.sequence, verb, delay_s), timeout_s)

    async def _call(self, message: Call, timeout_s: float) -> NatsOk | NatsBatch:
        """Send a request; raises NetError or QueueError."""
        deadline = self._box.loop.time() + timeout_s
        connection = await self._connected(timeout_s)
        left = max(deadline - self._box.loop.time(), 0.0)
        reply: NatsOk | NatsBatch | NatsErr = await connection.call(message, timeout_s=left)
        if isinstance(reply, NatsErr):
            raise m.QueueError(reply.text)
        return reply

    async def _connected(self, timeout_s: float) -> Connection:
        """Return the connection, made once for all who wait."""
        async with self._connecting:
            if self._connection is not None and not self._connection.closed:
                return self._connection
            host, port = self._address
            connection = await self._box.netns.connect(host, port, timeout_s=timeout_s)
            try:
                reply = await connection.call(self._hello, timeout_s=timeout_s)
            except BaseException:
                connection.close()
                raise
            if isinstance(reply, NatsErr):
                connection.close()
                raise m.QueueError(reply.text)
            self._connection = connection
            return connection
