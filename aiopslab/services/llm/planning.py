"""How many engines, and which: a forecast by the hour of the day, and the cheapest sufficient set.

After SageServe: the load of past weeks by local hour is the forecast; an integer program finds the
engines that carry it at the least cost, one in every region where possible. The pool is small, so
the program is solved by looking at every subset. Not here: carrying the plan out (``autoscaler``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

HOURS = 24
_OFFSET = re.compile(r"([+-])([01]\d):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Unit:
    """An engine of the pool."""

    name: str
    region: str
    tps: float
    """Tokens a second it carries inside the promises."""
    cost: float
    """Of an hour, relative to the dearest kind."""


def offset_s(text: str) -> float:
    """Read an offset from UTC as ISO 8601 writes it, in seconds.

    Raises:
        ValueError: It is none.

    >>> offset_s("+02:00"), offset_s("-07:00")
    (7200.0, -25200.0)
    """
    found = _OFFSET.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no offset such as +02:00")
    seconds = int(found[2]) * 3600.0 + int(found[3]) * 60.0
    return -seconds if found[1] == "-" else seconds


def local_hour(now: float, offset: float) -> int:
    """Return the hour of the day at an offset from UTC."""
    return int((now + offset) // 3600.0) % HOURS


def forecast(profile: Sequence[float], now: float, offset: float) -> float:
    """Return the tokens a second that past weeks had at this time of the day.

    Hours are means over themselves, so the value of an hour holds in its middle; between two
    middles it is interpolated.
    """
    at = ((now + offset) / 3600.0 - 0.5) % HOURS
    first = int(at)
    share = at - first
    return profile[first] * (1.0 - share) + profile[(first + 1) % HOURS] * share


def plan(
    units: Sequence[Unit], need: float, *, least: int, most: int, running: Sequence[str] = ()
) -> list[str]:
    """Return the engines to run, in the order of the pool.

    Args:
        units: The pool.
        need: Tokens a second to carry.
        least: Engines at least.
        most: Engines at most; with them all where even they do not suffice.
        running: Engines that run: they win where the cost is the same.
    """
    regions = {u.region for u in units}
    most = min(most, len(units))
    best: tuple[float, ...] | None = None
    chosen: tuple[Unit, ...] = ()
    for count in range(min(least, most), most + 1):
        for subset in combinations(units, count):
            lacking = max(0.0, need - sum(u.tps for u in subset))
            bare = len(regions) - len({u.region for u in subset})
            moved = sum(u.name not in running for u in subset)
            rank = (lacking, float(bare), math.fsum(u.cost for u in subset), float(moved))
            if best is None or rank < best:
                best, chosen = rank, subset
    return [u.name for u in chosen]
