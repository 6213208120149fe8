"""A trace as a tree: depth, self time, critical path, where an error began.

Pure functions of spans, so that every environment's traces read alike. Not here: searching for
traces (``spans``, ``traceql``), the tools that print this (``tools.traces``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aiopslab.telemetry.rows import PathSegment, SpanRow


@dataclass(frozen=True, slots=True)
class Node:
    """A span in its tree."""

    span: SpanRow
    depth: int
    self_ms: float
    """Duration not covered by children."""
    path_ms: float
    """Time of the critical path that was spent in the span itself."""
    origin: bool
    """The span failed, and none of its children did: the error began here."""


class Tree:
    """The spans of one trace by parent. Spans whose parent is missing count as roots.

    Of spans with the same id the first has the children, so that no span is below itself; spans
    that are each other's parents are below no root.
    """

    def __init__(self, spans: Sequence[SpanRow]) -> None:
        ordered = sorted(spans, key=lambda s: (s.start, s.span_id))
        self._first: dict[str, SpanRow] = {}
        for span in ordered:
            self._first.setdefault(span.span_id, span)
        self._children: dict[str, list[SpanRow]] = {}
        self.roots: list[SpanRow] = []
        for span in ordered:
            if span.parent_id in self._first and span.parent_id != span.span_id:
                self._children.setdefault(span.parent_id, []).append(span)
            else:
                self.roots.append(span)

    def children(self, span: SpanRow) -> list[SpanRow]:
        """Return the direct children in start order."""
        if self._first.get(span.span_id) is not span:
            return []
        return self._children.get(span.span_id, [])

    def walk(self) -> Iterator[Node]:
        """Yield every span, parents before children."""
        waited: dict[str, float] = {}
        for segment in self.critical_path():
            id = segment.span.span_id
            waited[id] = waited.get(id, 0.0) + segment.ms
        stack = [(root, 0) for root in reversed(self.roots)]
        while stack:
            span, depth = stack.pop()
            below = self.children(span)
            origin = bool(span.error) and not any(child.error for child in below)
            path_ms = waited.get(span.span_id, 0.0)
            yield Node(span, depth, _self_ms(span, below), path_ms, origin)
            stack.extend((child, depth + 1) for child in reversed(below))

    def critical_path(self) -> list[PathSegment]:
        """Return what the first root's duration was spent on, in time order.

        Walks back from the end of each span: the child that finished last was waited for, then
        what finished before that child began, and so on; what lies between is the span's own. The
        segments' lengths sum to the duration of the root. This is the algorithm of CRISP (Zhang
        et al., "CRISP: Critical Path Analysis of Large-Scale Microservice Architectures", USENIX
        ATC 2022, section 4), which Jaeger's user interface draws, too; children that outlive
        their parent are cut at its end.
        """
        if not self.roots:
            return []
        root = self.roots[0]
        # The latest segment first. A trace may be deeper than Python's own stack.
        segments: list[PathSegment] = []
        stack = [self._walk_back(root, root.start, _end(root))]
        while stack:
            frame = stack[-1]
            for child in frame.waited:
                first, last = max(child.start, frame.begin), min(_end(child), frame.cursor)
                if first >= frame.cursor or last <= first:
                    continue
                _append(segments, frame.span, last, frame.cursor)
                frame.cursor = first
                stack.append(self._walk_back(child, first, last))
                break
            else:
                _append(segments, frame.span, frame.begin, frame.cursor)
                stack.pop()
        return segments[::-1]

    def _walk_back(self, span: SpanRow, begin: float, end: float) -> _Frame:
        waited = sorted(self.children(span), key=_end, reverse=True)
        return _Frame(span, begin, end, iter(waited))


@dataclass(slots=True)
class _Frame:
    """A span on the way back from its end, between two instants."""

    span: SpanRow
    begin: float
    cursor: float
    """How far back the path is known."""
    waited: Iterator[SpanRow]
    """Children that are still to be looked at, the one that ended last first."""


def _append(out: list[PathSegment], span: SpanRow, start: float, end: float) -> None:
    if end > start:
        out.append(PathSegment(span, start, (end - start) * 1000.0))


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
