"""The state of one durable pull consumer: what was given out, to be given again, and done with.

A message is *pending* from its first delivery until it is acknowledged, terminated, gone from the
stream, or out of deliveries. Each delivery has a deadline; when it passes, the message is *due*
again. Messages that are due go before new ones, as in nats-server, which is why a message that
always fails stands in the way of the others. Time and stream are given by the caller.

Not here: waiting readers (``nats_server``), what an acknowledgement does to the stream
(``nats_account``).
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from aiopslab.world.images.nats_stream import Stored, StreamState


@dataclass(frozen=True, slots=True)
class ConsumerConfig:
    """What a client asked for when it created the consumer."""

    durable: str
    filter_subject: str = ""
    ack_wait_s: float = 30.0
    max_deliver: int = -1
    max_ack_pending: int = 1000
    backoff_s: tuple[float, ...] = ()
    """Replaces ``ack_wait_s``, delivery by delivery; the last one stays."""

    def patience(self, delivery: int) -> float:
        """Seconds until the n-th delivery of a message counts as failed."""
        if not self.backoff_s:
            return self.ack_wait_s
        return self.backoff_s[min(delivery, len(self.backoff_s)) - 1]


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message given out."""

    message: Stored
    delivery: int
    """1 for the first time."""
    consumer_seq: int


@dataclass(slots=True)
class _Pending:
    delivery: int
    deadline: float
    consumer_seq: int
    due: bool = False


@dataclass(slots=True)
class ConsumerState:
    """A consumer."""

    stream: str
    config: ConsumerConfig
    created: float
    next_seq: int = 1
    """Messages from here on were never given out."""
    consumer_seq: int = 0
    """Deliveries so far, repeated ones included."""
    ack_floor: int = 0
    """Every message up to here is done with."""
    exhausted: dict[int, int] = field(default_factory=dict)
    """Sequence to deliveries of messages that used all of them up; they stay in the stream."""
    redelivered: int = 0
    """Repeated deliveries so far."""
    last_delivered: float | None = None
    last_acked: float | None = None
    pending: dict[int, _Pending] = field(default_factory=dict)
    _due: deque[int] = field(default_factory=deque)
    _deadlines: list[tuple[float, int]] = field(default_factory=list)

    # -- figures ----------------------------------------------------------------------------------

    @property
    def num_ack_pending(self) -> int:
        """Messages given out and not acknowledged."""
        return len(self.pending)

    @property
    def num_redelivered(self) -> int:
        """Messages given out more than once and not acknowledged."""
        return sum(p.delivery > 1 for p in self.pending.values())

    def num_pending(self, stream: StreamState) -> int:
        """Messages that were never given out."""
        return stream.count_from(self.next_seq, self.config.filter_subject)

    # -- giving out -------------------------------------------------------------------------------

    def take(self, stream: StreamState, now: float) -> Delivered | None:
        """Give out the next message: one that is due again, else a new one; None if there is none.

        New ones wait while ``max_ack_pending`` are out.
        """
        self.expire(now)
        while self._due:
            sequence = self._due.popleft()
            entry = self.pending.get(sequence)
            if entry is None or not entry.due:
                continue
            message = stream.messages.get(sequence)
            if message is None:
                self._done(sequence, stream)
            elif 0 < self.config.max_deliver <= entry.delivery:
                self.exhausted[sequence] = entry.delivery
                self._done(sequence, stream)
            else:
                self.redelivered += 1
                return self._give(message, entry.delivery + 1, now)
        if len(self.pending) >= self.config.max_ack_pending:
            return None
        message = stream.after(self.next_seq, self.config.filter_subject)
        if message is None:
            self.next_seq = max(self.next_seq, stream.last_seq + 1)
            self._advance(stream)
            return None
        self.next_seq = message.sequence + 1
        return self._give(message, 1, now)

    def _give(self, message: Stored, delivery: int, now: float) -> Delivered:
        self.consumer_seq += 1
        self.last_delivered = now
        deadline = now + self.config.patience(delivery)
        self.pending[message.sequence] = _Pending(delivery, deadline, self.consumer_seq)
        heapq.heappush(self._deadlines, (deadline, message.sequence))
        return Delivered(message, delivery, self.consumer_seq)

    # -- answers ----------------------------------------------------------------------------------

    def ack(self, sequence: int, stream: StreamState, now: float) -> bool:
        """Be done with a message; False if it was not pending: done already, or never given out."""
        if sequence not in self.pending:
            return False
        self.last_acked = now
        self._done(sequence, stream)
        return True

    def nak(self, sequence: int, delay_s: float, now: float) -> bool:
        """Have a message given out again, now or after a pause; False if it is not pending."""
        entry = self.pending.get(sequence)
        if entry is None:
            return False
        if delay_s > 0.0:
            entry.due = False
            entry.deadline = now + delay_s
            heapq.heappush(self._deadlines, (entry.deadline, sequence))
        else:
            self._make_due(sequence, entry)
        return True

    def forget(self, sequence: int, stream: StreamState) -> None:
        """A message is gone from the stream."""
        self.exhausted.pop(sequence, None)
        if sequence in self.pending:
            self._done(sequence, stream)

    # -- time -------------------------------------------------------------------------------------

    def expire(self, now: float) -> int:
        """Make due what was not acknowledged in time; return how many messages that were."""
        count = 0
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, sequence = heapq.heappop(self._deadlines)
            entry = self.pending.get(sequence)
            if entry is not None and not entry.due and entry.deadline == deadline:
                self._make_due(sequence, entry)
                count += 1
        return count

    def next_deadline(self) -> float | None:
        """Return when something becomes due next; None if nothing will."""
        while self._deadlines:
            deadline, sequence = self._deadlines[0]
            entry = self.pending.get(sequence)
            if entry is not None and not entry.due and entry.deadline == deadline:
                return deadline
            heapq.heappop(self._deadlines)
        return None

    def _make_due(self, sequence: int, entry: _Pending) -> None:
        if not entry.due:
            entry.due = True
            self._due.append(sequence)

    def _done(self, sequence: int, stream: StreamState) -> None:
        del self.pending[sequence]
        self._advance(stream)

    def _advance(self, stream: StreamState) -> None:
        """Move the floor up to the message before the oldest that is pending."""
        oldest = min(self.pending, default=self.next_seq)
        self.ack_floor = max(self.ack_floor, oldest - 1)
