"""Aggregation operators: ``sum by (x) (...)`` and its family."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql.answers import format_plain
from aiopslab.telemetry.promql.labelling import check_label_name
from aiopslab.telemetry.promql.values import (
    Bools,
    Budget,
    Floats,
    Grouping,
    Groups,
    Ints,
    LabelSets,
    QueryError,
    Value,
    Vector,
)
from aiopslab.telemetry.promql.windows import quantile

Reduce = Callable[[Vector, Groups], Floats]
_INT64 = 2.0**63
_COST = 300
"""What a label set costs that is made for one value, in values of a matrix."""


def aggregate(
    operator: str, vector: Vector, grouping: Grouping, parameter: Value | None, budget: Budget
) -> Vector:
    """Apply an aggregation operator.

    Raises:
        QueryError: The operator is not supported or its parameter is not acceptable.
    """
    if operator == "count_values":
        if not isinstance(parameter, str):
            raise QueryError("count_values needs a label name as its first argument")
        check_label_name(parameter)
        return _count_values(vector, grouping, parameter, budget)
    if operator in _SELECTIVE:
        if not isinstance(parameter, np.ndarray):
            raise QueryError(f"{operator} needs a scalar as its first argument")
        return _SELECTIVE[operator](vector, vector.labels.group(grouping), parameter)
    if operator not in _REDUCE:
        raise QueryError(f"aggregation {operator!r} is not supported")
    if not len(vector.labels):
        return vector
    groups = vector.labels.group(grouping)
    present = _add(vector.present.astype(np.float64), groups) > 0
    return Vector(groups.labels, _REDUCE[operator](vector, groups), present)


def _counts(number: Floats) -> Floats:
    """Check the ``k`` of every step, in Prometheus' words."""
    if (number < 1).all():
        return np.zeros_like(number)
    if np.isnan(number).any():
        raise QueryError("Parameter value is NaN")
    for bad, word in ((number <= -_INT64, "underflows"), (number >= _INT64, "overflows")):
        if bad.any():
            raise QueryError(f"Scalar value {number[bad][0]:g} {word} int64")
    return np.trunc(number)


def _add(values: Floats, groups: Groups) -> Floats:
    total: Floats = np.add.reduceat(values[groups.order], groups.starts, axis=0)
    return total


def _sum(v: Vector, groups: Groups) -> Floats:
    return _add(np.where(v.present, v.values, 0.0), groups)


def _count(v: Vector, groups: Groups) -> Floats:
    return _add(v.present.astype(np.float64), groups)


def _avg(v: Vector, groups: Groups) -> Floats:
    count = np.maximum(_count(v, groups), 1.0)
    mean: Floats = _sum(v, groups) / count
    if np.isinf(mean).any():
        # The sum may have left the range of floats though the mean has not.
        mean = _add(np.where(v.present, v.values, 0.0) / count[groups.of], groups)
    return mean


def _variance(v: Vector, groups: Groups) -> Floats:
    # From the least sample, so that equal ones have no variance at all and large ones lose nothing.
    away = Vector(v.labels, v.values - _extreme(v, groups, np.fmin)[groups.of], v.present)
    away.values[:] = (away.values - _avg(away, groups)[groups.of]) ** 2
    return _avg(away, groups)


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


def _quantile(v: Vector, groups: Groups, q: Floats) -> Vector:
    shape = len(groups.labels), v.values.shape[1]
    values, present = np.empty(shape), np.empty(shape, bool)
    for group in range(len(groups.labels)):
        rows = groups.rows(group)
        # As if the group's series were the samples of a window of one series.
        samples, there = v.values[rows].T[:, :, None], v.present[rows].T[:, :, None]
        values[group] = quantile(q, samples, there)[:, 0]
        present[group] = there.any(axis=(1, 2))
    return Vector(groups.labels, values, present)


