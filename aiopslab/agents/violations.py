"""Which requests violate what was usual: those that failed, or took longer than 95 % did before.

Usual is what requests of the same kind (root service and operation) took in a healthy window. Pure
functions of traces. Not here: sampling them (``sampling``), whose fault it is (the agents).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from aiopslab.agents.sampling import Span, Trace

K = TypeVar("K")
PERCENTILE = 95.0
LEAST = 5
"""Healthy samples without which nothing is called slow."""
ALARM = 0.13
"""Share of violations at which something is as likely wrong as not; 0.05 is usual."""


class Usual:
    """How long requests take while all is well.

    Args:
        healthy: Traces of the healthy window.
    """

    def __init__(self, healthy: Iterable[Trace]) -> None:
        routes: dict[str, list[float]] = {}
        for trace in healthy:
            top = root(trace)
            routes.setdefault(route(top), []).append(top.duration)
        self._bounds = bounds(routes)

    def violates(self, trace: Trace) -> bool:
        """Say whether a request failed or took longer than usual."""
        top = root(trace)
        return top.failed or top.duration > self._bounds.get(route(top), math.inf)

    def worst_share(self, traces: Sequence[Trace]) -> float:
        """Return the share that violates, of the kind of request of which most do for certain.

        The lower end of Wilson's interval, so that three of ten are not yet a tenth.
        """
        kinds = self._found(traces)
        everything = [violates for found in kinds.values() for violates in found]
        return max(map(_at_least, [everything, *kinds.values()]))

    def suffering(self, traces: Sequence[Trace]) -> set[str]:
        """Return the kinds of request of which more violate than may; all where none stands out."""
        shares = {kind: _at_least(found) for kind, found in self._found(traces).items()}
        return {kind for kind, share in shares.items() if share > ALARM} or set(shares)

    def _found(self, traces: Sequence[Trace]) -> dict[str, list[bool]]:
        """Return, by kind of request, whether each one violates."""
        kinds: dict[str, list[bool]] = {}
        for trace in traces:
            kinds.setdefault(route(root(trace)), []).append(self.violates(trace))
        return kinds


def anomaly(share: float) -> float:
    """Return how likely something is wrong where at least such a share of requests violates."""
    odds = 3.0 * math.log(max(1e-3, share) / ALARM)
    return 1.0 / (1.0 + math.exp(-max(-3.0, min(3.0, odds))))


def root(trace: Trace) -> Span:
    """Return the first span without a parent; the first of all where there is none."""
    return next((span for span in trace if not span.parent), trace[0])


def route(span: Span) -> str:
    """Return the kind of request that a root span is of."""
    return f"{span.service} {span.name}"


def bounds(samples: Mapping[K, Sequence[float]]) -> dict[K, float]:
    """Return the 95th percentile of each kind of which there are enough samples."""
    return {
        key: float(np.percentile(values, PERCENTILE))
        for key, values in samples.items()
        if len(values) >= LEAST
    }


def _at_least(found: Sequence[bool], z: float = 1.96) -> float:
    """Return the lower end of Wilson's 95 % interval of a share; 0 of nothing."""
    if not any(found):
        return 0.0
    n, p = len(found), sum(found) / len(found)
    half = z * math.sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n))
    return (p + z * z / (2.0 * n) - half) / (1.0 + z * z / n)
