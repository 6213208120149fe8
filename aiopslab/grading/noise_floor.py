"""What a calibration error is by chance alone, for an agent that is perfectly calibrated.

A binned error is never 0 in a finite sample: with 50 answers it is about 0.1. So it is shown beside
its own null: the same confidences, with y ~ Bernoulli(c) drawn again and again from a fixed seed.
The errors themselves are in ``reliability``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aiopslab.grading.ordering import Array
from aiopslab.models.calibration import Floor
from aiopslab.seeds import derive

DRAWS = 2_000
_AT_ONCE = 2**21
"""Answers drawn at once: bounds the memory, and changes no figure."""
_SAME = 1e-12
"""Errors nearer than this are the same error in another order of addition."""
_SEED = derive(0, "grading", "noise floor")

Statistic = Callable[[NDArray[np.bool_]], Array]
"""From outcomes, draws x answers, to one figure a draw; more is worse."""


def noise_floor(confidence: Array, observed: float, statistic: Statistic) -> Floor:
    """Return mean and 95th percentile of a figure for calibrated agents, and the p-value.

    The p-value counts the observed agent among those drawn, ``(1 + as large) / (1 + draws)``: it is
    never 0, and no smaller than what could be seen.

    Args:
        confidence: Of n > 0 answers, in an order that depends on nothing but themselves.
        observed: The figure of the outcomes that were seen.
        statistic: How it is computed.
    """
    chance = np.random.default_rng(_SEED)
    rows = max(1, _AT_ONCE // len(confidence))
    figures = np.concatenate(
        [
            statistic(chance.random((min(rows, DRAWS - done), len(confidence))) < confidence)
            for done in range(0, DRAWS, rows)
        ]
    )
    beyond = int(np.count_nonzero(figures >= observed - _SAME))
    return Floor(
        mean=float(figures.mean()),
        p95=float(np.percentile(figures, 95)),
        p_value=(1 + beyond) / (1 + DRAWS),
    )
