"""TraceQL metrics: numbers over time of the spans that a search finds.

``{ ... } | rate() by (resource.service.name)`` and its kin: ``count_over_time``, ``min``, ``max``,
``sum`` and ``avg_over_time`` of a measure, ``quantile_over_time``. Quantiles are exact, where Tempo
has powers of two. Second stages, histograms and ``compare`` are refused by name. Not here: the
search itself (``engine``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.rows import Series
from aiopslab.telemetry.traceql.fields import Fields
from aiopslab.telemetry.traceql.parser import MAX_LENGTH, field_of

MAX_POINTS = 11_000
"""Points of a series."""
MAX_SERIES = 1_000
_STAGE = re.compile(
    r"(?P<search>.*\})\s*\|\s*(?P<operation>[a-z_]+)\s*\((?P<arguments>[^()]*)\)"
    r"\s*(?:by\s*\((?P<by>[^()]*)\))?\s*",
    re.DOTALL,
)
_COUNTS = ("rate", "count_over_time")
_FOLDS: dict[str, Callable[[Any], float]] = {
    "min_over_time": np.min, "max_over_time": np.max, "sum_over_time": math.fsum,
    "avg_over_time": np.mean,
}  # fmt: skip
_QUANTILE = "quantile_over_time"
Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Stage:
    """A query in parts."""

    search: str
    operation: str
    measure: str
    """What is folded; empty where spans are counted."""
    quantiles: tuple[float, ...]
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Intervals ``(end - step, end]``, the first of which begins at ``start``."""

    start: float
    step: float
    count: int

    @staticmethod
    def over(start: float, end: float, step: float) -> Grid:
        """Lay intervals over a window.

        Raises:
            QueryError: The step is not positive, or there are too many intervals.
        """
        if not step > 0:
            raise QueryError("step must be greater than 0")
        if (end - start) / step > MAX_POINTS:
            raise QueryError(f"exceeded maximum resolution of {MAX_POINTS:,} points per series")
        return Grid(start, step, max(1, math.ceil((end - start) / step)))

    def place(self, times: Floats) -> Ints:
        """Return the interval of each time."""
        found: Ints = np.ceil((times - self.start) / self.step).astype(np.int64) - 1
        return np.clip(found, 0, self.count - 1)

    def end(self, interval: int) -> float:
        """Return when an interval ends, which is the time of its point."""
        return self.start + (interval + 1) * self.step


def split(query: str) -> Stage:
    """Take a metrics query apart.

    Raises:
        QueryError: It is none, or has a part that is not supported.
    """
    if len(query) > MAX_LENGTH:
        raise QueryError(f"the query is longer than {MAX_LENGTH} characters")
    parts = _STAGE.fullmatch(query)
    if parts is None:
        raise QueryError(
            "not a metrics query; write for example { status = error } | rate() by"
            " (resource.service.name)"
        )
    operation, words = parts["operation"], _words(parts["arguments"])
    by = tuple(_words(parts["by"] or ""))
    for name in by:
        if field_of(name) is None:
            raise QueryError(f"the field {name[:100]!r} is not supported in by()")
    if operation in _COUNTS:
        if words:
            raise QueryError(f"{operation}() takes no arguments")
        return Stage(parts["search"], operation, "", (), by)
    if operation not in _FOLDS and operation != _QUANTILE:
        raise QueryError(f"the operation {operation}() is not supported")
    if not words or field_of(words[0]) is None:
        raise QueryError(f"{operation}() needs a field such as duration")
    if operation != _QUANTILE:
        if len(words) > 1:
            raise QueryError(f"{operation}() takes one field")
        return Stage(parts["search"], operation, words[0], (), by)
    return Stage(parts["search"], operation, words[0], _quantiles(words[1:]), by)


def evaluate(stage: Stage, fields: Fields, rows: Ints, grid: Grid) -> list[Series]:
    """Fold the spans of a search.

    Args:
        stage: What to compute.
        fields: Of the table.
        rows: The spans that were found.
        grid: The intervals.

    Returns:
        Series sorted by labels; intervals without a span are 0 in counts and missing in folds.

    Raises:
        QueryError: More than ``MAX_SERIES``, or the measure is none.
    """
    sets, group = _groups(stage, fields, rows)
    if len(sets) * max(1, len(stage.quantiles)) > MAX_SERIES:
        raise QueryError(f"more than {MAX_SERIES} series; group by fewer fields")
    cell = group * grid.count + grid.place(fields.columns["start"][rows])
    if stage.operation in _COUNTS:
        return _counted(stage, sets, cell, grid)
    values = _measured(stage, fields, rows)
    there = ~np.isnan(values)
    return _folded(stage, sets, cell[there], values[there], grid)


