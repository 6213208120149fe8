"""What the app program needs of a message queue: the ``Queue`` protocol and what passes through it.

A part of ``services.protocols``, with the same two bindings by design. Not here: publishing
(``queue``) and working on messages (``worker``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class QueueError(Exception):
    """The queue answered with an error; the text is what nats.go shows behind ``nats: ``."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message given out by a consumer; it must be acknowledged before its time is over."""

    stream: str
    sequence: int
    subject: str
    params: Mapping[str, str]
    size: int
    delivery: int
    """1 for the first time."""
    published: float
    """When the server stored it, unix seconds."""
    trace_id: int = 0
    span_id: int = 0
    """The span that published it; 0 without one."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A durable consumer as a client asks for it; see ``services.config``."""

    stream: str
    durable: str
    subject: str
    ack_wait_s: float
    max_deliver: int
    max_ack_pending: int
    backoff_s: tuple[float, ...]


class Queue(Protocol):
    """A client of one message queue, over one connection that is made again when it breaks.

    Every method raises ``NetError`` or QueueError.
    """

    async def publish(
        self, subject: str, params: Mapping[str, str], *, size: int, id: str, trace_id: int,
        span_id: int, timeout_s: float,
    ) -> int:  # fmt: skip
        """Store a message; return its sequence. ``id`` '' is none."""
        ...

    async def subscribe(self, subscription: Subscription, *, timeout_s: float) -> None:
        """Create the durable consumer, or give the one of that name this policy."""
        ...

    async def fetch(
        self, subscription: Subscription, batch: int, *, wait_s: float, timeout_s: float
    ) -> Sequence[Message]:
        """Return messages as soon as there are any; none after ``wait_s`` seconds."""
        ...

    async def ack(self, subscription: Subscription, message: Message, *, timeout_s: float) -> None:
        """Be done with a message."""
        ...

    async def nak(
        self, subscription: Subscription, message: Message, delay_s: float, *, timeout_s: float
    ) -> None:
        """Ask for a message again, after a pause."""
        ...

    async def term(self, subscription: Subscription, message: Message, *, timeout_s: float) -> None:
        """Give a message up."""
        ...