def _first(v: Vector, groups: Groups, k: Floats, *, largest: bool) -> Vector:
    """Keep the k largest or smallest of each group; at one step also bring them in order."""
    k = _counts(k)
    present = np.zeros_like(v.present)
    order: list[int] = []
    sign = -1.0 if largest else 1.0
    for group in range(len(groups.labels)):
        rows = groups.rows(group)
        # NaN after numbers, what is absent after all.
        ranked = np.lexsort((sign * v.values[rows], ~v.present[rows]), axis=0)
        ranks = np.argsort(ranked, axis=0, kind="stable")
        present[rows] = v.present[rows] & (ranks < k)
        order.extend(rows[ranked[:, 0]].tolist())
    if v.values.shape[1] != 1:
        return Vector(v.labels, v.values, present)
    return reordered(v, np.array(order, np.int64), present)


def reordered(v: Vector, order: Ints, mask: Bools) -> Vector:
    """Return the rows that are present under the mask, in the given order."""
    kept = order[mask[order].any(axis=1)]
    labels = LabelSets(v.labels.sets[i] for i in kept.tolist())
    return Vector(labels, v.values[kept], mask[kept])


def _limited(v: Vector, groups: Groups, k: Floats) -> Vector:
    """Keep the first k series of each group that are present."""
    k = _counts(k)
    present = np.zeros_like(v.present)
    for group in range(len(groups.labels)):
        rows = groups.rows(group)
        place = np.cumsum(v.present[rows], axis=0)
        present[rows] = v.present[rows] & (place <= k)
    return Vector(v.labels, v.values, present)


def _sampled(v: Vector, groups: Groups, ratio: Floats) -> Vector:
    """Keep the share ``ratio`` of the series; a negative one keeps what ``1 + ratio`` does not.

    Each label set has a place in [0, 1) that never changes. Prometheus takes it from its own hash
    of labels, so which series are kept differs, how many and that the two complement each other
    does not.
    """
    del groups
    if np.isnan(ratio).any():
        raise QueryError("Ratio value is NaN")
    places = v.labels.derive(("places",), lambda: np.array([_place(s) for s in v.labels.sets]))
    kept = np.where(ratio >= 0, places[:, None] < ratio, places[:, None] >= 1.0 + ratio)
    return Vector(v.labels, v.values, v.present & kept)


def _place(labels: Labels) -> float:
    text = "\xff".join(part for pair in labels for part in pair)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


_SELECTIVE: dict[str, Callable[[Vector, Groups, Floats], Vector]] = {
    "quantile": _quantile,
    "topk": lambda v, groups, k: _first(v, groups, k, largest=True),
    "bottomk": lambda v, groups, k: _first(v, groups, k, largest=False),
    "limitk": _limited,
    "limit_ratio": _sampled,
}
"""Operators with a scalar parameter."""


def _count_values(v: Vector, grouping: Grouping, label: str, budget: Budget) -> Vector:
    """Count the series of each group by value; the value becomes a label."""
    steps = v.values.shape[1]
    if grouping.by:
        grouping = Grouping(by=True, names=(*grouping.names, label))
    kept = np.where(v.present, v.values, 0.0)
    distinct, codes = np.unique(kept, return_inverse=True)
    codes = codes.reshape(kept.shape)
    texts = [format_plain(value) for value in distinct.tolist()]
    rows: dict[Labels, int] = {}
    counts: list[Floats] = []
    for row, labels in enumerate(v.labels.sets):
        there = v.present[row]
        here, places = np.unique(codes[row][there], return_inverse=True)
        budget.spend(_COST * len(here))
        found = np.empty(len(here), np.int64)
        for i, code in enumerate(here.tolist()):
            key = grouping.key(tuple(sorted({**dict(labels), label: texts[code]}.items())))
            found[i] = rows.setdefault(key, len(counts))
            if found[i] == len(counts):
                budget.spend(steps)
                counts.append(np.zeros(steps))
        for place, step in zip(found[places].tolist(), np.flatnonzero(there).tolist(), strict=True):
            counts[place][step] += 1.0
    if not counts:
        return Vector.empty(steps)
    values = np.array(counts)
    return Vector(LabelSets(rows), values, values > 0)
