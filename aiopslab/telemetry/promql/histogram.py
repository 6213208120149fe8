"""Functions of classic histograms: quantiles and fractions of buckets.

Formulas are Prometheus 3's (``promql/quantile.go``). Native histograms are not supported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql.answers import format_plain
from aiopslab.telemetry.promql.labelling import check_label_name
from aiopslab.telemetry.promql.values import (
    Bools,
    Budget,
    Floats,
    Grouping,
    Groups,
    Ints,
    LabelSets,
    Vector,
)

_LE = Grouping(by=False, names=("le",))
_TOLERANCE = 1e-12
"""Relative difference of counts that is a rounding error."""
_COST = 50
"""What a bucket costs that is looked at alone, in values of a matrix."""
Buckets = list[tuple[float, float]]
"""(upper bound, cumulative count), ascending."""


def bucket_quantile(q: float, buckets: Buckets) -> float:
    """Return the quantile of one histogram.

    Args:
        q: Between 0 and 1; outside, the result is an infinity.
        buckets: Must end with the bound ``inf``, or there is no answer: NaN.
    """
    if not 0.0 <= q <= 1.0:
        return math.nan if math.isnan(q) else math.copysign(math.inf, q)
    merged = _coalesced(buckets)
    if merged[-1][0] != math.inf or len(merged) < 2:
        return math.nan
    counts = _monotonic([count for _, count in merged])
    if counts[-1] == 0:
        return math.nan
    rank = q * counts[-1]
    place = next((i for i, c in enumerate(counts[:-1]) if c >= rank), len(counts) - 1)
    if place == len(counts) - 1:
        return merged[-2][0]
    upper = merged[place][0]
    if place == 0 and upper <= 0:
        return upper
    lower, below = (merged[place - 1][0], counts[place - 1]) if place else (0.0, 0.0)
    inside = counts[place] - below
    return lower + (upper - lower) * ((rank - below) / inside) if inside else math.nan


def bucket_fraction(lower: float, upper: float, buckets: Buckets) -> float:
    """Return which part of the observations of one histogram lies between two bounds."""
    merged = _coalesced(buckets)
    total = merged[-1][1]
    if merged[-1][0] != math.inf or total == 0 or math.isnan(lower) or math.isnan(upper):
        return math.nan
    if lower >= upper:
        return 0.0
    return (_rank(upper, merged) - _rank(lower, merged)) / total


def _rank(value: float, buckets: Buckets) -> float:
    """Return how many observations are below a value, linear inside its bucket."""
    rank, bound = 0.0, 0.0 if buckets[0][0] > 0 else -math.inf
    for upper, count in buckets:
        if bound >= value:
            break
        if upper > value:
            # A bucket without end is not divided: all of the lowest, nothing of the highest.
            if bound == -math.inf:
                rank = count
            elif upper != math.inf:
                rank += (count - rank) * (value - bound) / (upper - bound)
            break
        rank, bound = count, upper
    return min(rank, buckets[-1][1])


def _coalesced(buckets: Buckets) -> Buckets:
    """Add up buckets of one bound that are spelt differently: ``le="1"`` and ``le="1.0"``."""
    merged: Buckets = []
    for bound, count in buckets:
        if merged and merged[-1][0] == bound:
            merged[-1] = (bound, merged[-1][1] + count)
        else:
            merged.append((bound, count))
    return merged


def _monotonic(counts: list[float]) -> list[float]:
    """Remove decreases and rounding errors: scrapes and rates can leave both."""
    for i in range(1, len(counts)):
        previous, current = counts[i - 1], counts[i]
        near = abs(current - previous) <= _TOLERANCE * (abs(current) + abs(previous))
        if current < previous or near:
            counts[i] = previous
    return counts


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the buckets of a vector are."""

    alike: list[tuple[Floats, Ints, Ints]]
    """Histograms of equal bounds: (bounds, groups, rows of groups x bounds)."""
    odd: list[tuple[int, list[tuple[float, int]]]]
    """Histograms with two buckets of one bound: (group, (bound, row) ascending)."""
    labels: LabelSets
    """Of the groups."""


def quantile(q: Floats, vector: Vector, budget: Budget) -> Vector:
    """``histogram_quantile``: one series a histogram; series without ``le`` are left out.

    Args:
        q: One quantile a step.
        vector: Buckets.
        budget: What histograms cost that are computed one by one.
    """
    if not len(vector.labels):
        return vector
    layout = _laid_out(vector)
    answer = _blank(layout, vector)
    plain = _OneByOne(vector, answer, budget, lambda b, s: bucket_quantile(float(q[s]), b))
    for bounds, members, rows in layout.alike:
        there = vector.present[rows]
        whole: Bools = np.logical_and.reduce(there, axis=1)
        partial: Bools = np.logical_or.reduce(there, axis=1) & ~whole
        found = _quantiles(q, bounds, vector.values[rows])
        answer.values[members] = np.where(whole, found, np.nan)
        answer.present[members] = whole
        # Buckets that come and go one by one are rare.
        for member in np.flatnonzero(partial.any(axis=1)).tolist():
            buckets = list(zip(bounds.tolist(), rows[member].tolist(), strict=True))
            plain.fill(int(members[member]), buckets, np.flatnonzero(partial[member]))
    for group, buckets in layout.odd:
        plain.fill(group, buckets, np.arange(len(q)))
    return answer


