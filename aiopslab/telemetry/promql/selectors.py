"""Selectors: which series match, and their samples at the steps.

Matching a few thousand label sets costs milliseconds, so the outcome is remembered per selector and
only series that appeared since are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import promql_parser as ast

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql.values import (
    Floats,
    Ints,
    LabelSets,
    QueryError,
    RangeVector,
    Vector,
)
from aiopslab.telemetry.regex import compile_bounded
from aiopslab.telemetry.samples import NAME, SampleTable, present

LOOKBACK_S = 300.0
MAX_SAMPLES = 10_000_000
"""Values one selector may bring into memory at once; Prometheus allows 50 million."""
_OPERATORS = {
    "MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~",
}  # fmt: skip
Matcher = tuple[str, str, str]
"""Label, operator (``= != =~ !~``), value."""


@dataclass(slots=True)
class _Selection:
    """Series found so far for a selector."""

    matches: Callable[[dict[str, str]], bool]
    scanned: int = 0
    columns: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    labels: LabelSets = field(default_factory=lambda: LabelSets([]))


class Selectors:
    """Looks selectors up in a sample table."""

    def __init__(self, table: SampleTable) -> None:
        self._table = table
        self._known: dict[tuple[str, tuple[Matcher, ...]], _Selection] = {}

    def instant(self, selector: ast.VectorSelector, ends: Floats) -> tuple[Vector, Floats]:
        """Return the newest sample of each series not older than the lookback, and its times."""
        found = self._select(selector)
        times = self._table.times()
        rows = np.searchsorted(times, ends, side="right") - 1
        known = rows >= 0
        rows = np.maximum(rows, 0)
        if not len(times):
            return Vector.empty(len(ends)), ends
        known &= times[rows] > ends - LOOKBACK_S
        limit_samples(len(found.columns) * len(ends))
        # A series without sample in the newest round is stale, so one row answers for all.
        values = self._table.values()[rows[:, None], found.columns].T
        return Vector(found.labels, values, ~np.isnan(values) & known), times[rows]

    def windows(self, selector: ast.VectorSelector, ends: Floats, window: float) -> RangeVector:
        """Return the samples in the windows that end at ``ends``."""
        found = self._select(selector)
        times = self._table.times()
        first = int(np.searchsorted(times, ends.min() - window, side="right"))
        last = int(np.searchsorted(times, ends.max(), side="right"))
        limit_samples(len(found.columns) * max(last - first, len(ends)))
        values = self._table.values()[first:last, found.columns]
        return RangeVector.over(found.labels, times[first:last], values, ends, window)

    def with_samples(
        self, selectors: Sequence[ast.VectorSelector], start: float, end: float
    ) -> list[Labels]:
        """Return the sorted label sets that any selector matches, with a sample in [start, end]."""
        times = self._table.times()
        first = int(np.searchsorted(times, start, side="left"))
        last = int(np.searchsorted(times, end, side="right"))
        found: set[Labels] = set()
        for selector in selectors:
            selection = self._select(selector)
            there = present(self._table.values()[first:last, selection.columns]).any(axis=0)
            found.update(selection.labels.sets[i] for i in np.flatnonzero(there).tolist())
        return sorted(found)

    def _select(self, selector: ast.VectorSelector) -> _Selection:
        matchers, name = _matchers(selector)
        found = self._known.get((name, matchers))
        if found is None:
            found = self._known[name, matchers] = _Selection(_predicate(matchers))
        labels = self._table.labels
        total = len(self._table.columns_named(name)) if name else len(labels)
        if total > found.scanned:
            candidates = (
                self._table.columns_named(name)[found.scanned :]
                if name
                else list(range(found.scanned, total))
            )
            fresh = [c for c in candidates if found.matches(dict(labels[c]))]
            if fresh:
                found.columns = np.concatenate([found.columns, np.array(fresh, np.int64)])
                sets: list[Labels] = [*found.labels.sets, *(labels[c] for c in fresh)]
                found.labels = LabelSets(sets)
            found.scanned = total
        return found


def limit_samples(count: int) -> None:
    """Refuse what would take the memory of the machine.

    Raises:
        QueryError: More than :data:`MAX_SAMPLES`.
    """
    if count > MAX_SAMPLES:
        raise QueryError(
            f"the query would load {count} samples, more than {MAX_SAMPLES}; select fewer series,"
            " a shorter range or a longer step"
        )


def _matchers(selector: ast.VectorSelector) -> tuple[tuple[Matcher, ...], str]:
    """Return the matchers and the metric name, where an equality fixes it."""
    if selector.matchers.or_matchers:
        raise QueryError("'or' between label matchers is not supported")
    found = [(m.name, _OPERATORS[str(m.op)], m.value) for m in selector.matchers.matchers]
    name = selector.name or next((v for n, op, v in found if (n, op) == (NAME, "=")), "")
    return tuple(m for m in found if m != (NAME, "=", name)), name


def _predicate(matchers: tuple[Matcher, ...]) -> Callable[[dict[str, str]], bool]:
    tests: list[tuple[str, Callable[[str], object], bool]] = []
    for name, operator, value in matchers:
        if operator in ("=", "!="):
            tests.append((name, value.__eq__, operator == "="))
            continue
        try:
            tests.append((name, compile_bounded(value).fullmatch, operator == "=~"))
        except re.error as error:
            raise QueryError(f"regex {value!r} of label {name!r} is malformed: {error}") from error
    return lambda labels: all(
        bool(test(labels.get(name, ""))) is wanted for name, test, wanted in tests
    )
