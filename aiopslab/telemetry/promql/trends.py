"""Functions that put a line or a curve through the samples of a window.

After ``linearRegression`` and ``funcDoubleExponentialSmoothing`` of Prometheus'
``promql/functions.go``.
"""

from __future__ import annotations

import numpy as np

from aiopslab.telemetry.promql.values import Bools, Floats, Ints, QueryError, RangeVector, Vector
from aiopslab.telemetry.promql.windows import computed, total


def slope(r: RangeVector) -> Vector:
    """``deriv``: change per second."""
    return computed(r, lambda chunk, y, there: _line(_seconds(r, chunk, y), y, there)[0], least=2)


def predicted(r: RangeVector, steps: Ints, ahead: Floats) -> Vector:
    """``predict_linear``: the value ``ahead[step]`` seconds after the step.

    The steps are those of the query: an offset moves the samples, not the time they are seen from.
    """
    target = ahead + (steps - r.ends) / 1000.0

    def line(chunk: slice, y: Floats, there: Bools) -> Floats:
        rise, mean_x, mean_y = _line(_seconds(r, chunk, y), y, there)
        return mean_y + rise * (target[chunk, None] - mean_x)

    return computed(r, line, least=2)


def _seconds(r: RangeVector, steps: slice, samples: Floats) -> Floats:
    """Return sample times relative to the ends of the windows, steps x samples x 1."""
    rows = np.minimum(r.lo[steps, None] + np.arange(samples.shape[1]), len(r.times) - 1)
    away: Floats = (r.times[rows] - r.ends[steps, None]) / 1000.0
    return away[:, :, None]


def _line(x: Floats, y: Floats, there: Bools) -> tuple[Floats, Floats, Floats]:
    """Return slope, mean of x and mean of y; those of a level line are exact."""
    count = np.maximum(there.sum(axis=1), 1)
    x = np.broadcast_to(x, y.shape)
    mean_x, mean_y = total(x, there) / count, total(y, there) / count
    dx, dy = x - mean_x[:, None], y - mean_y[:, None]
    rise = total(dx * dy, there) / total(dx * dx, there)
    first = np.take_along_axis(y, there.argmax(axis=1)[:, None], axis=1)
    level = (~there | (y == first)).all(axis=1)
    flat = np.where(np.isinf(first[:, 0]), np.nan, 0.0)
    return np.where(level, flat, rise), mean_x, np.where(level, first[:, 0], mean_y)


def smoothed(r: RangeVector, level: Floats, trend: Floats) -> Vector:
    """``double_exponential_smoothing`` with smoothing and trend factors, one of each a step.

    Raises:
        QueryError: A factor is not between 0 and 1.
    """
    for name, factor in (("smoothing", level), ("trend", trend)):
        if not ((factor > 0) & (factor < 1)).all():
            raise QueryError(
                f"invalid {name} factor. Expected: 0 < {name[0]}f < 1, got: {factor[0]:f}"
            )
    return computed(
        r,
        lambda chunk, samples, there: _smooth(
            samples, there, level[chunk, None], trend[chunk, None]
        ),
        least=2,
    )


def _smooth(samples: Floats, there: Bools, level: Floats, trend: Floats) -> Floats:
    """Walk the samples of all windows at once, each window at its own pace."""
    shape = samples.shape[0], samples.shape[2]
    seen = np.zeros(shape, np.int64)
    smooth, previous, slope = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for place in range(samples.shape[1]):
        here, y = there[:, place], samples[:, place]
        second, later = here & (seen == 1), here & (seen > 1)
        slope = np.where(second, y - smooth, slope)
        slope = np.where(later, trend * (smooth - previous) + (1 - trend) * slope, slope)
        risen = level * y + (1 - level) * (smooth + slope)
        former = smooth
        smooth = np.where(here, np.where(seen == 0, y, risen), smooth)
        previous = np.where(here & (seen > 0), former, previous)
        seen += here
    return smooth
