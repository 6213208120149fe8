"""The PromQL engine: parse, walk the tree, return series.

Parsing is promql-parser's. Evaluation follows Prometheus 3 (left-open windows, lookback 300 s).
Not supported, and said so: native histograms, ``limitk``, ``or`` inside selectors, experimental
functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import promql_parser as ast

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql import aggregates, binary, functions
from aiopslab.telemetry.promql.answers import Answer, Kind
from aiopslab.telemetry.promql.selectors import Selectors
from aiopslab.telemetry.promql.values import (
    Floats,
    Grouping,
    QueryError,
    RangeVector,
    Value,
    Vector,
    collapse,
)
from aiopslab.telemetry.rows import Series
from aiopslab.telemetry.samples import SampleTable, present

MAX_POINTS = 11_000
"""Steps of a range query; Prometheus' own limit."""
MAX_LENGTH = 4_000
"""Characters of a query; the parser's recursion is native code and has no other bound."""
_SUBQUERY_STEP_S = 30.0
_ALL = Grouping(by=True)
_EVERYTHING = '{__name__!=""}'


class Engine:
    """Evaluates queries over a sample table."""

    def __init__(self, table: SampleTable) -> None:
        self._selectors = Selectors(table)

    def instant(self, query: str, at: float) -> list[Series]:
        """Evaluate at an instant: one point a series; a scalar is a series without labels.

        Raises:
            QueryError: Malformed, not supported or ambiguous.
        """
        return _series(self._evaluate(query, np.array([at])), np.array([at]))

    def query(self, query: str, at: float) -> Answer:
        """Evaluate at an instant; a range selector gives its raw samples. Raises QueryError."""
        steps = np.array([at])
        value = self._evaluate(query, steps)
        if isinstance(value, str):
            return Answer("string", [], value)
        if isinstance(value, RangeVector):
            return Answer("matrix", _samples(value))
        kind: Kind = "vector" if isinstance(value, Vector) else "scalar"
        return Answer(kind, _series(value, steps))

    def query_range(self, query: str, start: float, end: float, step: float) -> Answer:
        """Evaluate over a range, as ``range``; always a matrix. Raises QueryError."""
        return Answer("matrix", self.range(query, start, end, step))

    def series(
        self, matchers: Sequence[str], start: float = -math.inf, end: float = math.inf
    ) -> list[dict[str, str]]:
        """Return the label sets that any selector matches and that have samples in the range.

        Raises:
            QueryError: A matcher is no instant selector.
        """
        return [dict(labels) for labels in self._found(matchers, start, end)]

    def label_names(
        self, matchers: Sequence[str] = (), start: float = -math.inf, end: float = math.inf
    ) -> list[str]:
        """Return the sorted label names of such series; without matchers of all."""
        found = self._found(matchers or (_EVERYTHING,), start, end)
        return sorted({name for labels in found for name, _ in labels})

    def label_values(
        self,
        name: str,
        matchers: Sequence[str] = (),
        start: float = -math.inf,
        end: float = math.inf,
    ) -> list[str]:
        """Return the sorted values that a label has on such series; without matchers on all."""
        found = self._found(matchers or (_EVERYTHING,), start, end)
        return sorted({value for labels in found for key, value in labels if key == name})

    def _found(self, matchers: Sequence[str], start: float, end: float) -> list[Labels]:
        selectors = []
        for text in matchers:
            selector = parse(text)
            if not isinstance(selector, ast.VectorSelector):
                raise QueryError(f"{text!r} is not a series selector")
            selectors.append(selector)
        return self._selectors.with_samples(selectors, start, end)

    def vector(self, query: str, at: float) -> Vector:
        """Evaluate at an instant, without making series of it; rules need this. Raises QueryError.

        The vector has one step.
        """
        value = self._evaluate(query, np.array([at]))
        return value if isinstance(value, Vector) else _as_vector(value)

    def range(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Evaluate at ``start, start + step, ... <= end``; series are sorted by labels.

        Raises:
            QueryError: As ``instant``; also for a step that is not positive or too many points.
        """
        if step <= 0:
            raise QueryError(f"step must be positive, not {step:g}")
        if (end - start) / step >= MAX_POINTS:
            raise QueryError(f"more than {MAX_POINTS} points; choose a step above {step:g} s")
        if end < start:
            raise QueryError("the end of the range lies before its start")
        steps: Floats = start + step * np.arange(int((end - start) // step) + 1, dtype=np.float64)
        found = _series(self._evaluate(query, steps), steps)
        return sorted(found, key=lambda s: tuple(sorted(s.labels.items())))

    def _evaluate(self, query: str, steps: Floats) -> Value:
        try:
            # To divide by zero or take logarithms of nothing is a legitimate question: NaN.
            with np.errstate(all="ignore"):
                return _Evaluation(self._selectors, steps, steps).value(parse(query))
        except RecursionError as error:
            raise QueryError("the query is nested too deeply") from error


@lru_cache(maxsize=512)
def parse(query: str) -> ast.Expr:
    """Parse a query.

    Raises:
        QueryError: With the parser's words, or longer than :data:`MAX_LENGTH`.
    """
    if len(query) > MAX_LENGTH:
        raise QueryError(f"the query is longer than {MAX_LENGTH} characters")
    try:
        return ast.parse(query)
    except ValueError as error:
        raise QueryError(f"{query!r} cannot be parsed: {error}") from error


class _Evaluation:
    """One walk over a tree for given steps."""

    def __init__(self, selectors: Selectors, steps: Floats, outer: Floats) -> None:
        self._selectors = selectors
        self._steps = steps
        self._outer = outer
        """Steps of the whole query, for ``@ start()`` and ``@ end()`` inside subqueries."""

    def value(self, node: ast.Expr) -> Value:
        """Evaluate a node at all steps."""
        match node:
            case ast.ParenExpr():
                return self.value(node.expr)
            case ast.NumberLiteral():
                return np.full(len(self._steps), float(node.val))
            case ast.StringLiteral():
                return str(node.val)
            case ast.VectorSelector():
                return self._selectors.instant(node, self._ends(node))[0]
            case ast.MatrixSelector():
                selector = node.vector_selector
                window = node.range.total_seconds()
                return self._selectors.windows(selector, self._ends(selector), window)
            case ast.SubqueryExpr():
                return self._subquery(node)
            case ast.UnaryExpr():
                return self._negated(node)
            case ast.Call():
                return self._call(node)
            case ast.AggregateExpr():
                return self._aggregate(node)
            case ast.BinaryExpr():
                left, right = self.value(node.lhs), self.value(node.rhs)
                return binary.evaluate(_operation(node), left, right)
            case _:
                raise QueryError(f"{type(node).__name__} is not supported")

    def _ends(self, node: ast.VectorSelector | ast.SubqueryExpr) -> Floats:
        """Return the evaluation times of a selector after ``@`` and ``offset``."""
        ends = self._steps
        if node.at is not None:
            if node.at.type == ast.AtModifierType.At:
                fixed = _timestamp(node.at)
            else:
                at_start = node.at.type == ast.AtModifierType.Start
                fixed = float(self._outer[0 if at_start else -1])
            ends = np.full(len(ends), fixed)
        return ends - node.offset.total_seconds() if node.offset else ends

    def _subquery(self, node: ast.SubqueryExpr) -> RangeVector:
        if node.range is None:
            raise QueryError("a subquery needs a range; write for example expression[5m:30s]")
        ends, window = self._ends(node), node.range.total_seconds()
        step = node.step.total_seconds() if node.step else _SUBQUERY_STEP_S
        # Steps of a subquery lie on multiples of its step, whatever the query's own are.
        first, last = np.floor((ends.min() - window) / step) + 1, np.floor(ends.max() / step)
        if last - first >= MAX_POINTS:
            raise QueryError(f"more than {MAX_POINTS} points in a subquery; use a longer step")
        grid = step * np.arange(first, last + 1)
        inner = _Evaluation(self._selectors, grid, self._outer).value(node.expr)
        vector = inner if isinstance(inner, Vector) else _as_vector(inner)
        samples = np.where(vector.present, vector.values, np.nan).T
        return RangeVector.over(vector.labels, grid, samples, ends, window)

    def _negated(self, node: ast.UnaryExpr) -> Value:
        value = self.value(node.expr)
        if isinstance(value, Vector):
            return value.unnamed(-value.values)
        if isinstance(value, np.ndarray):
            return -value
        raise QueryError("unary minus needs an instant vector or a scalar")

    def _call(self, node: ast.Call) -> Value:
        name = node.func.name
        if name == "timestamp" and isinstance(node.args[0], ast.VectorSelector):
            vector, times = self._selectors.instant(node.args[0], self._ends(node.args[0]))
            return vector.unnamed(np.broadcast_to(times, vector.values.shape))
        return functions.call(name, [self.value(a) for a in node.args], self._steps)

    def _aggregate(self, node: ast.AggregateExpr) -> Value:
        vector = self.value(node.expr)
        if not isinstance(vector, Vector):
            raise QueryError(f"{node.op} needs an instant vector")
        grouping = _ALL
        if node.modifier is not None:
            by = node.modifier.type == ast.AggModifierType.By
            grouping = Grouping(by=by, names=tuple(node.modifier.labels))
        parameter = None if node.param is None else self.value(node.param)
        return aggregates.aggregate(str(node.op), vector, grouping, parameter)


def _timestamp(at: ast.AtModifier) -> float:
    """Return the time of an ``@``; the parser hands on times that no date can hold."""
    try:
        moment = at.at
        if moment is None:
            raise ValueError("it has no time")
        return moment.timestamp()
    except (ValueError, OverflowError) as error:
        raise QueryError(f"the time of @ is out of range: {error}") from error


def _operation(node: ast.BinaryExpr) -> binary.Operation:
    modifier = node.modifier
    if modifier is None:
        return binary.Operation(str(node.op), Grouping(by=False))
    matching = Grouping(by=False)
    if modifier.matching is not None:
        on = modifier.matching.type == ast.LabelModifierType.Include
        matching = Grouping(by=on, names=tuple(modifier.matching.labels))
    group: Literal["", "left", "right"] = ""
    if modifier.card == ast.VectorMatchCardinality.ManyToOne:
        group = "left"
    elif modifier.card == ast.VectorMatchCardinality.OneToMany:
        group = "right"
    include = tuple(modifier.group_labels or ())
    return binary.Operation(str(node.op), matching, group, include, bool(modifier.return_bool))


def _as_vector(value: Value) -> Vector:
    if not isinstance(value, np.ndarray):
        raise QueryError("the query must give an instant vector or a number")
    return functions.from_scalar(value)


def _series(value: Value, steps: Floats) -> list[Series]:
    if isinstance(value, RangeVector):
        raise QueryError("a range vector cannot be shown; apply a function such as rate(...)")
    vector = value if isinstance(value, Vector) else _as_vector(value)
    groups = vector.labels.distinct()
    # Series that come after each other under the same labels (a name was dropped) become one.
    values, present, count = collapse(vector.values, vector.present, groups)
    if (count > 1).any():
        raise QueryError("the result has several series with the same labels; aggregate them")
    found = []
    for row in np.flatnonzero(present.any(axis=1)).tolist():
        mask = present[row]
        points = list(zip(steps[mask].tolist(), values[row][mask].tolist(), strict=True))
        found.append(Series(labels=dict(groups.labels.sets[row]), points=points))
    return found


def _samples(r: RangeVector) -> list[Series]:
    """Return the raw samples of a single window."""
    found = []
    for column, labels in enumerate(r.labels.sets):
        rows = np.arange(r.lo[0], r.hi[0])
        rows = rows[present(r.values[rows, column])]
        if len(rows):
            points = zip(r.times[rows].tolist(), r.values[rows, column].tolist(), strict=True)
            found.append(Series(labels=dict(labels), points=list(points)))
    return sorted(found, key=lambda s: tuple(sorted(s.labels.items())))
