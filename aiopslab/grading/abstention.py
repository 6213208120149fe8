"""What it is worth to act on stated confidence, where a person can be asked instead.

Acting on a right answer costs 0, on a wrong one L, handing over to a person 1. Who believes c acts
where that is not dearer, ``(1 - c) L <= 1``, that is from c = 1 - 1/L on. The gain of an answer is
what was saved against handing over: 1 if acted rightly, 1 - L if wrongly, 0 if handed over. Not
here: an agent's own decision to escalate, which states no confidence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopslab.grading.ordering import Array

COSTS = (1, 5, 20)
"""L, in units of a hand-over: a harmless mistake, a bad one, an outage."""
_ROUNDING = 1e-9
"""0.7 + 0.1 means 0.8."""


def threshold(cost: float) -> float:
    """Return the confidence from which acting is not dearer than handing over: ``1 - 1/L``.

    Args:
        cost: L of a wrong answer, above 0.
    """
    return 1.0 - 1.0 / cost


def gain(confidence: Array, right: NDArray[np.bool_], cost: float) -> float:
    """Return the mean gain per answer of acting from the threshold on and handing over below it.

    At most the share right, which is what acting on the right answers alone gains; 0 is what
    handing everything over gains; below 0, nobody should act on this confidence.
    """
    acted = confidence >= threshold(cost) - _ROUNDING
    return float(np.mean(np.where(acted, np.where(right, 1.0, 1.0 - cost), 0.0)))
