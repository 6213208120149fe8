"""Series of numbers over time as text and as JSON values, alike for PromQL and LogQL.

Not here: the queries (``metrics``, ``logs``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aiopslab.environments.protocol import Series
from aiopslab.tools.tables import selector, show, table
from aiopslab.tools.times import clock_time

SPELT_OUT = 4
"""Up to this many series, every point is printed."""


def values_text(series: Sequence[Series]) -> list[str]:
    """Print the one value of each series of an instant answer."""
    return [f"{selector(s.labels)} {show(s.points[-1][1])}" for s in series if s.points]


def values_data(series: Sequence[Series]) -> list[dict[str, Any]]:
    """Return the one value of each series of an instant answer."""
    return [{"labels": dict(s.labels), "value": _json(s.points[-1][1])} for s in series if s.points]


def range_text(series: Sequence[Series]) -> list[str]:
    """Print minimum, mean, maximum and last value, and every point of a few series."""
    rows = []
    for s in series:
        values = [v for _, v in s.points if not math.isnan(v)]
        if values:
            mean = math.fsum(values) / len(values)
            rows.append([min(values), mean, max(values), values[-1], selector(s.labels)])
        else:
            rows.append([None, None, None, None, selector(s.labels)])
    lines = [table(["min", "mean", "max", "last", "series"], rows)]
    if len(series) <= SPELT_OUT:
        lines += [_points(s) for s in series]
    return lines


def range_data(series: Sequence[Series]) -> list[dict[str, Any]]:
    """Return every point of every series."""
    return [
        {"labels": dict(s.labels), "points": [[t, _json(v)] for t, v in s.points]} for s in series
    ]


def _points(series: Series) -> str:
    shown = " ".join(f"{clock_time(t)}={show(v)}" for t, v in series.points)
    return f"{selector(series.labels)}\n  {shown}"


def _json(value: float) -> float | None:
    """JSON knows neither NaN nor infinities."""
    return value if math.isfinite(value) else None
