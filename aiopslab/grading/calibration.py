"""Proper scores of single answers with a stated confidence.

Brier is the mean of ``(c - y)^2``: 0 is best, 0.25 is what "0.5, always" gets, 1 is certain and
wrong. Not here: figures of a group of answers (``calibration_figures``), such as binned errors.
"""

from __future__ import annotations

from collections.abc import Sequence


def brier(confidence: float, right: bool) -> float:
    """Return the squared error of a stated probability that the answer is right."""
    return (confidence - float(right)) ** 2


def stated_confidence(probabilities: Sequence[float], n_truth: int) -> float:
    """Return with which probability a ranked answer says that it is right.

    Args:
        probabilities: Of its entries, highest first; none is certain by its form.
        n_truth: How many root causes there are. Several share the probability, so what stands for
            all of them is the sum of as many entries.
    """
    if not probabilities:
        return 1.0
    return min(1.0, sum(probabilities[: max(1, n_truth)]))


def overconfidence(pairs: Sequence[tuple[float, bool]]) -> float | None:
    """Return mean confidence minus share right; None without pairs."""
    if not pairs:
        return None
    return sum(c - float(y) for c, y in pairs) / len(pairs)
