"""Samples of sliding windows, gathered so that one numpy operation folds all windows at once.

Not here: functions that need but the ends of a window (``rates``), regression and smoothing
(``trends``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from aiopslab.telemetry.promql.values import Bools, Floats, RangeVector, Vector

_CHUNK = 4_000_000
"""Values gathered at once: 32 MB."""
Fold = Callable[[Floats, Bools], Floats]
"""(samples, which are there), both steps x samples x series -> steps x series."""
Compute = Callable[[slice, Floats, Bools], Floats]
"""(steps, samples, which are there) -> steps x series."""


def gathered(r: RangeVector) -> Iterator[tuple[slice, Floats, Bools]]:
    """Yield (steps, samples, which are there) in chunks; samples are steps x samples x series."""
    longest = int((r.hi - r.lo).max(initial=0))
    width = r.values.shape[1]
    if not longest or not width:
        return
    r.budget.spend(len(r.ends) * longest * width)
    at_once = max(1, _CHUNK // (longest * width))
    for first in range(0, len(r.ends), at_once):
        steps = slice(first, first + at_once)
        rows = r.lo[steps, None] + np.arange(longest)
        inside = rows < r.hi[steps, None]
        rows = np.minimum(rows, len(r.times) - 1)
        yield steps, r.values[rows], r.there[rows] & inside[:, :, None]


def computed(r: RangeVector, compute: Compute, *, least: int = 1) -> Vector:
    """Apply a function to all windows that have at least so many samples; the name is dropped."""
    width, steps = r.values.shape[1], len(r.ends)
    values = np.full((width, steps), np.nan)
    present = np.zeros((width, steps), bool)
    for chunk, samples, there in gathered(r):
        values[:, chunk] = compute(chunk, samples, there).T
        present[:, chunk] = (there.sum(axis=1) >= least).T
    return Vector(r.labels.without_name(), values, present)


def folded(r: RangeVector, fold: Fold) -> Vector:
    """Apply a function of the samples alone to every window that has one."""
    return computed(r, lambda _, samples, there: fold(samples, there))


def total(values: Floats, there: Bools) -> Floats:
    """Sum of each window."""
    added: Floats = np.where(there, values, 0.0).sum(axis=1)
    return added


def count(values: Floats, there: Bools) -> Floats:
    """Number of samples of each window."""
    del values
    number: Floats = there.sum(axis=1).astype(np.float64)
    return number


def mean(values: Floats, there: Bools) -> Floats:
    """Arithmetic mean of each window."""
    kept, number = np.where(there, values, 0.0), np.maximum(there.sum(axis=1), 1)
    result: Floats = kept.sum(axis=1) / number
    if np.isinf(result).any():
        # The sum may have left the range of floats though the mean has not.
        result = (kept / number[:, None]).sum(axis=1)
    return result


def variance(values: Floats, there: Bools) -> Floats:
    """Population variance of each window."""
    # From the least sample, so that equal ones have no variance at all and large ones lose nothing.
    away = values - least(values, there)[:, None]
    return mean((away - mean(away, there)[:, None]) ** 2, there)


def least(values: Floats, there: Bools) -> Floats:
    """Minimum; NaN only where all samples are."""
    result: Floats = np.fmin.reduce(np.where(there, values, np.nan), axis=1)
    return result


def most(values: Floats, there: Bools) -> Floats:
    """Maximum; NaN only where all samples are."""
    result: Floats = np.fmax.reduce(np.where(there, values, np.nan), axis=1)
    return result


def quantile(q: Floats, values: Floats, there: Bools) -> Floats:
    """Quantile of each window, linear between ranks, NaN samples below all others.

    After ``quantile`` of Prometheus' ``promql/quantile.go``; ``q`` is one number a step.
    """
    number = there.sum(axis=1)
    nans = (there & np.isnan(values)).sum(axis=1)
    ordered = np.where(there, np.where(np.isnan(values), -np.inf, values), np.inf)
    ordered = np.sort(ordered, axis=1)
    rank = np.clip(np.nan_to_num(q), 0.0, 1.0)[:, None] * np.maximum(number - 1, 0)
    below = np.floor(rank).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(number - 1, 0))
    ends = []
    for place in (below, above):
        found = np.take_along_axis(ordered, place[:, None], axis=1)[:, 0]
        ends.append(np.where(place < nans, np.nan, found))
    weight = rank - below
    with np.errstate(invalid="ignore"):
        result = ends[0] * (1 - weight) + ends[1] * weight
    outside = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, np.nan))
    return np.where(((q >= 0) & (q <= 1))[:, None], result, outside[:, None])


def deviation_of_median(values: Floats, there: Bools) -> Floats:
    """Median of the distances from the median (``mad_over_time``); NaN if any sample is."""
    half = np.full(len(values), 0.5)
    median = quantile(half, values, there)
    result = quantile(half, np.abs(values - median[:, None]), there)
    return np.where((there & np.isnan(values)).any(axis=1), np.nan, result)
