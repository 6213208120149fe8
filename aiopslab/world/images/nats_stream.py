"""One stream of JetStream: messages in sequence, its limits, and ids it has seen.

Time is given by the caller, so that a stream can be tested, restored and forked as plain data. Not
here: who reads it (``nats_consumer``), the disk (``nats_account``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aiopslab.models.queue import Stream, matches

RECORD_BYTES = 40
"""Beside subject and body: record header (22 bytes), hash (8), and headers' framing."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it lies in a stream."""

    sequence: int
    subject: str
    params: Mapping[str, str]
    """What the body says."""
    size: int
    """Bytes of the body."""
    time: float
    """When it was stored, unix seconds."""
    id: str = ""
    """``Nats-Msg-Id``."""
    trace_id: int = 0
    span_id: int = 0
    """``traceparent``: the span that published it."""

    @property
    def bytes(self) -> int:
        """What it takes on disk."""
        return self.size + len(self.subject) + RECORD_BYTES


class LimitReached(Exception):
    """A stream that refuses new messages is full; the text is the server's."""


@dataclass(slots=True)
class StreamState:
    """A stream."""

    name: str
    config: Stream
    created: float
    messages: dict[int, Stored] = field(default_factory=dict)
    """By sequence, ascending."""
    last_seq: int = 0
    bytes: int = 0
    deleted: int = 0
    """Messages removed in the middle: purged, deleted by hand, or worked off."""
    seen: dict[str, int] = field(default_factory=dict)
    """Ids within the duplicate window, to their sequences."""
    window: deque[tuple[float, str]] = field(default_factory=deque)

    @property
    def first_seq(self) -> int:
        """Lowest sequence that exists; one beyond the last when empty, as the server reports it."""
        return next(iter(self.messages), self.last_seq + 1)

    def keeps(self, subject: str) -> bool:
        """Say whether messages of a subject belong here."""
        return any(matches(pattern, subject) for pattern in self.config.subjects)

    def duplicate(self, id: str, now: float) -> int:
        """Return the sequence of a message with that id in the window, 0 without one."""
        while self.window and self.window[0][0] <= now - self.config.duplicate_window:
            self.seen.pop(self.window.popleft()[1], None)
        return self.seen.get(id, 0)

    def admit(self, size: int) -> list[int]:
        """Return the sequences that must go so that a message of ``size`` bytes fits.

        Raises:
            LimitReached: It does not fit, and the stream discards new messages.
        """
        count, total = len(self.messages) + 1, self.bytes + size
        over_count = 0 <= self.config.max_msgs < count
        over_bytes = 0 <= self.config.max_bytes < total
        if not (over_count or over_bytes):
            return []
        if self.config.discard == "new":
            raise LimitReached("maximum messages exceeded" if over_count
                               else "maximum bytes exceeded")  # fmt: skip
        oldest: list[int] = []
        for message in self.messages.values():
            if not (0 <= self.config.max_msgs < count or 0 <= self.config.max_bytes < total):
                break
            oldest.append(message.sequence)
            count, total = count - 1, total - message.bytes
        return oldest

    def append(self, message: Stored) -> None:
        """Store a message that ``admit`` let in."""
        self.messages[message.sequence] = message
        self.last_seq = message.sequence
        self.bytes += message.bytes
        if message.id:
            self.seen[message.id] = message.sequence
            self.window.append((message.time, message.id))

    def remove(self, sequence: int) -> Stored | None:
        """Take a message out; None if it is not there."""
        message = self.messages.pop(sequence, None)
        if message is not None:
            self.bytes -= message.bytes
        return message

    def expired(self, now: float) -> list[int]:
        """Return the sequences that are older than the stream keeps."""
        if self.config.max_age <= 0.0:
            return []
        old: list[int] = []
        for message in self.messages.values():
            if message.time > now - self.config.max_age:
                break
            old.append(message.sequence)
        return old

    def after(self, sequence: int, pattern: str) -> Stored | None:
        """Return the first message from a sequence on that falls under a pattern (empty: any)."""
        for number in range(max(sequence, self.first_seq), self.last_seq + 1):
            message = self.messages.get(number)
            if message is not None and (not pattern or matches(pattern, message.subject)):
                return message
        return None

    def count_from(self, sequence: int, pattern: str) -> int:
        """Count the messages from a sequence on that fall under a pattern (empty: any)."""
        if sequence <= self.first_seq and not pattern:
            return len(self.messages)
        return sum(
            not pattern or matches(pattern, message.subject) for message in self.newest(sequence)
        )

    def newest(self, sequence: int) -> Iterator[Stored]:
        """Iterate from the latest message down to a sequence."""
        for number in reversed(self.messages):
            if number < sequence:
                return
            yield self.messages[number]