def _counted(stage: Stage, sets: list[dict[str, str]], cell: Ints, grid: Grid) -> list[Series]:
    scale = 1.0 / grid.step if stage.operation == "rate" else 1.0
    counts = np.bincount(cell, minlength=len(sets) * grid.count).reshape(-1, grid.count) * scale
    times = [grid.end(i) for i in range(grid.count)]
    found = [
        Series(labels, list(zip(times, row.tolist(), strict=True)))
        for labels, row in zip(sets, counts, strict=True)
    ]
    return sorted(found, key=lambda s: sorted(s.labels.items()))


def _folded(
    stage: Stage, sets: list[dict[str, str]], cell: Ints, values: Floats, grid: Grid
) -> list[Series]:
    points: dict[tuple[int, float | None], list[tuple[float, float]]] = {}
    order = np.argsort(cell, kind="stable")
    cells, starts = np.unique(cell[order], return_index=True)
    for one, members in zip(cells.tolist(), np.split(values[order], starts[1:]), strict=False):
        group, interval = divmod(one, grid.count)
        for quantile in stage.quantiles or (None,):
            if quantile is None:
                value = float(_FOLDS[stage.operation](members))
            else:
                value = float(np.quantile(members, quantile))
            points.setdefault((group, quantile), []).append((grid.end(interval), value))
    found = []
    for (group, quantile), line in points.items():
        extra = {} if quantile is None else {"p": f"{quantile:g}"}
        found.append(Series({**sets[group], **extra}, line))
    return sorted(found, key=lambda s: sorted(s.labels.items()))


def _groups(stage: Stage, fields: Fields, rows: Ints) -> tuple[list[dict[str, str]], Ints]:
    """Return the label set of each group, and the group of each row."""
    if not stage.by:
        return [{}], np.zeros(len(rows), np.int64)
    columns = [_texts(fields, name, rows) for name in stage.by]
    stacked = np.stack([codes for _, codes in columns], axis=1)
    kinds, group = np.unique(stacked, axis=0, return_inverse=True)
    sets = [
        {name: texts[code] for name, (texts, _), code in zip(stage.by, columns, kind, strict=True)}
        for kind in kinds.tolist()
    ]
    return sets, group.reshape(-1).astype(np.int64)


def _texts(fields: Fields, name: str, rows: Ints) -> tuple[list[str], Ints]:
    """Return the distinct texts of a field, and for each row which it has."""
    scope, key = field_of(name) or ("any", name)
    field = fields.find(scope, key)
    if field is None:
        raise QueryError(f"spans cannot be grouped by the measure {name!r}")
    distinct: dict[str, int] = {}
    of_value = [distinct.setdefault(_text(value), len(distinct)) for value in field.values]
    return list(distinct), np.array(of_value or [0], np.int64)[field.codes[rows]]


def _text(value: object) -> str:
    if value is None:
        return "nil"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _measured(stage: Stage, fields: Fields, rows: Ints) -> Floats:
    """Return the measure of each row; NaN where a span has no such number."""
    scope, key = field_of(stage.measure) or ("any", stage.measure)
    seconds = fields.measure(key) if scope == "intrinsic" else None
    if seconds is not None:
        taken: Floats = seconds[rows]
        return taken
    field = fields.find(scope, key)
    assert field is not None, "what is no field is a measure"
    numbers = [
        float(v) if isinstance(v, int | float) and not isinstance(v, bool) else math.nan
        for v in field.values
    ]
    spread: Floats = np.array(numbers or [math.nan], np.float64)[field.codes[rows]]
    return spread


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")] if text.strip() else []


def _quantiles(words: list[str]) -> tuple[float, ...]:
    try:
        found = tuple(float(word) for word in words[:20])
    except ValueError as error:
        raise QueryError(f"quantiles are numbers from 0 to 1: {error}") from error
    if not found or not all(0.0 <= q <= 1.0 for q in found):
        raise QueryError("quantile_over_time() needs quantiles from 0 to 1")
    return found
