"""What a ranked answer scores by chance: n candidates in a random order, some of which are right.

Numbers only. ``right`` holds, for each root cause, how many of the n candidates mean it, none of
them two. With one root cause and one name for it, AC@k is ``min(k, n) / n``: of 9 services Avg@5 is
(1 + 2 + 3 + 4 + 5) / 45 = 0.33. Not here: which candidates are right (``floors``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

RANKS = 5
"""How many candidates an answer may name."""


def ac_at_k(n: int, right: Sequence[int], k: int) -> float:
    """Return the expected AC@k: the chance that the first k of n hold each root cause.

    The sum over root causes of ``1 - C(n - e, k) / C(n, k)``, over ``min(k, |V|)``, at most 1; 0 of
    a root cause that is not among the candidates.

    Args:
        n: Candidates.
        right: e of each root cause; at least one.
        k: Ranks to look at.
    """
    k = min(k, n)
    if k == 0:
        return 0.0
    hit = sum(1.0 - math.comb(n - e, k) / math.comb(n, k) for e in right)
    return min(1.0, hit / min(k, len(right)))


def avg_at_k(n: int, right: Sequence[int], k: int = RANKS) -> float:
    """Return the mean of the expected AC@1 to AC@k."""
    return sum(ac_at_k(n, right, j) for j in range(1, k + 1)) / k


def reciprocal_rank(n: int, right: Sequence[int]) -> float:
    """Return the expected 1 / rank of the first hit, 0 beyond the ranks that an answer has."""
    e = sum(right)
    first = (
        math.comb(n - e, r - 1) / math.comb(n, r - 1) * e / (n - r + 1)
        for r in range(1, min(RANKS, n) + 1)
    )
    return sum(chance / rank for rank, chance in enumerate(first, start=1))


def all_first(n: int, right: Sequence[int]) -> float:
    """Return the chance that the first ``|V|`` ranks hold every root cause: of one, e / n."""
    if len(right) > n:
        return 0.0
    return math.factorial(len(right)) * math.prod(right) / math.perm(n, len(right))
