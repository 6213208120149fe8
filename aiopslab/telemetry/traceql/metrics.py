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
MAX_COMBINATIONS = 5_000_000
"""Of the values that the fields of ``by`` could have together."""
_STAGE = re.compile(
    r"(?P<search>.*\})\s*\|\s*(?P<operation>[a-z_]+)\s*\((?P<arguments>[^()]*)\)"
    r"\s*(?:by\s*\((?P<by>[^()]*)\))?\s*",
    re.DOTALL,
)
Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
_COUNTS = ("rate", "count_over_time")
_FOLDS: dict[str, Callable[[Floats, Ints, Ints], Floats]] = {
    "min_over_time": lambda values, starts, _: np.minimum.reduceat(values, starts),
    "max_over_time": lambda values, starts, _: np.maximum.reduceat(values, starts),
    "sum_over_time": lambda values, starts, _: np.add.reduceat(values, starts),
    "avg_over_time": lambda values, starts, counts: np.add.reduceat(values, starts) / counts,
}
"""Values in order of cells, where each cell starts, how many values it has."""
_QUANTILE = "quantile_over_time"


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
    there = np.isfinite(values)
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
    quantiles = stage.quantiles
    # Within a cell the values ascend where quantiles need it.
    order = np.lexsort((values, cell)) if quantiles else np.argsort(cell, kind="stable")
    cells, counts = _counted_up(cell)
    starts = np.cumsum(counts) - counts
    ordered = values[order]
    lines: list[tuple[dict[str, str], Floats]] = []
    if quantiles:
        lines = [({"p": f"{q:g}"}, _quantile(ordered, starts, counts, q)) for q in quantiles]
    elif len(cells):
        lines = [({}, _FOLDS[stage.operation](ordered, starts, counts))]
    found: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for number, (_, results) in enumerate(lines):
        for one, value in zip(cells.tolist(), results.tolist(), strict=True):
            group, interval = divmod(one, grid.count)
            found.setdefault((group, number), []).append((grid.end(interval), value))
    series = [Series({**sets[g], **lines[n][0]}, points) for (g, n), points in found.items()]
    return sorted(series, key=lambda s: sorted(s.labels.items()))


def _quantile(ordered: Floats, starts: Ints, counts: Ints, q: float) -> Floats:
    """Interpolate linearly between the two values around the rank, cell by cell."""
    rank = starts + q * (counts - 1)
    below = np.floor(rank).astype(np.int64)
    above = np.ceil(rank).astype(np.int64)
    between: Floats = ordered[below] + (ordered[above] - ordered[below]) * (rank - below)
    return between


def _groups(stage: Stage, fields: Fields, rows: Ints) -> tuple[list[dict[str, str]], Ints]:
    """Return the label set of each group, and the group of each row."""
    if not stage.by:
        return [{}], np.zeros(len(rows), np.int64)
    columns = [_texts(fields, name, rows) for name in stage.by]
    if math.prod(len(texts) for texts, _ in columns) > MAX_COMBINATIONS:
        raise QueryError("the fields of by() have too many values; group by fewer")
    key = np.zeros(len(rows), np.int64)
    for texts, codes in columns:
        key = key * len(texts) + codes
    kinds, _ = _counted_up(key)
    sets = []
    for kind in kinds.tolist():
        labels = {}
        for name, (texts, _) in zip(reversed(stage.by), reversed(columns), strict=True):
            kind, code = divmod(kind, len(texts))
            labels[name] = texts[code]
        sets.append({name: labels[name] for name in stage.by})
    place = np.zeros(int(kinds.max(initial=0)) + 1, np.int64)
    place[kinds] = np.arange(len(kinds))
    return sets, place[key]


def _counted_up(codes: Ints) -> tuple[Ints, Ints]:
    """Return the distinct codes, ascending, and how often each occurs; faster than sorting."""
    counts = np.bincount(codes)
    present = np.flatnonzero(counts)
    return present, counts[present]


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
