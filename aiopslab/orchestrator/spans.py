"""Spans noted in any process of a run, and the way they go up to the one that exports them.

A finished span is one more event on the pipes of a run. Noting needs no OpenTelemetry, no thread
and no socket, so hosts stay forkable, and an endpoint that is down costs a trial nothing. Where a
span hangs is a context variable: tasks and forked processes inherit it. Where nobody traces, a span
costs one look at it. Neighbours: ``tracing`` says which spans there are, ``trace_export`` sends.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from aiopslab.errors import LimitExceeded
from aiopslab.models.base import Model
from aiopslab.orchestrator import wallclock

Value = str | int | float | bool
Emit = Callable[[dict[str, Any]], None]
EVENT = "span"
"""Kind of the event that carries a finished span upwards."""
_LONGEST = 500
"""Characters of any text in a span: agents choose the names of what they call."""


class SpanRecord(Model):
    """A finished span, as it travels between processes."""

    name: str
    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    parent_id: str
    """Empty for the root."""
    start_ns: int
    """Unix nanoseconds of the host's clock."""
    end_ns: int
    attributes: dict[str, Value]
    failed: bool
    message: str
    """Why, where it failed."""


class TraceContext(Model):
    """Where spans of another process hang."""

    trace_id: str
    span_id: str


@dataclass(slots=True)
class Span:
    """A span under way."""

    name: str
    context: TraceContext
    parent_id: str
    start_ns: int
    attributes: dict[str, Value] = field(default_factory=dict)
    failed: bool = False
    message: str = ""

    def set(self, attributes: Mapping[str, Value | None]) -> None:
        """Add attributes; None is left out."""
        self.attributes.update({k: v for k, v in attributes.items() if v is not None})

    def fail(self, error_type: str, message: str = "") -> None:
        """Mark it as failed."""
        self.failed, self.message = True, message.partition("\n")[0]
        self.attributes["error.type"] = error_type


@dataclass(slots=True)
class Place:
    """Where new spans hang, and where finished ones go."""

    context: TraceContext
    emit: Emit
    agent: TraceContext | None = None
    """The agent's span while it runs: servers' tasks know only their trial's place."""
    about: Mapping[str, Value] = field(default_factory=dict)
    """Attributes of the spans that hang directly here."""


_here: ContextVar[Place | None] = ContextVar("aiopslab_trace", default=None)


@contextmanager
def under(
    context: TraceContext | None, emit: Emit, about: Mapping[str, Value] | None = None
) -> Iterator[None]:
    """Hang the spans of a block under one of another process; None: nobody traces.

    Args:
        context: The run's span.
        emit: Takes ``{"event": "span", "span": ...}`` of each finished span.
        about: Attributes of the spans that hang directly there.
    """
    with _at(None if context is None else Place(context, emit, about=about or {})):
        yield


@contextmanager
def through(emit: Emit) -> Iterator[None]:
    """Let the spans of a block go another way: a forked process has a pipe of its own."""
    place = _here.get()
    with _at(None if place is None else Place(place.context, emit, about=place.about)):
        yield


@contextmanager
def _at(place: Place | None) -> Iterator[None]:
    token = _here.set(place)
    try:
        yield
    finally:
        _here.reset(token)


@contextmanager
def span(name: str, attributes: Mapping[str, Value | None] | None = None) -> Iterator[Span | None]:
    """Time a block as a span under the present one; None where nobody traces."""
    place = _here.get()
    if place is None:
        yield None
        return
    with timed(place, name, place.context) as begun:
        begun.set({**place.about, **(attributes or {})})
        with _at(Place(begun.context, place.emit)):
            yield begun


@contextmanager
def timed(place: Place, name: str, parent: TraceContext) -> Iterator[Span]:
    """Time a block as a span under any other; what it raises is the span's failure."""
    begun = begin(name, parent)
    try:
        yield begun
    except Exception as error:
        kind = error.limit if isinstance(error, LimitExceeded) else type(error).__name__
        begun.fail(kind, str(error))
        raise
    finally:
        finish(place, begun, wallclock.unix_nanoseconds())


def begin(name: str, parent: TraceContext, start_ns: int | None = None) -> Span:
    """Begin a span now, or at a time that has passed."""
    context = TraceContext(trace_id=parent.trace_id, span_id=secrets.token_hex(8))
    at = wallclock.unix_nanoseconds() if start_ns is None else start_ns
    return Span(name, context, parent.span_id, at)


def finish(place: Place, done: Span, end_ns: int) -> None:
    """End a span and send it on its way."""
    texts = {k: _text(v) if isinstance(v, str) else v for k, v in done.attributes.items()}
    record = SpanRecord(
        name=_text(done.name),
        trace_id=done.context.trace_id,
        span_id=done.context.span_id,
        parent_id=done.parent_id,
        start_ns=done.start_ns,
        end_ns=end_ns,
        attributes=texts,
        failed=done.failed,
        message=_text(done.message),
    )
    place.emit({"event": EVENT, EVENT: record.model_dump(mode="json")})


def present() -> TraceContext | None:
    """Return where spans of another process should hang; None where nobody traces."""
    place = _here.get()
    return None if place is None else place.context


def here() -> Place | None:
    """Return where new spans hang; None where nobody traces."""
    return _here.get()


def _text(given: str) -> str:
    """Return text that fits a span: bounded, and without halves of characters."""
    return given[:_LONGEST].encode("utf-8", "replace").decode("utf-8")
