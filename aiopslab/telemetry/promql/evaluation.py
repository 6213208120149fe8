"""One walk over a syntax tree for given steps.

Evaluation follows Prometheus 3: left-open windows, lookback of five minutes. Not here: what the
outside asks for (``engine``), the operators and functions themselves.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import promql_parser as ast

from aiopslab.telemetry.promql import aggregates, binary, functions
from aiopslab.telemetry.promql.functions import Scope
from aiopslab.telemetry.promql.selectors import Selectors, equalities
from aiopslab.telemetry.promql.values import (
    Grouping,
    Ints,
    LabelSets,
    QueryError,
    RangeVector,
    Value,
    Vector,
    milliseconds,
)

MAX_POINTS = 11_000
"""Steps of a query or subquery; Prometheus' own limit."""
SUBQUERY_STEP_MS = 30_000
"""Step of a subquery that names none: the pace of rules, as with Prometheus."""
_RELABELLING = 200
"""What a label set costs that is changed, in values of a matrix."""
_ALL = Grouping(by=True)


class Evaluation:
    """Evaluates nodes at steps.

    Args:
        selectors: Where samples come from.
        scope: The steps and what the query may still touch.
    """

    def __init__(self, selectors: Selectors, scope: Scope) -> None:
        self._selectors = selectors
        self._scope = scope
        self._budget = scope.budget

    def value(self, node: ast.Expr) -> Value:
        """Evaluate a node at all steps.

        Raises:
            QueryError: Not supported, ambiguous or too much work.
        """
        value = self._value(node)
        if isinstance(value, Vector):
            self._budget.spend(value.values.size)
        return value

    def _value(self, node: ast.Expr) -> Value:
        match node:
            case ast.ParenExpr():
                return self.value(node.expr)
            case ast.NumberLiteral():
                return np.full(len(self._scope.steps), float(node.val))
            case ast.StringLiteral():
                return str(node.val)
            case ast.VectorSelector():
                return self._selectors.instant(node, self._ends(node), self._budget)[0]
            case ast.MatrixSelector():
                selector = node.vector_selector
                window = int(milliseconds(node.range.total_seconds()))
                return self._selectors.windows(selector, self._ends(selector), window, self._budget)
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
                return _checked(binary.evaluate(_operation(node), left, right, self._budget))
            case _:
                raise QueryError(f"{type(node).__name__} is not supported")

    def _ends(self, node: ast.VectorSelector | ast.SubqueryExpr) -> Ints:
        """Return the evaluation times of a selector after ``@`` and ``offset``."""
        ends = self._scope.steps
        if node.at is not None:
            if node.at.type == ast.AtModifierType.At:
                fixed = _timestamp(node.at)
            else:
                at_start = node.at.type == ast.AtModifierType.Start
                fixed = int(self._scope.outer[0 if at_start else -1])
            ends = np.full(len(ends), fixed)
        return ends - milliseconds(node.offset.total_seconds()) if node.offset else ends

    def _subquery(self, node: ast.SubqueryExpr) -> RangeVector:
        if node.range is None:
            raise QueryError("a subquery needs a range; write for example expression[5m:30s]")
        ends, window = self._ends(node), int(milliseconds(node.range.total_seconds()))
        step = SUBQUERY_STEP_MS
        if node.step:
            step = max(1, int(milliseconds(node.step.total_seconds())))
        # Steps of a subquery lie on multiples of its step, whatever the query's own are.
        first, last = int((ends.min() - window) // step) + 1, int(ends.max() // step)
        check_points(last - first)
        grid = step * np.arange(first, last + 1, dtype=np.int64)
        if not len(grid):
            nothing = np.empty((0, 0))
            samples = (grid, nothing, nothing.astype(bool))
            return RangeVector.over(LabelSets([]), samples, ends, window, self._budget)
        scope = Scope(grid, self._scope.outer, self._budget)
        inner = Evaluation(self._selectors, scope).value(node.expr)
        vector = (inner if isinstance(inner, Vector) else _as_vector(inner)).merged()
        samples = (grid, vector.values.T, vector.present.T)
        return RangeVector.over(vector.labels, samples, ends, window, self._budget)

    def _negated(self, node: ast.UnaryExpr) -> Value:
        value = self.value(node.expr)
        if isinstance(value, Vector):
            return _checked(value.unnamed(-value.values))
        if isinstance(value, np.ndarray):
            return -value
        raise QueryError("unary minus needs an instant vector or a scalar")

    def _call(self, node: ast.Call) -> Value:
        name = node.func.name
        if name == "timestamp" and isinstance(
            inner := _unwrapped(node.args[0]), ast.VectorSelector
        ):
            vector, times = self._selectors.instant(inner, self._ends(inner), self._budget)
            seconds = np.broadcast_to(times / 1000.0, vector.values.shape)
            return _checked(vector.unnamed(seconds))
        arguments = [self.value(a) for a in node.args]
        if name.startswith("label_") and isinstance(arguments[0], Vector):
            self._budget.spend(_RELABELLING * len(arguments[0].labels))
        value = functions.call(name, arguments, self._scope)
        if name in ("absent", "absent_over_time") and isinstance(value, Vector):
            return Vector(LabelSets([_absent_labels(node.args[0])]), value.values, value.present)
        return _checked(value)

    def _aggregate(self, node: ast.AggregateExpr) -> Value:
        vector = self.value(node.expr)
        if not isinstance(vector, Vector):
            raise QueryError(f"{node.op} needs an instant vector")
        grouping = _ALL
        if node.modifier is not None:
            by = node.modifier.type == ast.AggModifierType.By
            grouping = Grouping(by=by, names=tuple(node.modifier.labels))
        parameter = None if node.param is None else self.value(node.param)
        return aggregates.aggregate(str(node.op), vector, grouping, parameter, self._budget)


def check_points(count: float) -> None:
    """Refuse more steps than Prometheus would answer.

    Raises:
        QueryError: In Prometheus' words.
    """
    if count > MAX_POINTS:
        raise QueryError(
            f"exceeded maximum resolution of {MAX_POINTS:,} points per timeseries."
            " Try decreasing the query resolution (?step=XX)"
        )


def _checked(value: Value) -> Value:
    """Refuse a vector in which two series became the same."""
    if isinstance(value, Vector):
        value.merged()
    return value


def _unwrapped(node: ast.Expr) -> ast.Expr:
    while isinstance(node, ast.ParenExpr):
        node = node.expr
    return node


def _absent_labels(node: ast.Expr) -> tuple[tuple[str, str], ...]:
    node = _unwrapped(node)
    if isinstance(node, ast.MatrixSelector):
        node = node.vector_selector
    return equalities(node) if isinstance(node, ast.VectorSelector) else ()


def _timestamp(at: ast.AtModifier) -> int:
    """Return the time of an ``@``; the parser hands on times that no date can hold."""
    try:
        moment = at.at
        if moment is None:
            raise ValueError("it has no time")
        return int(milliseconds(moment.timestamp()))
    except (ValueError, OverflowError) as error:
        raise QueryError(f"timestamp out of bounds for @ modifier: {error}") from error


def _operation(node: ast.BinaryExpr) -> binary.Operation:
    modifier = node.modifier
    if modifier is None:
        return binary.Operation(str(node.op), Grouping(by=False))
    if modifier.fill_values is not None and (
        modifier.fill_values.lhs is not None or modifier.fill_values.rhs is not None
    ):
        raise QueryError("fill modifiers are not supported")
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
        raise QueryError("an instant vector or a scalar is needed here")
    return Vector.of_scalar(value)
