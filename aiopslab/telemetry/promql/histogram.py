"""``histogram_quantile`` over classic buckets, as in Prometheus' ``promql/quantile.go``."""

from __future__ import annotations

import math

import numpy as np

from aiopslab.telemetry.promql.values import (
    Floats,
    Grouping,
    Groups,
    Ints,
    LabelSets,
    Vector,
)

_LE = Grouping(by=False, names=("le",))


def bucket_quantile(q: float, buckets: list[tuple[float, float]]) -> float:
    """Return the quantile of one histogram.

    Args:
        q: Between 0 and 1; outside, the result is an infinity.
        buckets: (upper bound, cumulative count), ascending, the last bound ``inf``.
    """
    if math.isnan(q) or len(buckets) < 2 or buckets[-1][0] != math.inf:
        return math.nan
    if q < 0 or q > 1:
        return -math.inf if q < 0 else math.inf
    counts: list[float] = []
    for _, count in buckets:
        # Scrapes and rates can leave tiny decreases between buckets; counts must not fall.
        counts.append(max(count, counts[-1]) if counts else count)
    if counts[-1] == 0:
        return math.nan
    rank = q * counts[-1]
    place = next((i for i, c in enumerate(counts[:-1]) if c >= rank), len(counts) - 1)
    if place == len(counts) - 1:
        return buckets[-2][0]
    upper = buckets[place][0]
    if place == 0:
        return upper if upper <= 0 else upper * (rank / counts[0]) if counts[0] else math.nan
    lower, below = buckets[place - 1][0], counts[place - 1]
    return lower + (upper - lower) * ((rank - below) / (counts[place] - below))


def histogram_quantile(q: Floats, vector: Vector) -> Vector:
    """Return the quantile of every histogram in a vector of buckets, one series each.

    Args:
        q: One quantile a step.
        vector: Series with a label ``le``; others are left out.
    """
    if not len(vector.labels):
        return vector
    groups = vector.labels.group(_LE)
    plan = vector.labels.derive(("buckets",), lambda: _plan(vector.labels, groups))
    steps = vector.values.shape[1]
    values = np.full((len(groups.labels), steps), np.nan)
    present = np.zeros((len(groups.labels), steps), bool)
    for bounds, members, rows in plan:
        there = vector.present[rows]
        whole = there.all(axis=1)
        counts = vector.values[rows]
        values[members] = np.where(whole, _quantiles(q, bounds, counts), np.nan)
        present[members] = there.any(axis=1)
        # Buckets that come and go one by one are rare; they take the plain way.
        for member, step in np.argwhere(there.any(axis=1) & ~whole).tolist():
            kept = there[member, :, step]
            pairs = list(zip(bounds[kept], counts[member, kept, step], strict=True))
            values[members[member], step] = bucket_quantile(float(q[step]), pairs)
    return Vector(groups.labels, values, present)


def _plan(labels: LabelSets, groups: Groups) -> list[tuple[Floats, Ints, Ints]]:
    """Put histograms with equal bounds together: (bounds, groups, rows of groups x bounds)."""
    alike: dict[tuple[float, ...], list[tuple[int, list[int]]]] = {}
    for group in range(len(groups.labels)):
        buckets: dict[float, int] = {}
        for row in groups.rows(group).tolist():
            try:
                buckets[float(dict(labels.sets[row])["le"])] = row
            except (KeyError, ValueError):
                continue  # not a bucket: Prometheus leaves such series out as well
        if buckets:
            bounds = tuple(sorted(buckets))
            alike.setdefault(bounds, []).append((group, [buckets[b] for b in bounds]))
    return [
        (np.array(bounds), np.array([g for g, _ in found]), np.array([r for _, r in found]))
        for bounds, found in alike.items()
    ]


def _quantiles(q: Floats, bounds: Floats, counts: Floats) -> Floats:
    """Vectorised ``bucket_quantile``: counts are histograms x bounds x steps."""
    histograms, buckets, steps = counts.shape
    if buckets < 2 or bounds[-1] != np.inf:
        return np.full((histograms, steps), np.nan)
    counts = np.maximum.accumulate(np.nan_to_num(counts, nan=0.0), axis=1)
    total = counts[:, -1]
    rank = q * total
    place = (counts[:, :-1] < rank[:, None]).sum(axis=1)
    inside = np.minimum(place, buckets - 2)
    at = inside[:, None]
    upper = bounds[inside]
    lower = np.where(inside > 0, bounds[np.maximum(inside - 1, 0)], 0.0)
    count = np.take_along_axis(counts, at, axis=1)[:, 0]
    below = np.take_along_axis(counts, np.maximum(at - 1, 0), axis=1)[:, 0]
    below = np.where(inside > 0, below, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = lower + (upper - lower) * ((rank - below) / (count - below))
    result = np.where((inside == 0) & (upper <= 0), upper, result)
    result = np.where(place >= buckets - 1, bounds[-2], result)
    result = np.where(total == 0, np.nan, result)
    outside = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, np.nan))
    return np.where((q >= 0) & (q <= 1), result, outside)
