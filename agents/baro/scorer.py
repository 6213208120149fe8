"""When did many series change, and which of them most: BARO's two steps, on a matrix.

A Bayesian change point cuts the time, the robust scorer ranks the series (Pham and others, FSE
2024). BARO-style: the change point is the univariate one of every column together, not BARO's
multivariate normal one. Pure functions of numbers. Not here: asking for them (``agent``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aiopslab.agents.changepoint import change_point
from aiopslab.agents.deviation import quartiles, robust_score

LEAST_BEFORE = 8
"""Samples without which there is no past to compare with."""
LEAST_AFTER = 3
"""Samples at the end that are looked at however late the change is."""
_CLIPPED = 10.0
"""Standardised samples are cut here: how far the loudest series leapt must not decide when."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one component, without gaps."""

    component: str
    metric: str
    values: Sequence[float]
    floor: float
    watched: bool


@dataclass(frozen=True, slots=True)
class Scored:
    """A series and how far it rose above its past."""

    series: Series
    score: float


def cut(matrix: Sequence[Series]) -> tuple[int, float]:
    """Return the sample where the watched series changed, and how sure that is.

    The last samples where no change was found.
    """
    watched = [s for s in matrix if s.watched and min(s.values) != max(s.values)]
    length = max((len(s.values) for s in matrix), default=0)
    latest = max(0, length - LEAST_AFTER)
    if not watched or length < LEAST_BEFORE + LEAST_AFTER:
        return latest, 0.0
    columns = [standardised(s.values, s.floor) for s in watched]
    place, sure = change_point(np.array(columns).T)
    return (min(place, latest) if place >= LEAST_BEFORE else latest), sure


def standardised(values: Sequence[float], floor: float) -> list[float]:
    """Return values less the median of their first half, in units of its interquartile range."""
    first = values[: max(1, len(values) // 2)]
    low, median, high = quartiles(first)
    scale = max(high - low, 0.05 * abs(median), floor, 1e-12)
    moved = (np.asarray(values, dtype=float) - median) / scale
    return [float(v) for v in np.clip(moved, -_CLIPPED, _CLIPPED)]


def ranked(matrix: Sequence[Series], place: int) -> list[Scored]:
    """Return all series that ever change, the one that rose most above its past first."""
    scored = [
        Scored(s, robust_score(s.values[:place], s.values[place:], s.floor))
        for s in matrix
        if min(s.values) != max(s.values)
    ]
    return sorted(scored, key=lambda s: (-s.score, s.series.component, s.series.metric))


def shares(scores: Mapping[str, float], room: float) -> dict[str, float]:
    """Return probabilities in proportion to scores, with room left for something else.

    >>> shares({"a": 30.0, "b": 10.0}, room=40.0)
    {'a': 0.375, 'b': 0.125}
    """
    total = sum(scores.values()) + room
    return {name: score / total for name, score in scores.items()}
