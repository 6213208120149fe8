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


def quantile(q: Floats, vector: Vector) -> Vector:
    """``histogram_quantile``: one series a histogram; series without ``le`` are left out.

    Args:
        q: One quantile a step.
        vector: Buckets.
    """
    if not len(vector.labels):
        return vector
    groups, layout = _laid_out(vector)
    values, present = _one_by_one(vector, groups, layout, lambda b, s: bucket_quantile(q[s], b))
    for bounds, members, rows in layout.alike:
        there = vector.present[rows]
        whole = there.all(axis=1)
        found = _quantiles(q, bounds, vector.values[rows])
        values[members] = np.where(whole, found, values[members])
    return Vector(groups.labels, values, present)


def quantiles(vector: Vector, label: str, qs: Sequence[Floats]) -> Vector:
    """``histogram_quantiles``: several at once, told apart by a label of the first step's ``q``.

    Raises:
        QueryError: The label's name is malformed.
    """
    check_label_name(label)
    sets: list[Labels] = []
    parts = [quantile(q, vector) for q in qs]
    for q, part in zip(qs, parts, strict=True):
        text = format_plain(float(q[0]))
        text += ".0" if text.lstrip("-").isdecimal() else ""
        sets.extend(tuple(sorted({**dict(s), label: text}.items())) for s in part.labels.sets)
    return Vector(
        LabelSets(sets),
        np.vstack([part.values for part in parts]),
        np.vstack([part.present for part in parts]),
    )


def fraction(lower: Floats, upper: Floats, vector: Vector) -> Vector:
    """``histogram_fraction``: the part of the observations between two bounds."""
    if not len(vector.labels):
        return vector
    groups, layout = _laid_out(vector)
    every = _Layout([], [*layout.odd, *_as_pairs(layout)])
    values, present = _one_by_one(
        vector, groups, every, lambda b, s: bucket_fraction(lower[s], upper[s], b)
    )
    return Vector(groups.labels, values, present)


def _as_pairs(layout: _Layout) -> list[tuple[int, list[tuple[float, int]]]]:
    return [
        (group, list(zip(bounds.tolist(), places, strict=True)))
        for bounds, members, rows in layout.alike
        for group, places in zip(members.tolist(), rows.tolist(), strict=True)
    ]


def _one_by_one(
    vector: Vector, groups: Groups, layout: _Layout, compute: Callable[[Buckets, int], float]
) -> tuple[Floats, np.ndarray[tuple[int, int], np.dtype[np.bool_]]]:
    """Compute what matrices cannot: odd histograms, and steps at which buckets are missing."""
    shape = len(groups.labels), vector.values.shape[1]
    values, present = np.full(shape, np.nan), np.zeros(shape, bool)
    for bounds, members, rows in layout.alike:
        there = vector.present[rows]
        present[members] = there.any(axis=1)
        for member, step in np.argwhere(present[members] & ~there.all(axis=1)).tolist():
            kept = there[member, :, step]
            counts = vector.values[rows[member], step]
            pairs = list(zip(bounds[kept].tolist(), counts[kept].tolist(), strict=True))
            values[members[member], step] = compute(pairs, step)
    for group, buckets in layout.odd:
        for step in range(shape[1]):
            pairs = [
                (bound, float(vector.values[row, step]))
                for bound, row in buckets
                if vector.present[row, step]
            ]
            if pairs:
                values[group, step] = compute(pairs, step)
                present[group, step] = True
    return values, present


def _laid_out(vector: Vector) -> tuple[Groups, _Layout]:
    groups = vector.labels.group(_LE)
    layout = vector.labels.derive(("buckets",), lambda: _layout(vector.labels, groups))
    return groups, layout


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
