"""How well stated confidence matches the share that is right: Brier, log loss, binned errors.

Numbers only. Formulas: Murphy 1973 for the decomposition, Naeini et al. 2015 for the expected
calibration error (ECE), Kumar et al. 2019 for the debiased one. What such an error is by chance
alone is in ``noise_floor``; scores of single answers are in ``calibration``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aiopslab.grading.ordering import Array, Positions, right_among_first

CLIP = 0.001
"""Log loss takes nobody to be surer than this, lest one mistake cost infinitely much."""
MANY = 300
"""From so many answers on, ten bins; below, five: more bins measure more noise."""


def brier_score(confidence: Array, right: NDArray[np.bool_]) -> float:
    """Return the mean of ``(c - y)^2``."""
    return float(np.mean((confidence - right) ** 2))


def log_loss(confidence: Array, right: NDArray[np.bool_]) -> float:
    """Return minus the mean logarithm (natural) of the probability given to what came true."""
    clipped = np.clip(confidence, CLIP, 1.0 - CLIP)
    return float(-np.mean(np.log(np.where(right, clipped, 1.0 - clipped))))


def bin_count(n: int) -> int:
    """Return into how many bins n answers are sorted."""
    return 10 if n >= MANY else 5


@dataclass(frozen=True, slots=True)
class Bins:
    """Answers in ascending order of confidence, cut into bins that lie side by side."""

    confidence: Array
    """Sorted, ascending."""
    edges: Positions
    """Where bins begin and end, one more than bins; an empty bin ends where it begins."""

    @property
    def sizes(self) -> Positions:
        """Answers in each bin."""
        return np.diff(self.edges)

    @property
    def stated(self) -> Array:
        """Sum of the confidence in each bin: how many right answers it promises."""
        return np.array([self.confidence[i:j].sum() for i, j in pairwise(self.edges)])

    def right(self, right: NDArray[np.bool_]) -> Array:
        """Return how many answers of each bin are right.

        Args:
            right: In the order of ``confidence``; axes before the last are draws.
        """
        return np.diff(right_among_first(self.confidence, right, self.edges), axis=-1)


def equal_width(confidence: Array, bins: int) -> Bins:
    """Cut [0, 1] into bins of one width: c is in bin ``min(floor(c * bins), bins - 1)``.

    Args:
        confidence: Sorted, ascending.
        bins: At least 1.
    """
    index = np.minimum(np.floor(confidence * bins).astype(np.intp), bins - 1)
    sizes = np.bincount(index, minlength=bins)
    return Bins(confidence, np.concatenate([[0], np.cumsum(sizes)]))


def equal_mass(confidence: Array, bins: int) -> Bins:
    """Cut the answers into bins of nearly equally many; the first ones take what is left over.

    A bin may begin within a tie; what was right in the tie is then shared out evenly.

    Args:
        confidence: Sorted, ascending.
        bins: At least 1.
    """
    size, over = divmod(len(confidence), bins)
    sizes = np.full(bins, size, dtype=np.intp)
    sizes[:over] += 1
    return Bins(confidence, np.concatenate([[0], np.cumsum(sizes)]))


def calibration_error(bins: Bins, right: NDArray[np.bool_]) -> Array:
    """Return the ECE: the sum over bins of n_b / n |share right - mean confidence|.

    Args:
        bins: Of n answers, n > 0.
        right: In their order; axes before the last are draws, and one error is returned for each.
    """
    error: Array = np.abs(bins.right(right) - bins.stated).sum(axis=-1) / len(bins.confidence)
    return error


def debiased_error(bins: Bins, right: NDArray[np.bool_]) -> float | None:
    """Return the root of the mean squared error of bins, less what chance adds to it.

    The sum over bins of n_b / n [(c_b - o_b)^2 - o_b (1 - o_b) / (n_b - 1)], 0 where that is
    negative; None where a bin has a single answer, whose chance cannot be told.
    """
    sizes = bins.sizes
    filled = sizes > 0
    n = sizes[filled]
    if np.any(n == 1):
        return None
    observed = bins.right(right)[filled] / n
    chance = observed * (1.0 - observed) / (n - 1)
    squared = (bins.stated[filled] / n - observed) ** 2 - chance
    return float(np.sqrt(max(0.0, np.sum(n * squared) / n.sum())))


@dataclass(frozen=True, slots=True)
class Murphy:
    """The parts of a Brier score, ``reliability - resolution + uncertainty``.

    It is their sum where each bin has one confidence; wider bins leave a rest, from the spread of
    confidence within them.
    """

    reliability: float
    """Mean squared distance of confidence and share right: 0 is best."""
    resolution: float
    """Mean squared distance of the bins' shares right from that of all: more is better."""
    uncertainty: float
    """Variance of being right: what "the base rate, always" scores."""


def murphy(bins: Bins, right: NDArray[np.bool_]) -> Murphy:
    """Decompose the Brier score of n > 0 answers over bins, empty ones left out."""
    filled = bins.sizes > 0
    n = bins.sizes[filled]
    observed = bins.right(right)[filled] / n
    share = float(np.mean(right))
    return Murphy(
        reliability=float(np.sum(n * (bins.stated[filled] / n - observed) ** 2) / n.sum()),
        resolution=float(np.sum(n * (observed - share) ** 2) / n.sum()),
        uncertainty=share * (1.0 - share),
    )
