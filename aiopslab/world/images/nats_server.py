"""A running nats-server with JetStream: connections, publications, readers that wait, deadlines.

Every message of the wire costs CPU of the container. Not here: streams and consumers
(``nats_account``), the API of operators (``nats_api``), the process around it (``nats``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiopslab.world.clock import Handle
from aiopslab.world.container import Container
from aiopslab.world.images.messages import (
    NatsAnswer,
    NatsBatch,
    NatsBind,
    NatsErr,
    NatsOk,
    NatsPublish,
    NatsPull,
)
from aiopslab.world.images.nats_account import Account, ApiError, OutOfSpace
from aiopslab.world.images.nats_consumer import ConsumerState, Delivered
from aiopslab.world.images.nats_stream import Stored

PUBLISH_S = 30e-6
"""CPU seconds to parse, route, write to the block file and acknowledge one message."""
_BYTE_S = 0.5e-9
PULL_S = 15e-6
DELIVER_S = 12e-6
ANSWER_S = 8e-6
NO_RESPONDERS = "no response from stream"
"""What publishers see where no stream keeps the subject (503 no responders)."""
DISABLED = "JetStream not enabled for account"
_BASE_BYTES = 14_000_000
_CONNECTION_BYTES = 32_768
_AGE_S = 1.0
"""How often old messages are looked for."""
Key = tuple[str, str]
_Batch = tuple[Delivered, ...] | None
"""Messages given out; None once the consumer is gone."""


@dataclass(slots=True, eq=False)
class Client:
    """A connection."""

    cid: int
    address: str
    name: str
    connected: float
    in_msgs: int = 0
    out_msgs: int = 0


@dataclass(slots=True, eq=False)
class _Reader:
    """A pull request that waits."""

    client: Client
    batch: int
    expires: float
    reply: asyncio.Future[_Batch]


class NatsServer:
    """A server that is up.

    Args:
        box: The container it runs in.
        name: ``server_name``.
        account: Its JetStream.
        password: Of every user; empty asks for none.
        max_payload: Bytes of one message.
        log: Writes a line: level (``INF``, ``WRN``, ``ERR``), text.
    """

    def __init__(
        self,
        box: Container,
        name: str,
        account: Account,
        *,
        password: str,
        max_payload: int,
        log: Callable[[str, str], None],
    ) -> None:
        self.box = box
        self.loop = box.loop
        self.name = name
        self.account = account
        self.started = box.loop.time()
        self.enabled = True
        """Whether JetStream is on; a full volume turns it off until the next start."""
        self.clients: dict[int, Client] = {}
        self.connections = 0
        """Connections accepted so far."""
        self.in_msgs = self.out_msgs = self.in_bytes = self.out_bytes = 0
        self.slow_consumers = 0
        self._password = password
        self._max_payload = max_payload
        self._log = log
        self._readers: dict[Key, deque[_Reader]] = {}
        self._timers: dict[Key, Handle] = {}
        self.hold()

    # -- connections ------------------------------------------------------------------------------

    def admit(self, address: str, name: str, password: str) -> Client | None:
        """Open a connection; None where the password is wrong."""
        if self._password and password != self._password:
            self._log("ERR", f"{address} - cid:{self.connections + 1} - authentication error")
            return None
        self.connections += 1
        client = Client(self.connections, address, name, self.loop.time())
        self.clients[client.cid] = client
        self.hold()
        return client

    def forget(self, client: Client) -> None:
        """A connection is gone, and with it what it waited for."""
        self.clients.pop(client.cid, None)
        for readers in self._readers.values():
            for reader in [r for r in readers if r.client is client]:
                readers.remove(reader)
                _settle(reader.reply, None)

    def readers(self, key: Key) -> int:
        """Count the pull requests that wait at a consumer."""
        return len(self._readers.get(key, ()))

    # -- the wire ---------------------------------------------------------------------------------

    async def publish(self, client: Client, message: NatsPublish) -> NatsOk | NatsErr:
        """Store a message and wake readers."""
        self._received(client, message.size)
        await self.box.burn(PUBLISH_S + message.size * _BYTE_S)
        if message.size > self._max_payload:
            return NatsErr("maximum payload exceeded")
        if not self.enabled:
            return NatsErr(DISABLED, 503)
        now = self.loop.time()
        draft = Stored(
            0, message.subject, message.params, message.size, now, message.id, message.trace_id,
            message.span_id,
        )  # fmt: skip
        try:
            stored = self.account.publish(draft, now)
        except ApiError as error:
            return NatsErr(error.text, error.code)
        except OutOfSpace:
            self._give_up()
            return NatsErr(DISABLED, 503)
        if stored is None:
            return NatsErr(NO_RESPONDERS, 503)
        state, sequence, known = stored
        if not known:
            self.wake(state.name)
        return NatsOk(state.name, sequence, known)

    async def bind(self, client: Client, message: NatsBind) -> NatsOk | NatsErr:
        """Create or update a consumer."""
        self._received(client, 0)
        await self.box.burn(PULL_S)
        if not self.enabled:
            return NatsErr(DISABLED, 503)
        try:
            self.account.add_consumer(message.stream, message.config, self.loop.time())
        except ApiError as error:
            return NatsErr(error.text, error.code)
        self.wake(message.stream)
        return NatsOk(message.stream)

    async def pull(self, client: Client, message: NatsPull) -> NatsBatch | NatsErr:
        """Give out what there is, or wait for it."""
        self._received(client, 0)
        await self.box.burn(PULL_S)
        key = (message.stream, message.durable)
        if not self.enabled:
            return NatsErr(DISABLED, 503)
        consumer = self.account.consumers.get(key)
        if consumer is None:
            return NatsErr("consumer not found", 404)
        now = self.loop.time()
        queue = self._readers.setdefault(key, deque())
        reader = _Reader(client, message.batch, now + message.expires_s, self.loop.create_future())
        queue.append(reader)
        self._serve(key, consumer)
        timer = self.loop.call_later(message.expires_s, _settle, reader.reply, ())
        try:
            batch = await reader.reply
        finally:
            timer.cancel()
            if reader in queue:
                queue.remove(reader)
        if batch is None:
            return NatsErr("consumer deleted", 409)
        if batch:
            await self.box.burn(DELIVER_S * len(batch))
            self.out_msgs += len(batch)
            client.out_msgs += len(batch)
            self.out_bytes += sum(each.message.size for each in batch)
        return NatsBatch(batch)

    async def answer(self, client: Client, message: NatsAnswer) -> NatsOk | NatsErr:
        """Take an acknowledgement."""
        self._received(client, 0)
        await self.box.burn(ANSWER_S)
        key = (message.stream, message.durable)
        consumer = self.account.consumers.get(key)
        if consumer is None or not self.enabled:
            return NatsErr(NO_RESPONDERS, 503)
        now = self.loop.time()
        match message.verb:
            case "ack":
                self.account.ack(consumer, message.sequence, now)
            case "term":
                self.account.term(consumer, message.sequence, now)
            case "nak":
                consumer.nak(message.sequence, message.delay_s, now)
        self._serve(key, consumer)
        return NatsOk(message.stream)

    # -- giving out -------------------------------------------------------------------------------

    def wake(self, stream: str) -> None:
        """Something changed in a stream: serve those who wait at its consumers."""
        for key, consumer in list(self.account.consumers.items()):
            if key[0] == stream:
                self._serve(key, consumer)

    def drop(self, key: Key) -> None:
        """A consumer was deleted: those who wait at it are told."""
        for reader in self._readers.pop(key, ()):
            _settle(reader.reply, None)

    def _serve(self, key: Key, consumer: ConsumerState) -> None:
        """Hand messages to readers, first come first served, and set the next deadline."""
        now = self.loop.time()
        queue = self._readers.get(key) or ()
        while queue:
            reader = queue[0]
            if reader.reply.done():
                queue.popleft()
                continue
            batch: list[Delivered] = []
            while len(batch) < reader.batch:
                delivered = self.account.take(consumer, now)
                if delivered is None:
                    break
                batch.append(delivered)
            if not batch:
                break
            queue.popleft()
            reader.reply.set_result(tuple(batch))
        self._arm(key, consumer)

    def _arm(self, key: Key, consumer: ConsumerState) -> None:
        """Come back when the next message is due again."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        due = consumer.next_deadline()
        if due is not None:
            self._timers[key] = self.loop.call_at(due, self._due, key)

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        consumer = self.account.consumers.get(key)
        if consumer is not None and self.enabled:
            consumer.expire(self.loop.time())
            self._serve(key, consumer)

    # -- upkeep -----------------------------------------------------------------------------------

    async def keep_house(self) -> None:
        """Remove what is too old, for ever."""
        while True:
            await asyncio.sleep(_AGE_S)
            now = self.loop.time()
            for state in list(self.account.streams.values()):
                if self.account.age(state, now):
                    self.wake(state.name)
            self.hold()

    def close(self) -> None:
        """Forget timers; the process ends."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def hold(self) -> None:
        """Account the memory: base, connections, an index entry a message, memory streams."""
        account = self.account
        indexed = sum(len(state.messages) for state in account.streams.values())
        size = _BASE_BYTES + len(self.clients) * _CONNECTION_BYTES
        self.box.memory.hold("nats", size + indexed * 16 + account.used("memory"))

    def _received(self, client: Client, size: int) -> None:
        client.in_msgs += 1
        self.in_msgs += 1
        self.in_bytes += size

    def _give_up(self) -> None:
        """Turn JetStream off, as nats-server does when its disk is full."""
        self.enabled = False
        self._log("ERR", "JetStream failed to store message: no space left on device")
        self._log("ERR", "JetStream out of File resources, will be DISABLED")
        for key in list(self._readers):
            self.drop(key)


def _settle(reply: asyncio.Future[_Batch], batch: _Batch) -> None:
    if not reply.done():
        reply.set_result(batch)
