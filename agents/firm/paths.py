"""The critical path of a request: which spans its answer waited for, and whose time that was.

Going back from the end of a span, the child that returned last is on the path, then the child that
had ended before that one began, and so on (FIRM, OSDI 2020, section 3.2). Pure functions of spans.
Not here: what paths say about instances (``features``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aiopslab.agents.sampling import Span, Trace

EPSILON_S = 1e-4
"""Ends and starts that are this close count as in order."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One span on the critical path, with the seconds that were its own."""

    span: Span
    own_s: float


@dataclass(frozen=True, slots=True)
class Path:
    """The critical path of one trace, the root first."""

    root: Span
    hops: tuple[Hop, ...]

    @property
    def seconds(self) -> float:
        """Own times of all hops together."""
        return sum(hop.own_s for hop in self.hops)

    @property
    def identity(self) -> tuple[str, ...]:
        """Names of the services on the way, one after another."""
        names: list[str] = []
        for hop in self.hops:
            name = hop.span.callee or hop.span.service
            if names[-1:] != [name]:
                names.append(name)
        return tuple(names)


def critical_path(trace: Trace) -> Path | None:
    """Return the critical path of a trace; None of an empty one.

    The root is the span without a parent, or the longest whose parent is missing. Others whose
    parent is missing hang below the root if they began while it lasted, else they are left out.
    """
    root, children = _tree(trace)
    return None if root is None else Path(root, tuple(_walk(root, children)))


def _tree(trace: Sequence[Span]) -> tuple[Span | None, dict[str, list[Span]]]:
    """Return the root, and span id -> children."""
    ids = {span.id for span in trace}
    tops = [span for span in trace if span.parent not in ids]
    if not tops:
        return None, {}
    root = max(tops, key=lambda s: (not s.parent, s.duration, s.id))
    children: dict[str, list[Span]] = {}
    for span in trace:
        if span.parent in ids:
            children.setdefault(span.parent, []).append(span)
        elif span is not root and root.start <= span.start < root.end:
            children.setdefault(root.id, []).append(span)
    return root, children


def _walk(span: Span, children: dict[str, list[Span]]) -> Iterable[Hop]:
    """Yield the path below a span, itself first."""
    chain = _chain(span, (_clamped(child, span) for child in children.get(span.id, ())))
    covered = sum(child.duration for child in chain)
    yield Hop(span, max(0.0, span.duration - covered))
    for child in chain:
        yield from _walk(child, children)


def _chain(span: Span, kids: Iterable[Span]) -> list[Span]:
    """Return the children that were waited for, one after another, the earliest first.

    A child that ends after its parent ran in the background: nobody waited for it.
    """
    waited = [kid for kid in kids if kid.end <= span.end + EPSILON_S]
    chain: list[Span] = []
    for kid in sorted(waited, key=lambda k: (-k.end, k.start, k.id)):
        if not chain or kid.end <= chain[-1].start + EPSILON_S:
            chain.append(kid)
    return chain[::-1]


def _clamped(child: Span, parent: Span) -> Span:
    """Move a child whose clock is wrong into its parent: nobody begins before being called.

    As Jaeger does: the middle of the parent where the child fits, else all of the parent.
    """
    if child.start >= parent.start - EPSILON_S:
        return child
    if child.duration > parent.duration:
        return replace(child, start=parent.start, end=parent.end)
    start = parent.start + (parent.duration - child.duration) / 2.0
    return replace(child, start=start, end=start + child.duration)
