"""Pauses between tokens, counted in fixed bins so that whole answers can be compared cheaply.

An engine keeps one ``Pauses`` of all its iterations; a sequence notes the counts when it begins to
decode, and the difference at its end is what its reader saw.
"""

from __future__ import annotations

from bisect import bisect_left

BOUNDS_S: tuple[float, ...] = tuple(
    [round(0.005 * i, 3) for i in range(1, 41)] + [round(0.2 * 1.12**i, 4) for i in range(1, 51)]
)
"""Upper bounds: every 5 ms up to 0.2 s, then 12 % apart up to about a minute."""


class Pauses:
    """Counts of pauses by bin; the last bin is open."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)

    def add(self, seconds: float, count: int = 1) -> None:
        """Count a pause."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += count

    def mark(self) -> list[int]:
        """Return the counts of now."""
        return self.counts.copy()

    def since(self, mark: list[int]) -> list[int]:
        """Return what was counted since a mark."""
        return [now - then for now, then in zip(self.counts, mark, strict=True)]


def pairs(counts: list[int]) -> tuple[tuple[float, int], ...]:
    """Return (upper bound in seconds, how often) of the bins that are not empty."""
    last = (*BOUNDS_S, 2.0 * BOUNDS_S[-1])
    return tuple((last[i], count) for i, count in enumerate(counts) if count)
