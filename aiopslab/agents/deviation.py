"""How far a series left its own past, and when: the arithmetic that agents without a model share.

N-Sigma and the robust scorer of BARO score one series; the change point cuts many at once into
before and after. Pure functions of numbers. Not here: which series to ask for (the agents), asking
(``sampling``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
_FLOOR = 0.05
"""Least spread, relative to the level: flat series are not infinitely surprising."""
HAZARD = 1.0 / 250.0
"""Chance of a change between two samples before anything is seen; BARO's default."""


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
    low, median, high = np.percentile(before, [25.0, 50.0, 75.0])
    rise = float(np.max(after)) - float(median)
    if min(before) == max(before) == min(after) == max(after):
        return 0.0
    scale = max(float(high - low), _FLOOR * abs(float(median)), floor)
    return rise / scale if scale > 0.0 else math.copysign(math.inf, rise) if rise else 0.0


def change_point(series: Matrix, hazard: float = HAZARD) -> tuple[int, float]:
    """Return where the present segment of many series began, and how sure that is.

    Bayesian online change point detection (Adams and MacKay 2007, arXiv 0710.3742): a posterior
    over the time since the last change, each column Gaussian of unknown mean and variance
    (Normal-Gamma prior, Student-t predictive). Columns are taken as independent given the segment,
    and because metrics of one system are not, their log-likelihoods are averaged and weigh as much
    as the square root of their number.

    Args:
        series: Samples in rows, metrics in columns, each at a scale of about 1.
        hazard: Chance of a change between two samples.

    Returns:
        The first row of the present segment, 0 if it is all one; and the posterior probability that
        there was a change at all, the first two rows left out.
    """
    rows, columns = series.shape
    if rows < 4 or not columns:
        return 0, 0.0
    weight = 1.0 / math.sqrt(columns)
    mean = np.zeros((1, columns))
    scale, shape = np.ones(1), np.ones(1)
    rate = np.ones((1, columns))
    log_run = np.zeros(1)
    for row in series:
        likely = weight * _predictive(row, mean, scale, shape, rate)
        grown = log_run + likely + math.log1p(-hazard)
        fresh = np.logaddexp.reduce(log_run + likely) + math.log(hazard)
        log_run = np.concatenate([[fresh], grown])
        log_run -= np.logaddexp.reduce(log_run)
        updated = (scale[:, None] * mean + row) / (scale + 1.0)[:, None]
        error = scale[:, None] * (row - mean) ** 2 / (2.0 * (scale + 1.0)[:, None])
        mean = np.concatenate([np.zeros((1, columns)), updated])
        rate = np.concatenate([np.ones((1, columns)), rate + error])
        scale = np.concatenate([[1.0], scale + 1.0])
        shape = np.concatenate([[1.0], shape + 0.5])
    lengths = np.exp(log_run)
    # A run that began with the first rows only learnt the level: that is no change.
    sure = float(lengths[1 : rows - 2].sum())
    run = int(np.argmax(lengths))
    return (rows - run if run < rows - 2 else 0), sure


def _predictive(
    row: NDArray[np.float64], mean: Matrix, scale: Matrix, shape: Matrix, rate: Matrix
) -> Matrix:
    """Return the log density of a row under each run, summed over columns."""
    freedom = 2.0 * shape[:, None]
    spread = rate * ((scale + 1.0) / (scale * shape))[:, None]
    gamma = np.array([math.lgamma(s + 0.5) - math.lgamma(s) for s in shape])[:, None]
    density = (
        gamma
        - 0.5 * np.log(np.pi * freedom * spread)
        - (freedom + 1.0) / 2.0 * np.log1p((row - mean) ** 2 / (freedom * spread))
    )
    return np.asarray(density.sum(axis=1))
