"""JetStream of one server: its streams and consumers, their limits, and the disk below them.

What outlives the server process: it is kept by the volume and opened again at the next start.
Retention, advisories and dead messages are decided here. Not here: connections and readers that
wait (``nats_server``), one stream or consumer by itself (``nats_stream``, ``nats_consumer``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from aiopslab.models.queue import Stream, is_subject, overlap
from aiopslab.world.disk import Volume
from aiopslab.world.images.nats_consumer import ConsumerConfig, ConsumerState, Delivered
from aiopslab.world.images.nats_stream import LimitReached, Stored, StreamState

MAX_DELIVERIES = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES"
TERMINATED = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED"
_ADVISORY_BYTES = 420


class ApiError(Exception):
    """An error of the JetStream API.

    Args:
        code: As HTTP has them.
        err_code: The server's own number.
        text: Its description.
    """

    def __init__(self, code: int, err_code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.err_code = err_code
        self.text = text


class OutOfSpace(Exception):
    """The volume is full: the server gives JetStream up."""


@dataclass(slots=True)
class Account:
    """Streams and consumers.

    Args:
        volume: Where messages lie; None keeps them in memory alone.
        max_file_store: Bytes of all streams with file storage together.
        max_memory_store: Bytes of all streams in memory.
    """

    volume: Volume | None
    max_file_store: int
    max_memory_store: int
    streams: dict[str, StreamState] = field(default_factory=dict)
    consumers: dict[tuple[str, str], ConsumerState] = field(default_factory=dict)
    """By stream and durable."""
    lost: dict[str, int] = field(default_factory=dict)
    """Stream to messages that left it while a consumer still had to work on them."""

    # -- streams ----------------------------------------------------------------------------------

    def add_stream(self, name: str, config: Stream, now: float) -> StreamState:
        """Create a stream, or return the one of that name with the same configuration.

        Raises:
            ApiError: The name is taken, or another stream keeps one of the subjects.
        """
        known = self.streams.get(name)
        if known is not None:
            if known.config != config:
                text = "stream name already in use with a different configuration"
                raise ApiError(400, 10058, text)
            return known
        self._check_subjects(name, config)
        state = self.streams[name] = StreamState(name, config, now)
        self.lost.setdefault(name, 0)
        return state

    def update_stream(self, name: str, config: Stream, now: float) -> StreamState:
        """Change the configuration; messages beyond new limits go.

        Raises:
            ApiError: No such stream, or a change that a stream does not allow.
        """
        state = self.stream(name)
        if (config.storage, config.retention) != (state.config.storage, state.config.retention):
            text = "stream configuration update can not change storage type or retention policy"
            raise ApiError(500, 10052, text)
        self._check_subjects(name, config)
        state.config = config
        if config.discard == "old":
            for sequence in state.admit(0):
                self.remove(state, sequence)
        self.age(state, now)
        return state

    def _check_subjects(self, name: str, config: Stream) -> None:
        for other in self.streams.values():
            if other.name != name and any(
                overlap(a, b) for a in config.subjects for b in other.config.subjects
            ):
                raise ApiError(400, 10065, "subjects overlap with an existing stream")

    def stream(self, name: str) -> StreamState:
        """Return a stream; raises ApiError without it."""
        state = self.streams.get(name)
        if state is None:
            raise ApiError(404, 10059, "stream not found")
        return state

    def delete_stream(self, name: str) -> None:
        """Delete a stream with its messages and consumers; raises ApiError without it."""
        state = self.stream(name)
        self.purge(name)
        for key in [key for key in self.consumers if key[0] == name]:
            del self.consumers[key]
        if self.volume is not None:
            self.volume.remove(_path(state))
        del self.streams[name]

    def purge(self, name: str, subject: str = "", keep: int = 0) -> int:
        """Remove the messages of a stream (under a subject) but the newest ``keep``."""
        state = self.stream(name)
        chosen = [m.sequence for m in state.messages.values()
                  if not subject or overlap(subject, m.subject)]  # fmt: skip
        chosen = chosen[: max(0, len(chosen) - keep)]
        for sequence in chosen:
            self.remove(state, sequence)
        return len(chosen)

    def remove(self, state: StreamState, sequence: int) -> bool:
        """Remove one message that may not have been worked on; False if it is not there."""
        message = state.messages.get(sequence)
        if message is None:
            return False
        if self._wanted(state, message):
            self.lost[state.name] = self.lost.get(state.name, 0) + 1
        self._drop(state, sequence)
        return True

    def age(self, state: StreamState, now: float) -> int:
        """Remove what is older than the stream keeps."""
        old = state.expired(now)
        for sequence in old:
            self.remove(state, sequence)
        return len(old)

    def _drop(self, state: StreamState, sequence: int) -> None:
        state.remove(sequence)
        state.deleted += 1
        for consumer in self.of(state.name):
            consumer.forget(sequence, state)
        self._account(state)

    def _wanted(self, state: StreamState, message: Stored) -> bool:
        """Say whether some consumer still has to work on a message."""
        return any(
            (message.sequence >= consumer.next_seq or message.sequence in consumer.pending)
            for consumer in self.of(state.name)
            if _reads(consumer, message)
        )

    # -- messages ---------------------------------------------------------------------------------

    def publish(self, message: Stored, now: float) -> tuple[StreamState, int, bool] | None:
        """Store a message in the stream that keeps its subject.

        Args:
            message: Its sequence is assigned here.
            now: Unix seconds.

        Returns:
            The stream, the sequence, and whether the id was known; None where no stream listens.

        Raises:
            ApiError: A limit of the stream or the server is reached.
            OutOfSpace: The volume is full.
        """
        state = next((s for s in self.streams.values() if s.keeps(message.subject)), None)
        if state is None or not is_subject(message.subject.removeprefix("$")):
            return None
        if message.id and (known := state.duplicate(message.id, now)):
            return state, known, True
        self.age(state, now)
        try:
            oldest = state.admit(message.bytes)
        except LimitReached as full:
            raise ApiError(503, 10077, str(full)) from None
        self._fits(state, message.bytes)
        for sequence in oldest:
            self.remove(state, sequence)
        stored = replace(message, sequence=state.last_seq + 1, time=now)
        self._write(state, stored.bytes)
        state.append(stored)
        if state.config.retention == "interest" and not self._wanted(state, stored):
            state.remove(stored.sequence)
            self._account(state)
        return state, stored.sequence, False

    def take(self, consumer: ConsumerState, now: float) -> Delivered | None:
        """Give out a message, and tell whoever listens of messages that had their last delivery."""
        state = self.streams[consumer.stream]
        known = len(consumer.exhausted)
        delivered = consumer.take(state, now)
        if len(consumer.exhausted) > known:
            for sequence in list(consumer.exhausted)[known:]:
                self._advise(MAX_DELIVERIES, consumer, sequence, consumer.exhausted[sequence], now)
        return delivered

    def ack(self, consumer: ConsumerState, sequence: int, now: float) -> bool:
        """Acknowledge a message; retention may let go of it."""
        state = self.streams[consumer.stream]
        if not consumer.ack(sequence, state, now):
            return False
        self._release(state, sequence)
        return True

    def term(self, consumer: ConsumerState, sequence: int, now: float) -> bool:
        """Be done with a message that was not worked on; listeners are told."""
        entry = consumer.pending.get(sequence)
        if not self.ack(consumer, sequence, now):
            return False
        self._advise(TERMINATED, consumer, sequence, entry.delivery if entry else 1, now)
        return True

    def _release(self, state: StreamState, sequence: int) -> None:
        message = state.messages.get(sequence)
        if message is None or state.config.retention == "limits":
            return
        if not self._wanted(state, message):
            self._drop(state, sequence)

    def _advise(
        self, subject: str, consumer: ConsumerState, sequence: int, deliveries: int, now: float
    ) -> None:
        """Publish an advisory; it is kept only where a stream has its subject."""
        full = f"{subject}.{consumer.stream}.{consumer.config.durable}"
        params = {
            "stream": consumer.stream,
            "consumer": consumer.config.durable,
            "stream_seq": str(sequence),
            "deliveries": str(deliveries),
        }
        self.publish(Stored(0, full, params, _ADVISORY_BYTES, now), now)

    # -- consumers --------------------------------------------------------------------------------

    def of(self, stream: str) -> list[ConsumerState]:
        """Return the consumers of a stream."""
        return [c for (name, _), c in self.consumers.items() if name == stream]

    def add_consumer(self, stream: str, config: ConsumerConfig, now: float) -> ConsumerState:
        """Create a consumer, or change the policy of the one of that name; its position stays.

        Raises:
            ApiError: No such stream, or a work queue whose messages another one takes.
        """
        state = self.stream(stream)
        known = self.consumers.get((stream, config.durable))
        self._check_filter(state, config)
        if known is not None:
            known.config = config
            return known
        created = ConsumerState(stream, config, now)
        self.consumers[stream, config.durable] = created
        return created

    def _check_filter(self, state: StreamState, config: ConsumerConfig) -> None:
        if state.config.retention != "workqueue":
            return
        for other in self.of(state.name):
            theirs = other.config
            if theirs.durable != config.durable and overlap(
                theirs.filter_subject or ">", config.filter_subject or ">"
            ):
                text = "filtered consumer not unique on workqueue stream"
                raise ApiError(400, 10100, text)

    def consumer(self, stream: str, durable: str) -> ConsumerState:
        """Return a consumer; raises ApiError without it."""
        self.stream(stream)
        found = self.consumers.get((stream, durable))
        if found is None:
            raise ApiError(404, 10014, "consumer not found")
        return found

    def delete_consumer(self, stream: str, durable: str) -> None:
        """Delete a consumer with its position; what only it wanted goes. Raises ApiError."""
        del self.consumers[stream, self.consumer(stream, durable).config.durable]
        state = self.streams[stream]
        if state.config.retention == "interest":
            for message in list(state.messages.values()):
                if not self._wanted(state, message):
                    self._drop(state, message.sequence)

    # -- space ------------------------------------------------------------------------------------

    def used(self, storage: str = "file") -> int:
        """Bytes of all streams of a storage type."""
        return sum(s.bytes for s in self.streams.values() if s.config.storage == storage)

    def _fits(self, state: StreamState, size: int) -> None:
        storage = state.config.storage
        limit = self.max_file_store if storage == "file" else self.max_memory_store
        if self.used(storage) + size > limit:
            words = "storage" if storage == "file" else "memory"
            number = 10047 if storage == "file" else 10028
            raise ApiError(500, number, f"insufficient {words} resources available")

    def _write(self, state: StreamState, size: int) -> None:
        if self.volume is None or state.config.storage == "memory":
            return
        try:
            self.volume.write(_path(state), state.bytes + size)
        except OSError as error:
            raise OutOfSpace from error

    def _account(self, state: StreamState) -> None:
        """Compact the file to the messages it holds."""
        if self.volume is not None and state.config.storage == "file":
            self.volume.write(_path(state), state.bytes)

    def restore(self, limits: tuple[int, int]) -> None:
        """Come up again: what was in memory is gone, the limits are those of today."""
        self.max_file_store, self.max_memory_store = limits
        for state in self.streams.values():
            if state.config.storage == "memory":
                for sequence in list(state.messages):
                    self.remove(state, sequence)


def _path(state: StreamState) -> str:
    return f"jetstream/$G/streams/{state.name}/msgs"


def _reads(consumer: ConsumerState, message: Stored) -> bool:
    return not consumer.config.filter_subject or overlap(
        consumer.config.filter_subject, message.subject
    )