def quantiles(vector: Vector, label: str, qs: Sequence[Floats], budget: Budget) -> Vector:
    """``histogram_quantiles``: several at once, told apart by a label of the first step's ``q``.

    Raises:
        QueryError: The label's name is malformed.
    """
    check_label_name(label)
    sets: list[Labels] = []
    parts = [quantile(q, vector, budget) for q in qs]
    for q, part in zip(qs, parts, strict=True):
        text = format_plain(float(q[0]))
        text += ".0" if text.lstrip("-").isdecimal() else ""
        sets.extend(tuple(sorted({**dict(s), label: text}.items())) for s in part.labels.sets)
    return Vector(
        LabelSets(sets),
        np.vstack([part.values for part in parts]),
        np.vstack([part.present for part in parts]),
    )


def fraction(between: tuple[Floats, Floats], vector: Vector, budget: Budget) -> Vector:
    """``histogram_fraction``: the part of the observations between two bounds, one each a step."""
    if not len(vector.labels):
        return vector
    layout = _laid_out(vector)
    answer = _blank(layout, vector)
    lower, upper = between
    plain = _OneByOne(
        vector, answer, budget, lambda b, s: bucket_fraction(float(lower[s]), float(upper[s]), b)
    )
    for bounds, members, rows in layout.alike:
        for group, places in zip(members.tolist(), rows.tolist(), strict=True):
            buckets = list(zip(bounds.tolist(), places, strict=True))
            plain.fill(group, buckets, np.arange(len(lower)))
    for group, buckets in layout.odd:
        plain.fill(group, buckets, np.arange(len(lower)))
    return answer


@dataclass(frozen=True, slots=True)
class _OneByOne:
    """Computes what matrices cannot: odd histograms, and steps at which buckets are missing."""

    vector: Vector
    answer: Vector
    budget: Budget
    compute: Callable[[Buckets, int], float]

    def fill(self, group: int, buckets: list[tuple[float, int]], steps: Ints) -> None:
        """Answer one histogram, given as (bound, row) ascending, at some steps."""
        self.budget.spend(_COST * len(buckets) * len(steps))
        there, values = self.vector.present, self.vector.values
        for step in steps.tolist():
            found = [
                (bound, float(values[row, step])) for bound, row in buckets if there[row, step]
            ]
            if found:
                self.answer.values[group, step] = self.compute(found, step)
                self.answer.present[group, step] = True


def _blank(layout: _Layout, vector: Vector) -> Vector:
    shape = len(layout.labels), vector.values.shape[1]
    return Vector(layout.labels, np.full(shape, np.nan), np.zeros(shape, bool))


def _laid_out(vector: Vector) -> _Layout:
    groups = vector.labels.group(_LE)
    return vector.labels.derive(("buckets",), lambda: _layout(vector.labels, groups))


def _layout(labels: LabelSets, groups: Groups) -> _Layout:
    alike: dict[tuple[float, ...], list[tuple[int, list[int]]]] = {}
    odd: list[tuple[int, list[tuple[float, int]]]] = []
    for group in range(len(groups.labels)):
        buckets: list[tuple[float, int]] = []
        for row in groups.rows(group).tolist():
            try:
                buckets.append((float(dict(labels.sets[row])["le"]), row))
            except (KeyError, ValueError):
                continue  # not a bucket: Prometheus leaves such series out as well
        buckets.sort()
        bounds = tuple(bound for bound, _ in buckets)
        if len(set(bounds)) < len(bounds):
            odd.append((group, buckets))
        elif buckets:
            alike.setdefault(bounds, []).append((group, [row for _, row in buckets]))
    return _Layout(
        [
            (np.array(bounds), np.array([g for g, _ in found]), np.array([r for _, r in found]))
            for bounds, found in alike.items()
        ],
        odd,
        groups.labels,
    )


def _quantiles(q: Floats, bounds: Floats, counts: Floats) -> Floats:
    """Vectorised ``bucket_quantile``: counts are histograms x bounds x steps."""
    histograms, buckets, steps = counts.shape
    outside = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, np.nan))
    valid = (q >= 0) & (q <= 1)
    if buckets < 2 or bounds[-1] != np.inf:
        return np.broadcast_to(np.where(valid, np.nan, outside), (histograms, steps))
    counts = _flattened(counts)
    total = counts[:, -1]
    rank = q * total
    place = (~(counts[:, :-1] >= rank[:, None])).sum(axis=1)
    inside = np.minimum(place, buckets - 2)
    at = inside[:, None]
    upper = bounds[inside]
    lower = np.where(inside > 0, bounds[np.maximum(inside - 1, 0)], 0.0)
    count = np.take_along_axis(counts, at, axis=1)[:, 0]
    below = np.take_along_axis(counts, np.maximum(at - 1, 0), axis=1)[:, 0]
    below = np.where(inside > 0, below, 0.0)
    result = lower + (upper - lower) * ((rank - below) / (count - below))
    result = np.where((inside == 0) & (upper <= 0), upper, result)
    result = np.where(place >= buckets - 1, bounds[-2], result)
    result = np.where(total == 0, np.nan, result)
    return np.where(valid, result, outside)


def _flattened(counts: Floats) -> Floats:
    """Remove decreases and rounding errors between the buckets (second axis)."""
    counts = counts.copy()
    for i in range(1, counts.shape[1]):
        before, here = counts[:, i - 1], counts[:, i]
        near = np.abs(here - before) <= _TOLERANCE * (np.abs(here) + np.abs(before))
        counts[:, i] = np.where((here < before) | near, before, here)
    return counts
