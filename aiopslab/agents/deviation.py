"""How far a series left its own past: the scores that agents without a model share.

N-Sigma and the robust scorer of BARO. Pure functions of numbers, without numpy, because trivial
agents are loaded with every command. Not here: when many series changed (``changepoint``), which to
ask for (the agents), asking (``sampling``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev, quantiles

_FLOOR = 0.05
"""Least spread, relative to the level: flat series are not infinitely surprising."""


def z_score(values: list[float]) -> float:
    """Return how many standard deviations the last sixth lies off the first half.

    >>> z_score([1.0, 1.2, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0]) > 10
    True
    """
    finite = [v for v in values if math.isfinite(v)]
    if len(finite) < 12:
        return 0.0
    before, after = finite[: len(finite) // 2], finite[-len(finite) // 6 :]
    mean = fmean(before)
    spread = max(pstdev(before), _FLOOR * abs(mean), 1e-9)
    return abs(fmean(after) - mean) / spread


def robust_score(before: Sequence[float], after: Sequence[float], floor: float = 0.0) -> float:
    """Return the highest robust z-score of the second window, signed, as BARO's RobustScorer.

    ``max (x - median) / IQR``, median and interquartile range of the first window. What only fell
    scores below 0. Where BARO takes 1 for a range of 0, the range here is at least a twentieth of
    the median, so that the score does not depend on the unit, and at least the floor.

    Args:
        before: The healthy window.
        after: The window under suspicion.
        floor: Least range, in the unit of the series; for series that are 0 while all is well.

    Returns:
        The score; 0 where a window is empty, or nothing ever changed.
    """
    if not len(before) or not len(after):
        return 0.0
    low, median, high = quartiles(before)
    rise = max(after) - median
    if min(before) == max(before) == min(after) == max(after):
        return 0.0
    scale = max(high - low, _FLOOR * abs(median), floor)
    return rise / scale if scale > 0.0 else math.copysign(math.inf, rise) if rise else 0.0


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the quartiles of one value or more, between samples in proportion.

    >>> quartiles([1.0, 2.0, 3.0, 4.0])
    (1.75, 2.5, 3.25)
    """
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = quantiles(values, n=4, method="inclusive")
    return low, median, high
