"""Aggregation operators: ``sum by (x) (...)`` and its family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql.ranges import quantile_columns
from aiopslab.telemetry.promql.values import (
    Bools,
    Floats,
    Grouping,
    Groups,
    LabelSets,
    QueryError,
    Value,
    Vector,
)

Reduce = Callable[[Vector, Groups], Floats]


def aggregate(operator: str, vector: Vector, grouping: Grouping, parameter: Value | None) -> Vector:
    """Apply an aggregation operator.

    Raises:
        QueryError: The operator is not supported or its parameter has the wrong type.
    """
    if operator not in _KNOWN:
        raise QueryError(f"aggregation {operator!r} is not supported")
    groups = vector.labels.group(grouping)
    if not len(vector.labels):
        return vector
    if operator in ("topk", "bottomk"):
        return _first(vector, groups, _number(operator, parameter), largest=operator == "topk")
    if operator == "count_values":
        if not isinstance(parameter, str):
            raise QueryError("count_values needs a label name as its first argument")
        return _count_values(vector, groups, parameter)
    present = _add(vector.present.astype(np.float64), groups) > 0
    if operator == "quantile":
        values = _quantile(vector, groups, _number(operator, parameter))
    else:
        values = _REDUCE[operator](vector, groups)
    return Vector(groups.labels, values, present)


def _add(values: Floats, groups: Groups) -> Floats:
    total: Floats = np.add.reduceat(values[groups.order], groups.starts, axis=0)
    return total


def _sum(v: Vector, groups: Groups) -> Floats:
    return _add(np.where(v.present, v.values, 0.0), groups)


def _count(v: Vector, groups: Groups) -> Floats:
    return _add(v.present.astype(np.float64), groups)


def _avg(v: Vector, groups: Groups) -> Floats:
    mean: Floats = _sum(v, groups) / np.maximum(_count(v, groups), 1.0)
    return mean


def _variance(v: Vector, groups: Groups) -> Floats:
    away = v.values - _avg(v, groups)[groups.of]
    squares = _add(np.where(v.present, away * away, 0.0), groups)
    variance: Floats = squares / np.maximum(_count(v, groups), 1.0)
    return variance


def _extreme(v: Vector, groups: Groups, pick: np.ufunc) -> Floats:
    # fmin and fmax pass over NaN, which is what Prometheus does with NaN samples too.
    masked = np.where(v.present, v.values, np.nan)[groups.order]
    result: Floats = pick.reduceat(masked, groups.starts, axis=0)
    return result


_REDUCE: dict[str, Reduce] = {
    "sum": _sum,
    "count": _count,
    "avg": _avg,
    "min": lambda v, g: _extreme(v, g, np.fmin),
    "max": lambda v, g: _extreme(v, g, np.fmax),
    "group": lambda v, g: np.ones((len(g.labels), v.values.shape[1])),
    "stddev": lambda v, g: np.sqrt(_variance(v, g)),
    "stdvar": _variance,
}
_KNOWN = {*_REDUCE, "topk", "bottomk", "count_values", "quantile"}


def _quantile(v: Vector, groups: Groups, q: Floats) -> Floats:
    values = np.empty((len(groups.labels), v.values.shape[1]))
    for group in range(len(groups.labels)):
        rows = groups.rows(group)
        for step, share in enumerate(q.tolist()):
            column = slice(step, step + 1)
            values[group, column] = quantile_columns(
                share, v.values[rows, column], v.present[rows, column]
            )
    return values


def _first(v: Vector, groups: Groups, k: Floats, *, largest: bool) -> Vector:
    """Keep the k largest or smallest of each group; at one step also bring them in order."""
    present = np.zeros_like(v.present)
    order: list[int] = []
    sign = -1.0 if largest else 1.0
    for group in range(len(groups.labels)):
        rows = groups.rows(group)
        # Absent rows and NaN sort last.
        keys = np.where(v.present[rows], sign * v.values[rows], np.nan)
        ranked = np.argsort(keys, axis=0, kind="stable")
        ranks = np.argsort(ranked, axis=0, kind="stable")
        present[rows] = v.present[rows] & (ranks < np.maximum(k, 0))
        order.extend(rows[ranked[:, 0]].tolist())
    if v.values.shape[1] != 1:
        return Vector(v.labels, v.values, present)
    return reordered(v, np.array(order), present)


def reordered(v: Vector, order: np.ndarray[tuple[int], np.dtype[np.int64]], mask: Bools) -> Vector:
    """Return the rows that are present under the mask, in the given order."""
    kept = order[mask[order].any(axis=1)]
    labels = LabelSets(v.labels.sets[i] for i in kept.tolist())
    return Vector(labels, v.values[kept], mask[kept])


def _count_values(v: Vector, groups: Groups, label: str) -> Vector:
    steps = v.values.shape[1]
    rows: dict[Labels, Floats] = {}
    for row, step in np.argwhere(v.present).tolist():
        base = dict(groups.labels.sets[groups.of[row]])
        base[label] = f"{v.values[row, step]:g}"
        rows.setdefault(tuple(sorted(base.items())), np.zeros(steps))[step] += 1.0
    if not rows:
        return Vector.empty(steps)
    values = np.array(list(rows.values()))
    return Vector(LabelSets(rows), values, values > 0)


def _number(operator: str, parameter: Value | None) -> Floats:
    if not isinstance(parameter, np.ndarray):
        raise QueryError(f"{operator} needs a number as its first argument")
    return parameter
