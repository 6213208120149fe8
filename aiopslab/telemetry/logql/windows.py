"""Range aggregations: what the samples of a window come to.

Samples of one series are sorted by time; the window of step ``s`` is ``[lo[s], hi[s])`` of them. An
empty window has no value, which ``present`` says. Not here: which samples there are (``metrics``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aiopslab.telemetry.promql.values import Bools, Floats

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one series by time."""

    times: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows ``(end - length, end]`` over the samples of one series."""

    values: Floats
    lo: Ints
    hi: Ints
    length: float

    @staticmethod
    def over(samples: Samples, ends: Floats, length: float) -> Windows:
        """Lay windows over samples."""
        lo = np.searchsorted(samples.times, ends - length, side="right")
        hi = np.searchsorted(samples.times, ends, side="right")
        return Windows(samples.values, lo, hi, length)

    @property
    def present(self) -> Bools:
        """Which windows have samples."""
        return self.hi > self.lo

    def each(self, measure: Callable[[Floats], float]) -> Floats:
        """Apply a function to the samples of each window; 0 where there are none."""
        result = np.zeros(len(self.lo))
        bounds = zip(self.lo.tolist(), self.hi.tolist(), strict=True)
        for step, (low, high) in enumerate(bounds):
            if high > low:
                result[step] = measure(self.values[low:high])
        return result


def _count(windows: Windows, _: float) -> Floats:
    return (windows.hi - windows.lo).astype(np.float64)


def _sum(windows: Windows, _: float) -> Floats:
    if (windows.values % 1.0 == 0.0).all():
        # Sums of whole numbers are exact as differences of running sums.
        running = np.concatenate([[0.0], np.cumsum(windows.values)])
        exact: Floats = running[windows.hi] - running[windows.lo]
        return exact
    return windows.each(np.sum)


def _rate(windows: Windows, _: float) -> Floats:
    return _sum(windows, 0.0) / windows.length


def _mean(windows: Windows, _: float) -> Floats:
    return windows.each(np.mean)


def _variance(windows: Windows, _: float) -> Floats:
    return windows.each(np.var)


def _quantile(windows: Windows, q: float) -> Floats:
    """Interpolate between the nearest ranks, as Prometheus' ``quantile_over_time``."""
    if q < 0 or q > 1:
        return np.full(len(windows.lo), -np.inf if q < 0 else np.inf)

    def quantile(values: Floats) -> float:
        ranked = np.sort(values)
        rank = q * (len(ranked) - 1)
        low = int(rank)
        high = min(low + 1, len(ranked) - 1)
        weight = rank - low
        return float(ranked[low] * (1 - weight) + ranked[high] * weight)

    return windows.each(quantile)


Reduce = Callable[[Windows, float], Floats]
REDUCE: Mapping[str, Reduce] = {
    "count_over_time": _count,
    "rate": _rate,
    "bytes_rate": _rate,
    "bytes_over_time": _sum,
    "sum_over_time": _sum,
    "avg_over_time": _mean,
    "max_over_time": lambda w, _: w.each(np.max),
    "min_over_time": lambda w, _: w.each(np.min),
    "first_over_time": lambda w, _: w.each(lambda v: float(v[0])),
    "last_over_time": lambda w, _: w.each(lambda v: float(v[-1])),
    "stdvar_over_time": _variance,
    "stddev_over_time": lambda w, q: np.sqrt(_variance(w, q)),
    "quantile_over_time": _quantile,
}
"""Range aggregations by name; the second argument is the parameter, 0 where there is none."""
