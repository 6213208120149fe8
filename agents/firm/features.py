"""What critical paths say about each instance: the features that the classifier sees.

Relative importance and congestion intensity are FIRM's. Two are ours: how an instance's own time
grew against healthy requests, and how often errors began at it, because a service that refuses is
quick. Pure functions of paths. Not here: who is a culprit (``classifier``).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aiopslab.agents.sampling import Span

from .paths import Path

LEAST = 3
"""Requests an instance must have been on the path of."""
_TINY_S = 1e-4


@dataclass(frozen=True, slots=True)
class Instance:
    """A pod, or a store or partner that has no spans of its own, and how it behaved."""

    name: str
    component: str
    importance: float
    """RI: Pearson correlation of its own time with the latency of the critical path, -1 to 1."""
    congestion: float
    """CI: 99th percentile over median of its own time, at least 1."""
    growth: float
    """Mean own time a request over that of its component in healthy requests; 1 where unknown."""
    failing: float
    """Share of its requests in which an error began at it."""
    seconds: float
    """Mean own time a request that it was on the path of."""

    def vector(self) -> list[float]:
        """Return what the classifier sees."""
        shape = [self.importance, math.log(self.congestion)]
        return [*shape, math.log(self.growth), self.failing]


def instances(
    recent: Sequence[Path], healthy: Sequence[Path], known: Collection[str]
) -> list[Instance]:
    """Return the features of every instance on the paths, sorted by name.

    Args:
        recent: Critical paths of the window under suspicion.
        healthy: Those of a window before.
        known: Components; other names of callees stand for themselves.
    """
    own, homes = _own_times(recent, known)
    before: dict[str, list[float]] = {}
    past, past_homes = _own_times(healthy, known)
    for name, samples in past.items():
        before.setdefault(past_homes[name], []).extend(own_s for own_s, _, _ in samples)
    found = []
    for name in sorted(own):
        samples = own[name]
        if len(samples) < LEAST:
            continue
        times, totals, failures = np.array(samples, dtype=float).T
        usual = before.get(homes[name], [])
        typical = float(np.mean(usual)) if len(usual) >= LEAST else float(np.mean(times))
        found.append(
            Instance(
                name=name,
                component=homes[name],
                importance=pearson(times, totals),
                congestion=congestion(times),
                growth=(float(np.mean(times)) + _TINY_S) / (typical + _TINY_S),
                failing=float(np.mean(failures)),
                seconds=float(np.mean(times)),
            )
        )
    return found


def pearson(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Pearson's correlation, 0 where one of both does not vary."""
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    x, y = first - first.mean(), second - second.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return max(-1.0, min(1.0, float(x @ y) / scale)) if scale > 1e-18 else 0.0


def congestion(times: Sequence[float]) -> float:
    """Return the 99th percentile over the median, both with a tenth of a millisecond added."""
    middle, tail = np.percentile(np.asarray(times, dtype=float), [50.0, 99.0])
    return (float(tail) + _TINY_S) / (float(middle) + _TINY_S)


def _own_times(
    paths: Sequence[Path], known: Collection[str]
) -> tuple[dict[str, list[tuple[float, float, bool]]], Mapping[str, str]]:
    """Return instance -> own seconds, seconds of the path, failed, of each request; its component.

    The time of a client's span that no server's span explains is the callee's: its network, its
    queue, or all of it where it writes no spans.
    """
    own: dict[str, list[tuple[float, float, bool]]] = {}
    homes: dict[str, str] = {}
    for path in paths:
        pods = {hop.span.parent: hop.span.pod for hop in path.hops if hop.span.kind == "server"}
        passed_on = {hop.span.parent for hop in path.hops if hop.span.failed}
        spent: dict[str, tuple[float, bool]] = {}
        for hop in path.hops:
            name, component = _place(hop.span, pods, known)
            homes[name] = component
            seconds, failed = spent.get(name, (0.0, False))
            began = hop.span.failed and hop.span.id not in passed_on
            spent[name] = (seconds + hop.own_s, failed or began)
        for name, (seconds, failed) in spent.items():
            own.setdefault(name, []).append((seconds, path.seconds, failed))
    return own, homes


def _place(span: Span, pods: Mapping[str, str], known: Collection[str]) -> tuple[str, str]:
    """Return instance and component that a span's own time is charged to."""
    if not span.callee:
        return span.pod or span.service, span.service
    component = span.callee.partition(":")[0].partition(".")[0]
    component = component if component in known else span.callee
    return pods.get(span.id) or component, component
