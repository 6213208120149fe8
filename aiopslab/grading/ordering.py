"""Counts along answers in order of confidence, where equal confidence has no order.

Agents state 0.9 again and again. Wherever answers are cut by rank (bins of equal mass, coverage), a
tie that is cut gives each side its share of what was right: the mean over all orders of the tie, so
no figure depends on how trials are called or when they ended. Used by ``reliability`` and
``discrimination``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Positions = NDArray[np.intp]


def right_among_first(confidence: Array, right: NDArray[np.bool_], positions: Positions) -> Array:
    """Return how many of the first k answers are right, in the mean over the order of ties.

    Args:
        confidence: Of n answers, sorted, in either direction.
        right: Whether each was right; axes before the last are draws.
        positions: The ks, each from 0 to n.

    Returns:
        Of the shape of ``right`` with its last axis replaced by ``positions``.
    """
    ends = np.concatenate([[0], np.flatnonzero(np.diff(confidence)) + 1, [len(confidence)]])
    after = np.searchsorted(ends, positions)
    low, high = ends[np.maximum(after - 1, 0)], ends[after]
    part = (positions - low) / np.maximum(high - low, 1)
    # Counts are whole numbers, so that equal draws stay equal to the last bit.
    running = np.cumsum(right, axis=-1, dtype=np.int64)
    running = np.concatenate([np.zeros_like(running[..., :1]), running], axis=-1)
    counts: Array = running[..., low] + part * (running[..., high] - running[..., low])
    return counts
