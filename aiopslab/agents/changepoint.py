"""When did many series change? Bayesian online change point detection on a matrix.

Pure functions of numbers. Not here: how far one series left its past (``deviation``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
HAZARD = 1.0 / 250.0
"""Chance of a change between two samples before anything is seen; BARO's default."""


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
    runs = _Runs(columns)
    log_run = np.zeros(1)
    for row in series:
        likely = runs.likely(row) / math.sqrt(columns)
        grown = log_run + likely + math.log1p(-hazard)
        fresh = np.logaddexp.reduce(log_run + likely) + math.log(hazard)
        log_run = np.concatenate([[fresh], grown])
        log_run -= np.logaddexp.reduce(log_run)
        runs.learn(row)
    lengths = np.exp(log_run)
    # A run that began with the first rows only learnt the level: that is no change.
    sure = float(lengths[1 : rows - 2].sum())
    run = int(np.argmax(lengths))
    return (rows - run if run < rows - 2 else 0), sure


class _Runs:
    """What each run length has learnt: a Normal-Gamma distribution of every column.

    Args:
        columns: How many.
    """

    def __init__(self, columns: int) -> None:
        self._mean, self._rate = np.zeros((1, columns)), np.ones((1, columns))
        self._scale, self._shape = np.ones(1), np.ones(1)

    def likely(self, row: Matrix) -> Matrix:
        """Return the log density of a row under each run, summed over columns."""
        freedom = 2.0 * self._shape[:, None]
        spread = self._rate * ((self._scale + 1.0) / (self._scale * self._shape))[:, None]
        gamma = np.array([math.lgamma(s + 0.5) - math.lgamma(s) for s in self._shape])[:, None]
        density = (
            gamma
            - 0.5 * np.log(np.pi * freedom * spread)
            - (freedom + 1.0) / 2.0 * np.log1p((row - self._mean) ** 2 / (freedom * spread))
        )
        return np.asarray(density.sum(axis=1))

    def learn(self, row: Matrix) -> None:
        """Let every run take the row, and begin a new one that knows nothing."""
        scale = self._scale[:, None]
        mean = (scale * self._mean + row) / (scale + 1.0)
        error = scale * (row - self._mean) ** 2 / (2.0 * (scale + 1.0))
        rate = self._rate + error
        self._mean = np.concatenate([np.zeros_like(mean[:1]), mean])
        self._rate = np.concatenate([np.ones_like(rate[:1]), rate])
        self._scale = np.concatenate([[1.0], self._scale + 1.0])
        self._shape = np.concatenate([[1.0], self._shape + 0.5])
