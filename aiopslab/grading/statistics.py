"""Intervals, power and tests of pairs, reliability: Wilson, bootstrap, McNemar, Holm, pass^k.

Numbers only: no records, no trials. The unit of resampling is the caller's; in a run it is the
incident, because its four tasks and its repeats are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""
Z80 = 0.8416212335729143
"""The 80 % quantile of the normal distribution."""
RESAMPLES = 10_000


def wilson(successes: float, n: int, z: float = Z95) -> tuple[float, float] | None:
    """Return Wilson's score interval of a proportion; None when n is 0.

    Args:
        successes: From 0 to n; of clusters that count as one trial each, the sum of their shares.
        n: Trials.
        z: Quantile of the normal distribution.
    """
    if n == 0:
        return None
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1.0 + z * z / n)
    half = wilson_half_width(p, n, z)
    # At 0 and n successes the bound is the proportion itself; rounding must not cross it.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def wilson_half_width(p: float, n: int, z: float = Z95) -> float:
    """Return half the width of Wilson's interval: how exactly n trials tell a proportion near p.

    ``z sqrt(p (1 - p) / n + z^2 / (4 n^2)) / (1 + z^2 / n)``, n > 0.
    """
    return z * math.sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n)) / (1.0 + z * z / n)


def mean_of_two(
    first: tuple[int, int], second: tuple[int, int]
) -> tuple[float, tuple[float, float]] | None:
    """Return the mean of two independent proportions with its 95 % interval.

    Newcombe's square-and-add of Wilson's intervals (1998, method 10, for the mean in place of the
    difference). It has a width where all trials agree, which a bootstrap has not.

    Args:
        first: Successes and trials.
        second: Those of the other side.

    Returns:
        None where a side has no trials.
    """
    bounds = [wilson(*side) for side in (first, second)]
    if bounds[0] is None or bounds[1] is None:
        return None
    shares = [successes / n for successes, n in (first, second)]
    pairs = list(zip(shares, (bounds[0], bounds[1]), strict=True))
    middle = sum(shares) / 2.0
    down = math.hypot(*(p - low for p, (low, _) in pairs)) / 2.0
    up = math.hypot(*(high - p for p, (_, high) in pairs)) / 2.0
    return middle, (max(0.0, middle - down), min(1.0, middle + up))


def minimum_detectable_difference(
    n: int, *, share: float = 0.4, discordant: float | None = None
) -> float:
    """Return the difference of two agents that n trials show with 80 % power at alpha .05.

    Unpaired ``z sqrt(2 p (1 - p) / n)``, paired ``z sqrt(d / n)``, with z = 1.96 + 0.84.

    Args:
        n: Trials of each agent, n > 0.
        share: p, about which share they pass; for trials that are not paired.
        discordant: d, share of the pairs of which one alone passes; None: not paired.
    """
    variance = 2.0 * share * (1.0 - share) if discordant is None else discordant
    return (Z95 + Z80) * math.sqrt(variance / n)


def cluster_bootstrap(
    clusters: Mapping[str, Sequence[float]], *, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Return the percentile interval of the mean, resampling whole clusters.

    The statistic is the ratio of sums (the mean over all values), so clusters weigh by their
    size. Names are sorted: the order in which trials ended does not matter.

    Returns:
        The 2.5 % and 97.5 % percentiles; None with fewer than two clusters, where resampling
        would claim certainty.
    """
    filled = [clusters[name] for name in sorted(clusters) if clusters[name]]
    if len(filled) < 2:
        return None
    sums = np.array([math.fsum(values) for values in filled])
    sizes = np.array([len(values) for values in filled], dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(filled), size=(resamples, len(filled)))
    means = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def balanced_bootstrap(
    clusters: Mapping[str, Sequence[tuple[bool, float]]], *, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Return the percentile interval of the mean of two shares, resampling whole clusters.

    Args:
        clusters: (on which side, value) of each trial, by cluster.
        seed: Of the generator.
        resamples: How many.

    Returns:
        The 2.5 % and 97.5 % percentiles over the resamples that have both sides; None with fewer
        than two clusters, or where no resample has both.
    """
    if len(clusters) < 2:
        return None
    rows = [clusters[name] for name in sorted(clusters)]
    sides = (True, False)
    sums = np.array([[math.fsum(v for s, v in row if s is side) for side in sides] for row in rows])
    sizes = np.array([[sum(s is side for s, _ in row) for side in sides] for row in rows])
    picks = np.random.default_rng(seed).integers(0, len(rows), size=(resamples, len(rows)))
    drawn = sizes[picks].sum(axis=1)
    both = np.all(drawn > 0, axis=1)
    if not both.any():
        return None
    means = (sums[picks].sum(axis=1)[both] / drawn[both]).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p-value of the exact McNemar test.

    Pairs of which both or none passed say nothing; each other one is gained or lost with chance
    1/2 if there is no difference. So p is twice the binomial tail of the rarer side, at most 1.

    Args:
        gained: Pairs that the second alone passed.
        lost: Pairs that the first alone passed.
    """
    n = gained + lost
    tail = sum(math.comb(n, i) for i in range(min(gained, lost) + 1))
    # Whole numbers to the end: 2^n is beyond a float from 1,024 discordant pairs on.
    return min(2 * tail, 1 << n) / (1 << n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given.

    The i-th smallest of m (from 0) is multiplied by m - i; none is below that of a smaller one, nor
    above 1. Rejecting what is at most alpha keeps the chance of any false rejection at alpha,
    however the tests depend on each other.
    """
    m, adjusted, highest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the chance that at least one of k tries succeeds: ``1 - C(n-c, k) / C(n, k)``."""
    _at_most(k, n)
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float:
    """Return the chance that all of k tries succeed: ``C(c, k) / C(n, k)`` (pass^k).

    Args:
        n: Trials of one problem.
        c: How many of them passed.
        k: Tries; at most n.
    """
    _at_most(k, n)
    return math.comb(c, k) / math.comb(n, k)


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return math.fsum(values) / len(values) if values else None


def _at_most(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} tries out of n = {n} trials; k must be from 1 to n")
