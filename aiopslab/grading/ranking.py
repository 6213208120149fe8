"""Ranking metrics over a list of hits; AC@k, Avg@k and MRR as the RCA literature defines them.

A ranked answer is reduced to ``found``: for each rank, the root causes (by index) hit there for
the first time. AC@k divides by ``min(k, |V|)`` (the MicroCause lineage), so that a perfect ranking
scores 1 at every k also where several root causes exist. Not here: what a hit is (``components``).
"""

from __future__ import annotations

from collections.abc import Sequence


def ac_at_k(found: Sequence[int], n_truth: int, k: int) -> float:
    """Return the share of root causes among the first k ranks.

    Args:
        found: Root causes first hit at each rank.
        n_truth: How many root causes there are; at least 1.
        k: Ranks to look at.
    """
    return min(1.0, sum(found[:k]) / min(k, n_truth))


def avg_at_k(found: Sequence[int], n_truth: int, k: int = 5) -> float:
    """Return the mean of AC@1 to AC@k."""
    return sum(ac_at_k(found, n_truth, j) for j in range(1, k + 1)) / k


def reciprocal_rank(found: Sequence[int]) -> float:
    """Return 1 over the rank of the first hit, 0 without a hit."""
    for rank, hits in enumerate(found, start=1):
        if hits:
            return 1.0 / rank
    return 0.0


def all_first(found: Sequence[int], n_truth: int) -> bool:
    """Say whether the first ``n_truth`` ranks hold every root cause: of one, the first rank."""
    return sum(found[:n_truth]) == n_truth


def first_hits(matches: Sequence[Sequence[bool]], n_truth: int) -> list[int]:
    """Count, for each rank, the root causes hit there and at no earlier rank.

    Args:
        matches: ``matches[rank][cause]``: this entry of the answer means this root cause.
        n_truth: Length of the inner sequences.
    """
    seen: set[int] = set()
    found: list[int] = []
    for row in matches:
        new = {i for i in range(n_truth) if row[i]} - seen
        seen |= new
        found.append(len(new))
    return found
