"""The curves of an incident page: shares answered and p95 latency, as it went and as it could have.

From what the load generator saw of users (``slis.json``) and, beside it, the two courses without
the agent (``counterfactual/``); of records that are older than ``slis.json``, from what the app's
entry saw (``report.curves``). Times are seconds from hand-over. Not here: how curves are drawn
(``html.timeline``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from aiopslab.models.counterfactual import Counterfactual, Course
from aiopslab.models.sli_series import BUCKET_S, JourneySeries, SliSeries
from aiopslab.report.curves import Curves

T = TypeVar("T")
_COURSES = (("nothing", "had nobody acted"), ("reference", "with the reference fix at once"))


@dataclass(frozen=True, slots=True)
class Sample:
    """One line in one bucket."""

    at: float
    """Begin of the bucket."""
    share: float | None
    """Of requests that succeeded; None where there were none."""
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Promise:
    """An SLO of a journey."""

    success: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Experience:
    """What is drawn over time."""

    bucket_s: float
    """Length of the buckets of the lines; courses beside them have ``BUCKET_S``."""
    lines: dict[str, list[Sample]]
    """What happened, by journey or route, sorted by name."""
    volume: list[tuple[float, int]]
    """(begin of the bucket, requests of all lines and of what is not drawn)."""
    of_users: bool
    """Measured at the load generator; else at the app's entry."""
    further: int = 0
    """How many lines are left out."""
    promises: dict[str, Promise] = field(default_factory=dict)
    courses: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    """What would have happened, by the words for how it would have come about."""


def of_users(
    series: SliSeries, beside: Counterfactual | None, handover_at: float, *, merged: int = 1
) -> Experience | None:
    """Return the users' curves; None where no user sent anything.

    Args:
        series: What they experienced.
        beside: The courses without the agent; None: not played.
        handover_at: Unix seconds of the world.
        merged: How many buckets become one: counts are added, of latencies the highest stays.
    """
    bucket_s, zero = series.bucket_s * merged, series.start - handover_at
    journeys = [_merged(j, merged) for j in series.journeys]
    total = [sum(ns) for ns in zip(*(j.offered for j in journeys), strict=True)]
    used = [n for n, count in enumerate(total) if count]
    if not used:
        return None
    first, last = used[0], used[-1]
    return Experience(
        bucket_s=bucket_s,
        lines={j.journey: _samples(j, zero, bucket_s)[first : last + 1] for j in journeys},
        volume=[(zero + n * bucket_s, total[n]) for n in range(first, last + 1)],
        of_users=True,
        promises={j.journey: Promise(j.slo_success, j.slo_p95_ms) for j in journeys},
        courses={} if beside is None else {
            words: _course(getattr(beside, name), handover_at) for name, words in _COURSES
        },
    )  # fmt: skip


def of_entry(curves: Curves) -> Experience:
    """Return what the app's entry saw, by route."""
    lines = {
        route: [Sample(p.at, 1.0 - p.failed / p.n, p.p95_ms) for p in points]
        for route, points in curves.routes.items()
    }
    return Experience(curves.bucket_s, lines, curves.volume, of_users=False, further=curves.further)


def _merged(series: JourneySeries, size: int) -> JourneySeries:
    if size == 1:
        return series
    return series.model_copy(
        update={
            "offered": [sum(part) for part in _parts(series.offered, size)],
            "succeeded": [sum(part) for part in _parts(series.succeeded, size)],
            "p95_ms": [_highest(part) for part in _parts(series.p95_ms, size)],
        }
    )


def _parts(values: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (values[n : n + size] for n in range(0, len(values), size))


def _highest(values: Iterable[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)


def _samples(series: JourneySeries, zero: float, bucket_s: float) -> list[Sample]:
    figures = zip(series.offered, series.succeeded, series.p95_ms, strict=True)
    return [
        Sample(zero + n * bucket_s, good / offered if offered else None, p95_ms)
        for n, (offered, good, p95_ms) in enumerate(figures)
    ]


def _course(course: Course, handover_at: float) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for point in course.points:
        begin = point.at - BUCKET_S - handover_at
        found.setdefault(point.journey, []).append(Sample(begin, point.success, point.p95_ms))
    return dict(sorted(found.items()))
