"""A trace as a tree: depth, self time, critical path, where an error began.

Pure functions of spans, so that every environment's traces read alike. Not here: searching for
traces (the environment), the tools that print this (``traces``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aiopslab.environments.protocol import SpanRow


@dataclass(frozen=True, slots=True)
class Node:
    """A span in its tree."""

    span: SpanRow
    depth: int
    self_ms: float
    """Duration not covered by children."""
    origin: bool
    """The span failed, and none of its children did: the error began here."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the critical path, spent in one span itself."""

    span: SpanRow
    start: float
    ms: float


class Tree:
    """The spans of one trace by parent. Spans whose parent is missing count as roots."""

    def __init__(self, spans: Sequence[SpanRow]) -> None:
        known = {s.span_id for s in spans}
        self._children: dict[str, list[SpanRow]] = {}
        self.roots: list[SpanRow] = []
        for span in sorted(spans, key=lambda s: (s.start, s.span_id)):
            if span.parent_id in known and span.parent_id != span.span_id:
                self._children.setdefault(span.parent_id, []).append(span)
            else:
                self.roots.append(span)

    def children(self, span: SpanRow) -> list[SpanRow]:
        """Return the direct children in start order."""
        return self._children.get(span.span_id, [])

    def walk(self) -> Iterator[Node]:
        """Yield every span, parents before children."""
        stack = [(root, 0) for root in reversed(self.roots)]
        while stack:
            span, depth = stack.pop()
            below = self.children(span)
            origin = bool(span.error) and not any(child.error for child in below)
            yield Node(span, depth, _self_ms(span, below), origin)
            stack.extend((child, depth + 1) for child in reversed(below))

    def critical_path(self) -> list[Segment]:
        """Return what the first root's duration was spent on, in time order.

        Walks back from the end of each span: the child that finished last was waited for, then
        what finished before that child began, and so on. The segments' lengths sum to the
        duration of the root.
        """
        if not self.roots:
            return []
        root = self.roots[0]
        segments: list[Segment] = []
        self._back(root, root.start, _end(root), segments)
        return segments[::-1]

    def _back(self, span: SpanRow, begin: float, end: float, out: list[Segment]) -> None:
        """Append the path of one span between two instants, the latest segment first."""
        cursor = end
        for child in sorted(self.children(span), key=_end, reverse=True):
            first, last = max(child.start, begin), min(_end(child), cursor)
            if first >= cursor or last <= first:
                continue
            _append(out, span, last, cursor)
            self._back(child, first, last, out)
            cursor = first
        _append(out, span, begin, cursor)


def _append(out: list[Segment], span: SpanRow, start: float, end: float) -> None:
    if end > start:
        out.append(Segment(span, start, (end - start) * 1000.0))


def _end(span: SpanRow) -> float:
    return span.start + span.duration_ms / 1000.0


def _self_ms(span: SpanRow, children: Sequence[SpanRow]) -> float:
    """Subtract the union of the children's intervals from the duration."""
    end, covered, reached = _end(span), 0.0, span.start
    for child in children:
        first, last = max(child.start, reached), min(_end(child), end)
        if last > first:
            covered += last - first
            reached = last
    return max(0.0, span.duration_ms - covered * 1000.0)
