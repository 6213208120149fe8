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
from aiopslab.telemetry.promql.matching import Regex
from aiopslab.telemetry.promql.values import (
    Budget,
    Ints,
    LabelSets,
    QueryError,
    RangeVector,
    Vector,
    milliseconds,
)
from aiopslab.telemetry.samples import NAME, SampleTable, present

LOOKBACK_MS = 300_000
_REMEMBERED = 256
_OPERATORS = {
    "MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~",
}  # fmt: skip
Matcher = tuple[str, str, str]
"""Label, operator (``= != =~ !~``), value."""


@dataclass(slots=True)
class _Selection:
    """Series found so far for a selector."""

    predicate: _Predicate
    scanned: int = 0
    columns: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    labels: LabelSets = field(default_factory=lambda: LabelSets([]))


class Selectors:
    """Looks selectors up in a sample table."""

    def __init__(self, table: SampleTable) -> None:
        self._table = table
        self._known: dict[tuple[str, tuple[Matcher, ...]], _Selection] = {}

    def instant(
        self, selector: ast.VectorSelector, ends: Ints, budget: Budget
    ) -> tuple[Vector, Ints]:
        """Return the newest sample of each series not older than the lookback, and its times."""
        found = self._select(selector)
        times = milliseconds(self._table.times())
        if not len(times):
            return Vector.empty(len(ends)), ends
        rows = np.searchsorted(times, ends, side="right") - 1
        known = rows >= 0
        rows = np.maximum(rows, 0)
        known &= times[rows] > ends - LOOKBACK_MS
        budget.spend(len(found.columns) * len(ends))
        # A series without sample in the newest round is stale, so one row answers for all.
        values = self._table.values()[rows[:, None], found.columns].T
        return Vector(found.labels, values, present(values) & known), times[rows]

    def windows(
        self, selector: ast.VectorSelector, ends: Ints, window: int, budget: Budget
    ) -> RangeVector:
        """Return the samples in the windows of ``window`` ms that end at ``ends``."""
        found = self._select(selector)
        times = milliseconds(self._table.times())
        first = int(np.searchsorted(times, ends.min() - window, side="right"))
        last = int(np.searchsorted(times, ends.max(), side="right"))
        budget.spend(len(found.columns) * max(last - first, len(ends)))
        values = self._table.values()[first:last, found.columns]
        samples = (times[first:last], values, present(values))
        return RangeVector.over(found.labels, samples, ends, window, budget)

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
        # The least recently used selector is forgotten: agents make up new ones without end.
        found = self._known.pop((name, matchers), None) or _Selection(_Predicate.of(matchers))
        self._known[name, matchers] = found
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        labels = self._table.labels
        total = len(self._table.columns_named(name)) if name else len(labels)
        if total > found.scanned:
            candidates = (
                self._table.columns_named(name)[found.scanned :]
                if name
                else list(range(found.scanned, total))
            )
            for regex in found.predicate.regexes:
                regex.renew()
            fresh = [c for c in candidates if found.predicate.holds(dict(labels[c]))]
            if fresh:
                found.columns = np.concatenate([found.columns, np.array(fresh, np.int64)])
                sets: list[Labels] = [*found.labels.sets, *(labels[c] for c in fresh)]
                found.labels = LabelSets(sets)
            found.scanned = total
        return found


def equalities(selector: ast.VectorSelector) -> Labels:
    """Return the labels that a selector fixes by one ``=`` and nothing else: those of ``absent``.

    See ``createLabelsForAbsentFunction`` in Prometheus' ``promql/functions.go``.
    """
    fixed: dict[str, str] = {}
    spoilt = {NAME}
    for name, operator, value in _matchers(selector)[0]:
        if operator == "=" and name not in fixed:
            fixed[name] = value
        else:
            spoilt.add(name)
    return tuple(sorted((n, v) for n, v in fixed.items() if n not in spoilt and v))


def _matchers(selector: ast.VectorSelector) -> tuple[tuple[Matcher, ...], str]:
    """Return the matchers and the metric name, where an equality fixes it."""
    if selector.matchers.or_matchers:
        raise QueryError("'or' between label matchers is not supported")
    found = [(m.name, _OPERATORS[str(m.op)], m.value) for m in selector.matchers.matchers]
    name = selector.name or next((v for n, op, v in found if (n, op) == (NAME, "=")), "")
    return tuple(m for m in found if m != (NAME, "=", name)), name


@dataclass(slots=True)
class _Predicate:
    """All matchers of a selector."""

    tests: list[tuple[str, Callable[[str], object], bool]] = field(default_factory=list)
    """Label, test of its value, and which outcome is wanted."""
    regexes: list[Regex] = field(default_factory=list)

    @staticmethod
    def of(matchers: Sequence[Matcher]) -> _Predicate:
        """Prepare matchers; raises QueryError for a malformed regex."""
        made = _Predicate()
        for name, operator, value in matchers:
            if operator in ("=", "!="):
                made.tests.append((name, value.__eq__, operator == "="))
                continue
            try:
                regex = Regex(value)
            except re.error as error:
                raise QueryError(
                    f"regex {value!r} of label {name!r} is malformed: {error}"
                ) from error
            made.regexes.append(regex)
            made.tests.append((name, regex.match, operator == "=~"))
        return made

    def holds(self, labels: dict[str, str]) -> bool:
        """Tell whether a label set matches; a label that is missing is empty."""
        return all(bool(test(labels.get(name, ""))) is wanted for name, test, wanted in self.tests)
