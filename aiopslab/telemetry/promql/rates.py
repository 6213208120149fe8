"""Functions that need but the ends of a window and running counts: ``rate`` and its family.

Formulas are Prometheus 3's (``promql/functions.go``): windows open on the left, extrapolation to
the window's edges up to 1.1 mean sample distances, counters never extrapolated below zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiopslab.telemetry.promql.values import Floats, Ints, RangeVector, Vector


@dataclass(frozen=True, slots=True)
class _Ends:
    """First and last sample of each series (columns) in each window (rows)."""

    filled: Floats
    """Samples with gaps filled by the sample before."""
    before: Ints
    """For every round and series the round of the newest sample up to it; -1 for none."""
    first: Ints
    last: Ints
    count: Ints

    def at(self, rows: Ints, matrix: Floats | Ints) -> Floats:
        """Pick one value a series (rows of the result) and window."""
        return np.take_along_axis(matrix, np.maximum(rows, 0), axis=0).T.astype(np.float64)

    def at_time(self, rows: Ints, times: Ints) -> Ints:
        """Return the times of rounds, series x windows."""
        picked: Ints = times[np.maximum(rows, 0)].T
        return picked


def _ends(r: RangeVector) -> _Ends:
    rounds = len(r.times)
    if not rounds:
        shape = (len(r.ends), r.values.shape[1])
        nothing = np.zeros(shape, np.int64)
        return _Ends(np.full((1, shape[1]), np.nan), nothing[:1] - 1, nothing, nothing, nothing)
    index = np.arange(rounds)[:, None]
    before = np.maximum.accumulate(np.where(r.there, index, -1), axis=0)
    after = np.minimum.accumulate(np.where(r.there, index, rounds)[::-1], axis=0)[::-1]
    filled = np.take_along_axis(r.values, np.maximum(before, 0), axis=0)
    running = np.vstack([np.zeros((1, r.there.shape[1]), np.int64), np.cumsum(r.there, axis=0)])
    lo, hi = np.minimum(r.lo, rounds - 1), np.maximum(r.hi - 1, 0)
    count = running[r.hi] - running[r.lo]
    first = np.where(count > 0, after[lo], 0)
    last = np.where(count > 0, before[hi], 0)
    return _Ends(filled, before, first, last, count)


def _lost(e: _Ends) -> Floats:
    """Return what counters had before each time they began again at zero, summed up."""
    lost = np.zeros_like(e.filled)
    fell = (e.filled[1:] < e.filled[:-1]) & (e.before[:-1] >= 0)
    lost[1:] = np.where(fell, e.filled[:-1], 0.0)
    return np.cumsum(lost, axis=0)


def extrapolated(r: RangeVector, *, counter: bool, per_second: bool) -> Vector:
    """``rate``, ``increase`` and ``delta``: ``extrapolatedRate`` of Prometheus."""
    e = _ends(r)
    first = e.at(e.first, e.filled)
    grown = e.at(e.last, e.filled) - first
    if counter:
        lost = _lost(e)
        grown = grown + e.at(e.last, lost) - e.at(e.first, lost)
    if not len(r.times):
        return _vector(r, grown, np.zeros(grown.shape, bool))
    first_at, last_at = e.at_time(e.first, r.times), e.at_time(e.last, r.times)
    count = e.count.T
    sampled = (last_at - first_at) / 1000.0
    mean = sampled / (count - 1)
    to_start, to_end = (first_at - (r.ends - r.window)) / 1000.0, (r.ends - last_at) / 1000.0
    to_start = np.where(to_start >= 1.1 * mean, mean / 2, to_start)
    to_end = np.where(to_end >= 1.1 * mean, mean / 2, to_end)
    if counter:
        to_zero = np.where((grown > 0) & (first >= 0), sampled * (first / grown), to_start)
        to_start = np.minimum(to_start, to_zero)
    factor = (sampled + to_start + to_end) / sampled
    if per_second:
        factor = factor / (r.window / 1000.0)
    return _vector(r, grown * factor, count >= 2)


def last_two(r: RangeVector, *, counter: bool) -> Vector:
    """``irate`` and ``idelta``: from the last two samples of each window."""
    e = _ends(r)
    prior = np.take_along_axis(e.before, np.maximum(e.last - 1, 0), axis=0)
    last, previous = e.at(e.last, e.filled), e.at(prior, e.filled)
    change = np.where(last < previous, last, last - previous) if counter else last - previous
    if counter and len(r.times):
        elapsed = e.at_time(e.last, r.times) - e.at_time(prior, r.times)
        change = change / (elapsed / 1000.0)
    return _vector(r, change, e.count.T >= 2)


def happened(r: RangeVector, *, resets: bool) -> Vector:
    """Count changes or resets between the samples of each window."""
    e = _ends(r)
    old, new = e.filled[:-1], e.filled[1:]
    differ = new < old if resets else (new != old) & ~(np.isnan(new) & np.isnan(old))
    running = np.zeros(e.filled.shape, np.int64)
    running[1:] = np.cumsum(differ & (e.before[:-1] >= 0), axis=0)
    return _vector(r, e.at(e.last, running) - e.at(e.first, running), e.count.T > 0)


def newest(r: RangeVector) -> Vector:
    """``last_over_time``: keeps the metric name."""
    e = _ends(r)
    return Vector(r.labels, e.at(e.last, e.filled), e.count.T > 0)


def oldest(r: RangeVector) -> Vector:
    """``first_over_time``: keeps the metric name."""
    e = _ends(r)
    return Vector(r.labels, e.at(e.first, e.filled), e.count.T > 0)


def time_of(r: RangeVector, *, last: bool) -> Vector:
    """``ts_of_last_over_time`` and ``ts_of_first_over_time``, in seconds."""
    e = _ends(r)
    if not len(r.times):
        return _vector(r, e.count.T.astype(np.float64), e.count.T > 0)
    return _vector(r, e.at_time(e.last if last else e.first, r.times) / 1000.0, e.count.T > 0)


def _vector(
    r: RangeVector, values: Floats, present: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
) -> Vector:
    return Vector(r.labels.without_name(), values, present)
