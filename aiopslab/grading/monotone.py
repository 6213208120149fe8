"""Monotone fits: isotonic regression on a line and a grid, logistic regression without negatives.

Numbers only: convex problems, solved exactly or to convergence, no chance anywhere. Pool adjacent
violators for the line (Ayer et al. 1955), the max-min formula over upper and lower sets for the
grid (Robertson, Wright, Dykstra 1988), Newton's method on every support for the logistic function.
Not here: which of them a mapping is made of (``mapping``).
"""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from aiopslab.grading.ordering import Array

RIDGE = 1.0
"""Penalty on squared weights, on the scale of logits: keeps features that hardly vary at 0."""
_STEPS = 100
_SAME = 1e-10


def pool_adjacent_violators(values: Array, weights: Array) -> Array:
    """Return the never falling sequence with the least weighted squared distance.

    Args:
        values: In the order of what they must rise with.
        weights: Above 0.
    """
    means: list[float] = []
    masses: list[float] = []
    counts: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        means.append(value)
        masses.append(weight)
        counts.append(1)
        while len(means) > 1 and means[-2] >= means[-1]:
            mass = masses[-2] + masses[-1]
            means[-2] = (means[-2] * masses[-2] + means[-1] * masses[-1]) / mass
            masses[-2] = mass
            counts[-2] += counts[-1]
            del means[-1], masses[-1], counts[-1]
    return np.repeat(np.array(means), counts)


def isotonic_line(x: Array, y: Array) -> tuple[Array, Array]:
    """Fit a never falling line; return its knots and their values.

    Equal x are one point with their mean. Within a stretch of equal values only the ends are kept.

    Args:
        x: n > 0 positions.
        y: What is fitted, in the same order.
    """
    at, group, sizes = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(group, weights=y) / sizes
    fitted = pool_adjacent_violators(means, sizes.astype(float))
    inner = np.ones(len(at), dtype=bool)
    inner[1:-1] = (fitted[1:-1] != fitted[:-2]) | (fitted[1:-1] != fitted[2:])
    return at[inner], fitted[inner]


def isotonic_grid(values: Array, weights: Array) -> Array:
    """Return the grid that rises along both axes with the least weighted squared distance.

    The value of a cell is the largest, over upper sets that hold it, of the smallest weighted mean
    over the intersection with a lower set that holds it.

    Args:
        values: Rows x columns; a few of each, since all upper sets are listed.
        weights: Above 0, the same shape.
    """
    rows, columns = values.shape
    upper = _upper_sets(rows, columns)
    mass, total = weights.ravel(), (weights * values).ravel()
    best = np.full(rows * columns, -np.inf)
    for up in upper:
        # A lower set is what some upper set leaves.
        common = up & ~upper
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (common @ total) / (common @ mass)
        least = np.where(common, mean[:, None], np.inf).min(axis=0)
        best = np.maximum(best, np.where(up, least, -np.inf))
    return best.reshape(rows, columns)


def _upper_sets(rows: int, columns: int) -> NDArray[np.bool_]:
    """List every set of cells that holds with a cell all that are above and right of it.

    Such a set begins in each row at some column, and in no row later than in the row before.
    """
    starts = combinations_with_replacement(range(columns, -1, -1), rows)
    column = np.arange(columns)
    return np.array([(column >= np.array(s)[:, None]).ravel() for s in starts])


def nonnegative_logistic(features: Array, targets: Array) -> tuple[float, Array]:
    """Fit an intercept and weights of at least 0 by penalised likelihood.

    The optimum is that of the best support: whichever weights are above 0 there, they are what an
    unbounded fit of those alone gives. With few features every support is tried.

    Args:
        features: n x d, d at most about 5.
        targets: n probabilities, strictly between 0 and 1 in the mean.
    """
    d = features.shape[1]
    best, found = np.inf, (0.0, np.zeros(d))
    for size in range(d + 1):
        for support in combinations(range(d), size):
            chosen = list(support)
            loss, weights = _newton(features[:, chosen], targets)
            if loss < best - _SAME and np.all(weights[1:] >= 0.0):
                full = np.zeros(d)
                full[chosen] = weights[1:]
                best, found = loss, (float(weights[0]), full)
    return found


def _newton(features: Array, targets: Array) -> tuple[float, Array]:
    """Minimise the penalised loss; return it and the intercept followed by the weights."""
    n = len(targets)
    design = np.column_stack([np.ones(n), features])
    penalty = np.full(design.shape[1], RIDGE)
    penalty[0] = 0.0
    weights = np.zeros(design.shape[1])
    loss = _loss(design, targets, penalty, weights)
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30.0, 30.0)))
        gradient = design.T @ (p - targets) + penalty * weights
        curvature = (design * (p * (1.0 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        scale, tried = 1.0, _loss(design, targets, penalty, weights - step)
        while tried > loss and scale > _SAME:
            scale /= 2.0
            tried = _loss(design, targets, penalty, weights - scale * step)
        if loss - tried < _SAME:
            break
        weights, loss = weights - scale * step, tried
    return loss, weights


def _loss(design: Array, targets: Array, penalty: Array, weights: Array) -> float:
    score = design @ weights
    likelihood = np.logaddexp(0.0, score) - targets * score
    return float(likelihood.sum() + 0.5 * np.sum(penalty * weights**2))
