"""Functions of range vectors: ``rate`` and its family, ``*_over_time``, regression.

Formulas are Prometheus 3's (``promql/functions.go``): windows open on the left, extrapolation to
the window's edges up to 1.1 mean sample distances, counters never extrapolated below zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aiopslab.telemetry.promql.values import Bools, Floats, Ints, RangeVector, Vector

RangeFunction = Callable[[RangeVector], Vector]


@dataclass(frozen=True, slots=True)
class _Ends:
    """First and last sample of each series (rows) in each window (columns)."""

    filled: Floats
    """Samples with gaps filled by the sample before."""
    valid: Bools
    first: Ints
    last: Ints
    count: Ints

    def at(self, rows: Ints, matrix: Floats | Ints) -> Floats:
        """Pick one value a series and window."""
        return np.take_along_axis(matrix, np.maximum(rows, 0), axis=0).T.astype(np.float64)


def _ends(r: RangeVector) -> _Ends:
    valid = ~np.isnan(r.values)
    rounds = len(r.times)
    if not rounds:
        shape = (len(r.ends), r.values.shape[1])
        nothing = np.zeros(shape, np.int64)
        blank = np.full((1, shape[1]), np.nan)
        return _Ends(blank, ~np.isnan(blank), nothing, nothing, nothing)
    index = np.arange(rounds)[:, None]
    before = np.maximum.accumulate(np.where(valid, index, -1), axis=0)
    after = np.minimum.accumulate(np.where(valid, index, rounds)[::-1], axis=0)[::-1]
    filled = np.take_along_axis(r.values, np.maximum(before, 0), axis=0)
    running = np.vstack([np.zeros((1, valid.shape[1]), np.int64), np.cumsum(valid, axis=0)])
    lo, hi = np.minimum(r.lo, rounds - 1), np.maximum(r.hi - 1, 0)
    count = running[r.hi] - running[r.lo]
    first = np.where(count > 0, after[lo], 0)
    last = np.where(count > 0, before[hi], 0)
    return _Ends(filled, valid, first, last, count)


def _steps(filled: Floats) -> Floats:
    """Differences between successive samples, 0 for the first and across gaps at the start."""
    steps = np.zeros_like(filled)
    steps[1:] = np.nan_to_num(np.diff(filled, axis=0), nan=0.0)
    return steps


def _extrapolated(r: RangeVector, *, counter: bool, per_second: bool) -> Vector:
    e = _ends(r)
    steps = _steps(e.filled)
    grown = e.at(e.last, e.filled) - e.at(e.first, e.filled)
    if counter:
        # A counter that fell began again at zero: what it had before is added.
        lost = np.zeros_like(steps)
        lost[1:] = np.where(steps[1:] < 0, e.filled[:-1], 0.0)
        lost = np.cumsum(lost, axis=0)
        grown = grown + e.at(e.last, lost) - e.at(e.first, lost)
    times = np.broadcast_to(r.times[:, None] if len(r.times) else np.zeros((1, 1)), e.filled.shape)
    first_at, last_at = e.at(e.first, times), e.at(e.last, times)
    count = e.count.T
    enough = count >= 2
    with np.errstate(divide="ignore", invalid="ignore"):
        sampled = last_at - first_at
        mean = sampled / (count - 1)
        to_start, to_end = first_at - (r.ends - r.window), r.ends - last_at
        to_start = np.where(to_start >= 1.1 * mean, mean / 2, to_start)
        to_end = np.where(to_end >= 1.1 * mean, mean / 2, to_end)
        if counter:
            first = e.at(e.first, e.filled)
            to_zero = np.where((grown > 0) & (first >= 0), sampled * first / grown, to_start)
            to_start = np.minimum(to_start, to_zero)
        result = grown * ((sampled + to_start + to_end) / sampled)
    if per_second:
        result = result / r.window
    return _vector(r, result, enough)


def _last_two(r: RangeVector, *, counter: bool) -> Vector:
    e = _ends(r)
    rounds = len(e.filled)
    index = np.arange(rounds)[:, None]
    before = np.maximum.accumulate(np.where(e.valid, index, -1), axis=0)
    prior = np.take_along_axis(before, np.maximum(e.last - 1, 0), axis=0)
    last, previous = e.at(e.last, e.filled), e.at(prior, e.filled)
    change = np.where((last < previous), last, last - previous) if counter else last - previous
    enough = e.count.T >= 2
    if counter:
        times = np.broadcast_to(
            r.times[:, None] if len(r.times) else np.zeros((1, 1)), e.filled.shape
        )
        elapsed = e.at(e.last, times) - e.at(prior, times)
        change = np.divide(change, elapsed, out=np.full_like(change, np.nan), where=elapsed > 0)
    return _vector(r, change, enough)


def _happened(r: RangeVector, *, resets: bool) -> Vector:
    """Count changes or resets between the samples of a window."""
    e = _ends(r)
    steps = _steps(e.filled)
    running = np.cumsum((steps < 0) if resets else (steps != 0), axis=0)
    return _vector(r, e.at(e.last, running) - e.at(e.first, running), e.count.T > 0)


def _folded(r: RangeVector, fold: Callable[[Floats, Bools], Floats]) -> Vector:
    """Apply a function of (samples, which are there) to every window; series are columns."""
    valid = ~np.isnan(r.values)
    width = r.values.shape[1]
    values = np.full((width, len(r.ends)), np.nan)
    present = np.zeros((width, len(r.ends)), bool)
    for step, (lo, hi) in enumerate(zip(r.lo.tolist(), r.hi.tolist(), strict=True)):
        if hi > lo:
            present[:, step] = valid[lo:hi].any(axis=0)
            values[:, step] = fold(r.values[lo:hi], valid[lo:hi])
    return _vector(r, values, present)


def _sum(values: Floats, valid: Bools) -> Floats:
    total: Floats = np.where(valid, values, 0.0).sum(axis=0)
    return total


def _mean(values: Floats, valid: Bools) -> Floats:
    mean: Floats = _sum(values, valid) / np.maximum(valid.sum(axis=0), 1)
    return mean


def _deviation(values: Floats, valid: Bools) -> Floats:
    return np.sqrt(_mean((values - _mean(values, valid)) ** 2, valid))


def _min(values: Floats, valid: Bools) -> Floats:
    least: Floats = np.where(valid, values, np.inf).min(axis=0)
    return least


def _max(values: Floats, valid: Bools) -> Floats:
    most: Floats = np.where(valid, values, -np.inf).max(axis=0)
    return most


def quantile_columns(q: float, values: Floats, valid: Bools) -> Floats:
    """Return the q-quantile of each column, linear between ranks, over the valid rows."""
    count = valid.sum(axis=0)
    if not 0.0 <= q <= 1.0:
        bound = np.nan if np.isnan(q) else np.copysign(np.inf, q - 0.5)
        return np.full(values.shape[1], bound)
    ordered = np.sort(np.where(valid, values, np.inf), axis=0)
    rank = q * np.maximum(count - 1, 0)
    below = np.floor(rank).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    low = np.take_along_axis(ordered, below[None, :], axis=0)[0]
    high = np.take_along_axis(ordered, above[None, :], axis=0)[0]
    weight = rank - below
    with np.errstate(invalid="ignore"):
        result: Floats = np.where(weight == 0, low, low * (1 - weight) + high * weight)
    return result


def quantile_over_time(q: float, r: RangeVector) -> Vector:
    """Quantile of the samples of each window."""
    return _folded(r, lambda values, valid: quantile_columns(q, values, valid))


def regression(r: RangeVector, ahead: float | None = None) -> Vector:
    """Least squares over each window: the slope, or the value ``ahead`` seconds after its end."""
    valid = ~np.isnan(r.values)
    values = np.full((r.values.shape[1], len(r.ends)), np.nan)
    present = np.zeros(values.shape, bool)
    for step, (lo, hi) in enumerate(zip(r.lo.tolist(), r.hi.tolist(), strict=True)):
        there = valid[lo:hi]
        count = there.sum(axis=0)
        x = np.where(there, (r.times[lo:hi] - r.ends[step])[:, None], 0.0)
        y = np.where(there, r.values[lo:hi], 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_x, mean_y = x.sum(axis=0) / count, y.sum(axis=0) / count
            dx, dy = np.where(there, x - mean_x, 0.0), np.where(there, y - mean_y, 0.0)
            slope = (dx * dy).sum(axis=0) / (dx * dx).sum(axis=0)
            values[:, step] = slope if ahead is None else mean_y + slope * (ahead - mean_x)
        present[:, step] = count >= 2
    return _vector(r, values, present)


def _last(r: RangeVector) -> Vector:
    # last_over_time alone keeps the metric name.
    e = _ends(r)
    return Vector(r.labels, e.at(e.last, e.filled), e.count.T > 0)


def _vector(r: RangeVector, values: Floats, present: Bools) -> Vector:
    return Vector(r.labels.without_name(), values, present)


RANGE_FUNCTIONS: dict[str, RangeFunction] = {
    "rate": lambda r: _extrapolated(r, counter=True, per_second=True),
    "increase": lambda r: _extrapolated(r, counter=True, per_second=False),
    "delta": lambda r: _extrapolated(r, counter=False, per_second=False),
    "irate": lambda r: _last_two(r, counter=True),
    "idelta": lambda r: _last_two(r, counter=False),
    "changes": lambda r: _happened(r, resets=False),
    "resets": lambda r: _happened(r, resets=True),
    "deriv": regression,
    "avg_over_time": lambda r: _folded(r, _mean),
    "sum_over_time": lambda r: _folded(r, _sum),
    "min_over_time": lambda r: _folded(r, _min),
    "max_over_time": lambda r: _folded(r, _max),
    "count_over_time": lambda r: _folded(r, lambda _, valid: valid.sum(axis=0).astype(float)),
    "stddev_over_time": lambda r: _folded(r, _deviation),
    "stdvar_over_time": lambda r: _folded(r, lambda v, valid: _deviation(v, valid) ** 2),
    "present_over_time": lambda r: _folded(r, lambda _, valid: np.ones(valid.shape[1])),
    "last_over_time": _last,
}
"""Functions of one range vector, by name."""
