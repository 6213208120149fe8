"""Working on messages: one durable consumer of one process, from fetching to acknowledging.

A worker asks for a batch, works on so many messages at once, and acknowledges each after its
steps. What waits in its own buffer counts as given out: the server's patience runs there too. A
message that fails is asked for again, or given up and filed; what is never acknowledged, the server
gives to somebody again. Not here: what the steps do (``steps``), redelivery (the store).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiopslab.models.queue import Consumer
from aiopslab.services.branches import Run
from aiopslab.services.config import ConsumerPolicy
from aiopslab.services.defects import Defects
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.instruments import Instruments
from aiopslab.services.journal import Journal
from aiopslab.services.languages import Dialect
from aiopslab.services.messaging import Message, QueueError, Subscription
from aiopslab.services.protocols import Host, NetError
from aiopslab.services.queue import SYSTEM, QueueClient
from aiopslab.services.runtime import Heap

_WAIT_S = 5.0
"""How long one request for messages waits at the server."""
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 8.0
"""Between attempts to reach a queue that does not answer."""
_Attempt = Callable[[], Awaitable[Sequence[Message]]]


@dataclass(slots=True)
class Bench:
    """What workers of one process share."""

    host: Host
    queue: QueueClient
    dialect: Dialect
    journal: Journal
    heap: Heap
    defects: Defects


class Worker:
    """One consumer of one process.

    Args:
        service: Name of the service; part of the durable's default name.
        name: Of the consumer.
        spec: Its definition.
        policy: Its settings.
        run: Its steps, compiled.
        bench: What it uses.
    """

    def __init__(
        self, service: str, name: str, spec: Consumer, policy: ConsumerPolicy, run: Run,
        bench: Bench,
    ) -> None:  # fmt: skip
        self._name = name
        self._spec = spec
        self._policy = policy
        self._run = run
        self._use = bench
        self._subscription = Subscription(
            stream=spec.stream,
            durable=spec.durable or f"{service}-{name}",
            subject=policy.subject,
            ack_wait_s=policy.ack_wait_s,
            max_deliver=policy.max_deliver,
            max_ack_pending=policy.max_ack_pending,
            backoff_s=policy.backoff_s,
        )
        group = self._subscription.durable
        instruments = Instruments(bench.host.telemetry)
        self._durations = instruments.processing(spec.stream, group)
        self._delays = instruments.delays(spec.stream, group)
        self._received = instruments.received(spec.stream, group)
        labels = {"messaging_consumer_group_name": group}
        instruments.gauge("messaging_process_active", lambda: float(self.active), **labels)
        self._frames = [bench.dialect.frame("consumers", name)]
        self._attributes = SYSTEM | {
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.consumer.group.name": group,
            "messaging.destination.subscription.name": spec.stream,
            "server.address": bench.queue.name,
        }
        self.active = 0
        """Messages worked on now."""
        self._buffer: deque[Message] = deque()
        self._wanted = asyncio.Event()
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopped, self._next_start = False, 0.0

    async def run(self) -> None:
        """Fetch for ever, until the process ends or ``stop``."""
        await self._subscribe()
        for _ in range(self._policy.concurrency):
            self._use.host.spawn(self._lane())
        while not self._stopped:
            self._wanted.clear()
            if self._buffer:
                await self._wanted.wait()
                continue
            batch = await self._patiently(self._fetch, "fetch of messages failed")
            if self._stopped:
                await self._hand_back(batch)
                return
            self._received.add(len(batch))
            self._buffer.extend(batch)
            if batch:
                self._filled.set()

    async def stop(self) -> None:
        """Ask for no further messages, and give back what nobody here works on yet."""
        self._stopped = True
        waiting = list(self._buffer)
        self._buffer.clear()
        await self._hand_back(waiting)

    async def drained(self) -> None:
        """Return once nothing is worked on."""
        while self.active:
            self._idle.clear()
            await self._idle.wait()

    # -- the queue --------------------------------------------------------------------------------

    async def _subscribe(self) -> None:
        queue = self._use.queue

        async def subscribe() -> tuple[Message, ...]:
            await queue.wire.subscribe(self._subscription, timeout_s=queue.timeout_s)
            return ()

        await self._patiently(subscribe, f"consumer {self._name} cannot be created")
        fields: dict[str, str | int | float] = {
            "stream": self._spec.stream,
            "consumer": self._subscription.durable,
            "concurrency": self._policy.concurrency,
        }
        self._use.journal.write("INFO", f"consuming {self._policy.subject or '>'}", fields)

    async def _fetch(self) -> list[Message]:
        queue, timeout_s = self._use.queue, _WAIT_S + self._use.queue.timeout_s
        batch = await queue.wire.fetch(
            self._subscription, self._policy.batch, wait_s=_WAIT_S, timeout_s=timeout_s
        )
        return list(batch)

    async def _hand_back(self, messages: Sequence[Message]) -> None:
        queue = self._use.queue
        for message in messages:
            try:
                await queue.wire.nak(self._subscription, message, 0.0, timeout_s=queue.timeout_s)
            except (NetError, QueueError) as error:
                text = self._use.dialect.queue_problem(error).message
                self._use.journal.write("WARN", "messages not handed back", {"error": text})
                return

    async def _patiently(self, attempt: _Attempt, complaint: str) -> list[Message]:
        """Try until it works, with growing pauses and a line in the log each time."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return list(await attempt())
            except (NetError, QueueError) as error:
                problem = self._use.dialect.queue_problem(error)
                self._use.journal.failure("ERROR", complaint, problem, self._frames)
                refused = isinstance(error, QueueError)
            await self._use.host.clock.sleep(pause_s)
            pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)
            if refused and attempt == self._fetch:
                await self._subscribe()  # somebody deleted the consumer, or the queue lost it

    # -- the work ---------------------------------------------------------------------------------

    async def _lane(self) -> None:
        """Work on one message after the other."""
        while not self._stopped:
            if not self._buffer:
                self._wanted.set()
                self._filled.clear()
                await self._filled.wait()
                continue
            if not await self._turn():
                continue
            message = self._buffer.popleft()
            self.active += 1
            self._use.heap.working(self.active)
            try:
                await self._work(message)
            finally:
                self.active -= 1
                self._use.heap.working(self.active)
                if not self.active:
                    self._idle.set()

    async def _turn(self) -> bool:
        """Wait until the next message may begin; False if somebody else took it meanwhile."""
        if self._policy.pause_s <= 0.0:
            return True
        clock = self._use.host.clock
        start = max(clock.now(), self._next_start)
        self._next_start = start + self._policy.pause_s
        await clock.sleep(start - clock.now())
        return bool(self._buffer) and not self._stopped

    async def _work(self, message: Message) -> None:
        host, telemetry = self._use.host, self._use.host.telemetry
        x = Exchange(
            message.trace_id or telemetry.new_trace_id(), telemetry.new_span_id(), message.params
        )
        start = host.clock.now()
        self._delays.observe(start - message.published)
        failed = None
        try:
            if self._use.defects.fails(message.params):
                raise RequestFailed(500, self._use.dialect.defect(message.subject))
            if wait_s := self._use.defects.latency_s(message.params):
                await host.clock.sleep(wait_s)
            await self._run(x)
        except RequestFailed as error:
            failed = error.settled()
        self._use.heap.served(message.params)
        self._finish(message, x, start, failed)
        await self._answer(message, x, failed)

    def _finish(
        self, message: Message, x: Exchange, start: float, failed: RequestFailed | None
    ) -> None:
        """Write the span, which continues the publisher's trace, and the duration."""
        end = self._use.host.clock.now()
        attributes = self._attributes | {
            "messaging.destination.name": message.subject,
            "messaging.message.id": str(message.sequence),
            "messaging.message.body.size": message.size,
            "messaging.nats.delivery_count": message.delivery,
            "messaging.nats.queue_delay_ms": round((start - message.published) * 1000.0),
        }
        if failed is not None:
            attributes["error.type"] = failed.problem.type
        self._use.host.telemetry.span(
            x.trace_id, x.span_id, message.span_id, f"process {message.subject}", "consumer",
            start, end, failed.problem.message if failed else "", attributes,
        )  # fmt: skip
        self._durations.observe(failed.problem.type if failed else "", end - start)

    async def _answer(self, message: Message, x: Exchange, failed: RequestFailed | None) -> None:
        queue, wire = self._use.queue, self._use.queue.wire
        timeout_s = queue.timeout_s
        last = 0 < self._policy.max_deliver <= message.delivery
        try:
            if failed is None:
                await wire.ack(self._subscription, message, timeout_s=timeout_s)
                return
            give_up = last or self._spec.failure == "term"
            self._complain(message, x, failed, give_up=give_up)
            if not give_up:
                delay_s = self._policy.nak_delay_s
                await wire.nak(self._subscription, message, delay_s, timeout_s=timeout_s)
                return
            if self._spec.dead_letter:
                await self._file(message, failed)
            await wire.term(self._subscription, message, timeout_s=timeout_s)
        except (NetError, QueueError) as error:
            fields: dict[str, str | int | float] = {
                "sequence": message.sequence,
                "error": self._use.dialect.queue_problem(error).message,
            }
            self._use.journal.write("WARN", "acknowledgement failed", fields, x)

    async def _file(self, message: Message, failed: RequestFailed) -> None:
        """Publish the message under the dead letters' subject, with the reason."""
        params = {
            **message.params,
            "reason": failed.problem.message,
            "subject": message.subject,
            "stream_seq": str(message.sequence),
        }
        await self._use.queue.wire.publish(
            self._spec.dead_letter, params, size=message.size,
            id=f"{message.stream}-{message.sequence}", trace_id=message.trace_id,
            span_id=message.span_id, timeout_s=self._use.queue.timeout_s,
        )  # fmt: skip

    def _complain(
        self, message: Message, x: Exchange, failed: RequestFailed, *, give_up: bool
    ) -> None:
        text = (
            f"{self._name}: giving up on message {message.sequence} after {message.delivery}"
            if give_up
            else f"{self._name}: message {message.sequence} failed, delivery {message.delivery}"
        )
        frames = [*self._frames, *failed.frames]
        self._use.journal.failure("ERROR", text, failed.problem, frames, x)
