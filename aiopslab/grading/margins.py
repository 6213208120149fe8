"""From what single seeds showed to how far incidents are from their gates.

Pure functions of rows. Not here: how it is measured (``orchestrator.margins``).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from aiopslab.models.margin import Margin, MarginRow

ALLOWED = 1 / 200
"""Share of draws that may fail."""


def rows(margins: Iterable[Margin]) -> list[MarginRow]:
    """Sum up seeds, one row an incident, by name."""
    by_name: dict[str, list[Margin]] = {}
    for margin in margins:
        by_name.setdefault(margin.incident, []).append(margin)
    return [_row(name, found) for name, found in sorted(by_name.items())]


def acceptable(margins: Sequence[Margin]) -> bool:
    """Say whether at most one draw in 200 failed."""
    return sum(m.failed for m in margins) <= ALLOWED * len(margins)


def reason(margin: Margin) -> str:
    """Say why a draw failed; empty where it did not."""
    if margin.error is not None:
        return margin.error
    if margin.opened_s is None:
        return margin.seen
    return f"open in the twin: {margin.twin_seen}" if margin.twin_seen else ""


def beyond(margin: Margin) -> float | None:
    """Return how far beyond its bound the SLI that opens the gate is, in times the bound.

    The worst one; the best one of a gate that wants all of its clauses.
    """
    factors = [r.factor for r in margin.faulty if r.factor is not None]
    return (min if margin.every else max)(factors, default=None)


def short(margin: Margin) -> float | None:
    """Return how many times the SLI of the twin that is nearest to its bound goes into it.

    None where the gate names no SLI, and where none of them is even begun to be used up.
    """
    return min((1.0 / r.factor for r in margin.twin if r.factor), default=None)


def _row(name: str, margins: Sequence[Margin]) -> MarginRow:
    opened = [m.opened_s for m in margins if m.opened_s is not None]
    faulty = [factor for m in margins if (factor := beyond(m)) is not None]
    twin = [factor for m in margins if (factor := short(m)) is not None]
    return MarginRow(
        incident=name,
        seeds=len(margins),
        failures=sum(m.failed for m in margins),
        opened_median_s=statistics.median(opened) if opened else None,
        opened_max_s=max(opened, default=None),
        faulty_min=min(faulty, default=None),
        faulty_median=statistics.median(faulty) if faulty else None,
        twin_min=min(twin, default=None),
        digests=sorted({m.digest for m in margins}),
    )
