"""Whether confidence tells right answers from wrong ones: AUROC, risk and coverage.

Blind to how large the stated numbers are, only their order counts; ``reliability`` is about the
numbers. Formulas: Mann and Whitney for AUROC, Geifman et al. 2019 for AURC and its excess.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopslab.grading.ordering import Array, right_among_first


def auroc(confidence: Array, right: NDArray[np.bool_]) -> float | None:
    """Return the chance that a right answer was stated with more confidence than a wrong one.

    A pair with equal confidence counts half (ranks of ties are their mean, midranks). None where
    all answers are right or all are wrong.
    """
    n_right = int(np.count_nonzero(right))
    n_wrong = len(right) - n_right
    if not n_right or not n_wrong:
        return None
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    midranks = np.cumsum(sizes) - (sizes - 1) / 2.0
    above = float(midranks[group][right].sum()) - n_right * (n_right + 1) / 2.0
    return above / (n_right * n_wrong)


def risks(confidence: Array, right: NDArray[np.bool_]) -> Array:
    """Return the share wrong among the k most confident answers, for k = 1 to n.

    Where k cuts a tie, its wrong answers count in proportion: the mean over all orders of the tie.
    """
    order = np.argsort(-confidence, kind="stable")
    coverage = np.arange(1, len(confidence) + 1)
    return 1.0 - right_among_first(confidence[order], right[order], coverage) / coverage


def aurc(risk: Array) -> float:
    """Return the area under the risk-coverage curve: the mean of ``risks``."""
    return float(np.mean(risk))


def least_aurc(right: NDArray[np.bool_]) -> float:
    """Return the AURC of the best order of these answers: all right ones first."""
    coverage = np.arange(1, len(right) + 1)
    wrong = np.maximum(0, coverage - np.count_nonzero(right))
    return float(np.mean(wrong / coverage))


def curve(risk: Array, *, points: int) -> list[tuple[float, float]]:
    """Return (coverage, share wrong), at most so many points, evenly spread and up to the end."""
    n = len(risk)
    kept = min(n, points)
    ks = [-(-n * i // kept) for i in range(1, kept + 1)]
    return [(k / n, float(risk[k - 1])) for k in ks]
