"""Which elements do failing requests touch and passing ones not: coverage and its formulas.

An element is an operation of a component, plainly touched, or slow, or where an error began: the
last two are predicates in the sense of statistical debugging, without which all that lies on every
request would be equally suspicious. Pure functions of traces. Not here: answers (``agent``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from aiopslab.agents.sampling import Span, Trace
from aiopslab.agents.violations import bounds


@dataclass(frozen=True, slots=True, order=True)
class Element:
    """Something that a request touches."""

    component: str
    operation: str
    how: str
    """``touched``, ``slow`` or ``error``."""


Formula = Callable[[int, int, int, int], float]
"""Of ef, ep, nf, ok: failing and passing requests that touched it, and that did not."""


def ochiai(ef: int, ep: int, nf: int, ok: int) -> float:
    """Return ``ef / sqrt((ef + nf) (ef + ep))``, 0 where nothing failed or touched it."""
    return ef / math.sqrt((ef + nf) * (ef + ep)) if ef else 0.0


def tarantula(ef: int, ep: int, nf: int, ok: int) -> float:
    """Return ``(ef / F) / (ef / F + ep / P)``: the share of failing among both shares."""
    if not ef:
        return 0.0
    failing, passing = ef / (ef + nf), ep / (ep + ok) if ep else 0.0
    return failing / (failing + passing)


def dstar(ef: int, ep: int, nf: int, ok: int) -> float:
    """Return ``ef^2 / (ep + nf)`` mapped to ``x / (1 + x)``, so that infinity is 1."""
    return ef * ef / (ef * ef + ep + nf) if ef else 0.0


FORMULAS: dict[str, Formula] = {"ochiai": ochiai, "tarantula": tarantula, "dstar": dstar}


class Healthy:
    """How long the own time of each operation is while all is well: its 95th percentile.

    Args:
        traces: Of the healthy window.
        known: Components.
    """

    def __init__(self, traces: Sequence[Trace], known: Collection[str]) -> None:
        self._known = known
        own: dict[tuple[str, str], list[float]] = {}
        for trace in traces:
            for span, seconds in own_times(trace):
                own.setdefault(_place(span, known), []).append(seconds)
        self._own = bounds(own)

    def elements(self, trace: Trace) -> set[Element]:
        """Return what a request touched, where it was slow, and where its errors began."""
        wrong = {span.parent for span in trace if span.failed}
        found = set()
        for span, seconds in own_times(trace):
            component, operation = _place(span, self._known)
            found.add(Element(component, operation, "touched"))
            if span.failed and span.id not in wrong:
                found.add(Element(component, operation, "error"))
            elif seconds > self._own.get((component, operation), math.inf):
                found.add(Element(component, operation, "slow"))
        return found


def spectrum(
    passing: Iterable[set[Element]], failing: Iterable[set[Element]], formula: Formula
) -> dict[Element, float]:
    """Return how suspicious each element is that a failing request touched."""
    good, bad = list(passing), list(failing)
    ep, ef = Counter(e for one in good for e in one), Counter(e for one in bad for e in one)
    return {e: formula(n, ep[e], len(bad) - n, len(good) - ep[e]) for e, n in sorted(ef.items())}


def own_times(trace: Trace) -> list[tuple[Span, float]]:
    """Return each span with its seconds less those of its children, at least 0.

    A client's span that a server's span answers is left out: the server's says it all.
    """
    below: Counter[str] = Counter()
    answered = set()
    for span in trace:
        below[span.parent] += round(span.duration * 1e9)
        if span.kind == "server":
            answered.add(span.parent)
    return [
        (span, max(0.0, span.duration - below[span.id] / 1e9))
        for span in trace
        if span.id not in answered
    ]


def _place(span: Span, known: Collection[str]) -> tuple[str, str]:
    """Return component and operation of a span; a call nobody answered is the callee's."""
    callee = span.callee.partition(":")[0].partition(".")[0]
    home = (callee if callee in known else span.callee) if span.callee else span.service
    return home, span.name
