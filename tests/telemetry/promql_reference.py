"""Brute-force PromQL: one series, one instant, plain Python, after Prometheus' own functions."""

from __future__ import annotations

import itertools
import math

Points = list[tuple[float, float]]


def window(points: Points, at: float, range_s: float) -> Points:
    """Samples in (at - range, at]."""
    return [p for p in points if at - range_s < p[0] <= at]


def extrapolated(
    points: Points, at: float, range_s: float, *, counter: bool, per_second: bool
) -> float | None:
    """``extrapolatedRate`` of promql/functions.go, floats only."""
    inside = window(points, at, range_s)
    if len(inside) < 2:
        return None
    result = inside[-1][1] - inside[0][1]
    if counter:
        for (_, before), (_, after) in itertools.pairwise(inside):
            if after < before:
                result += before
    to_start = inside[0][0] - (at - range_s)
    to_end = at - inside[-1][0]
    sampled = inside[-1][0] - inside[0][0]
    average = sampled / (len(inside) - 1)
    if to_start >= average * 1.1:
        to_start = average / 2
    if counter and result > 0 and inside[0][1] >= 0:
        to_start = min(to_start, sampled * (inside[0][1] / result))
    if to_end >= average * 1.1:
        to_end = average / 2
    result *= (sampled + to_start + to_end) / sampled
    return result / range_s if per_second else result


def irate(points: Points, at: float, range_s: float) -> float | None:
    """``instantValue`` of promql/functions.go for irate."""
    inside = window(points, at, range_s)
    if len(inside) < 2:
        return None
    (t0, v0), (t1, v1) = inside[-2:]
    return (v1 if v1 < v0 else v1 - v0) / (t1 - t0)


def over_time(name: str, points: Points, at: float, range_s: float) -> float | None:
    """The ``*_over_time`` family and the counts of changes and resets."""
    values = [v for _, v in window(points, at, range_s)]
    if not values:
        return None
    pairs = list(itertools.pairwise(values))
    mean = sum(values) / len(values)
    return {
        "avg": lambda: mean,
        "sum": lambda: sum(values),
        "min": lambda: min(values),
        "max": lambda: max(values),
        "count": lambda: float(len(values)),
        "last": lambda: values[-1],
        "present": lambda: 1.0,
        "stddev": lambda: math.sqrt(sum((v - mean) ** 2 for v in values) / len(values)),
        "changes": lambda: float(sum(a != b for a, b in pairs)),
        "resets": lambda: float(sum(b < a for a, b in pairs)),
    }[name]()


def quantile(q: float, values: list[float]) -> float:
    """``quantile`` of promql/quantile.go."""
    ordered = sorted(values)
    rank = q * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)


def bucket_quantile(q: float, buckets: Points) -> float:
    """``bucketQuantile`` of promql/quantile.go; buckets ascending, the last bound infinite."""
    counts = []
    for _, count in buckets:
        counts.append(max([count, *counts[-1:]]))
    if counts[-1] == 0:
        return math.nan
    rank = q * counts[-1]
    b = 0
    while b < len(buckets) - 1 and counts[b] < rank:
        b += 1
    if b == len(buckets) - 1:
        return buckets[-2][0]
    if b == 0 and buckets[0][0] <= 0:
        return buckets[0][0]
    start, count = 0.0, counts[b]
    if b > 0:
        start = buckets[b - 1][0]
        count -= counts[b - 1]
        rank -= counts[b - 1]
    return start + (buckets[b][0] - start) * (rank / count) if count else math.nan
