"""Binary operators: arithmetic, comparison, set operators, and how their sides are matched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql.answers import format_labels
from aiopslab.telemetry.promql.values import (
    Bools,
    Budget,
    Floats,
    Grouping,
    Ints,
    LabelSets,
    QueryError,
    Value,
    Vector,
    collapse,
)
from aiopslab.telemetry.samples import NAME

ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISON: dict[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
SETS = ("and", "or", "unless")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator with its modifiers."""

    operator: str
    matching: Grouping
    """``on`` is ``by``, ``ignoring`` is ``without``."""
    group: Literal["", "left", "right"] = ""
    include: tuple[str, ...] = ()
    """Labels that ``group_left`` or ``group_right`` copies from the one side."""
    as_bool: bool = False

    @property
    def filters(self) -> bool:
        """A comparison without ``bool`` keeps or drops points instead of computing."""
        return self.operator in COMPARISON and not self.as_bool


def evaluate(operation: Operation, left: Value, right: Value, budget: Budget) -> Vector | Floats:
    """Apply an operator to two values.

    Raises:
        QueryError: The sides cannot be matched as asked, or the operator is not supported.
    """
    known = operation.operator in ARITHMETIC or operation.operator in COMPARISON
    if not known and operation.operator not in SETS:
        raise QueryError(f"operator {operation.operator!r} is not supported")
    if isinstance(left, Vector) and isinstance(right, Vector):
        if operation.operator in SETS:
            return _set(operation, left, right)
        return _match(operation, left, right, budget)
    if operation.operator in SETS:
        raise QueryError(
            f'set operator "{operation.operator}" not allowed in binary scalar expression'
        )
    if isinstance(left, Vector) and isinstance(right, np.ndarray):
        return _scalar(operation, left, left.values, right)
    if isinstance(left, np.ndarray) and isinstance(right, Vector):
        return _scalar(operation, right, left, right.values)
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return _compute(operation, left, right)[0]
    raise QueryError(f"operator {operation.operator!r} needs instant vectors or scalars")


def _compute(operation: Operation, left: Floats, right: Floats) -> tuple[Floats, Bools | None]:
    """Return values and, for a filter, which points stay."""
    with np.errstate(all="ignore"):
        if operation.operator in ARITHMETIC:
            return ARITHMETIC[operation.operator](left, right), None
        holds = COMPARISON[operation.operator](left, right)
    if operation.filters:
        return left, holds
    return holds.astype(np.float64), None


def _scalar(operation: Operation, vector: Vector, left: Floats, right: Floats) -> Vector:
    values, holds = _compute(operation, left, right)
    if holds is None:
        return vector.unnamed(values)
    # A filter keeps the vector's values and names, whichever side the scalar is on.
    return Vector(vector.labels, vector.values, vector.present & holds)


def _set(operation: Operation, left: Vector, right: Vector) -> Vector:
    if operation.operator == "or":
        fresh = right.present & ~_there(operation, of=right, inside=left)
        labels = left.labels.derive(
            ("or",), lambda: LabelSets([*left.labels.sets, *right.labels.sets]), other=right.labels
        )
        return Vector(
            labels,
            np.vstack([left.values, right.values]),
            np.vstack([left.present, fresh]),
        )
    there = _there(operation, of=left, inside=right)
    kept = there if operation.operator == "and" else ~there
    return Vector(left.labels, left.values, left.present & kept)


def _there(operation: Operation, *, of: Vector, inside: Vector) -> Bools:
    """Tell for each row and step of one vector whether the other has a partner."""
    if not len(inside.labels):
        return np.zeros_like(of.present)
    groups = inside.labels.group(operation.matching)
    any_present = np.logical_or.reduceat(inside.present[groups.order], groups.starts, axis=0)
    partner = _partners(operation, of.labels, inside.labels)
    found: Bools = any_present[np.maximum(partner, 0)] & (partner >= 0)[:, None]
    return found


def _partners(operation: Operation, many: LabelSets, one: LabelSets) -> Ints:
    """Find for each row of a side the group of the other side with the same key, or -1."""

    def find() -> Ints:
        places = {key: i for i, key in enumerate(one.group(operation.matching).labels.sets)}
        mine = many.group(operation.matching)
        by_group = np.array([places.get(key, -1) for key in mine.labels.sets], np.int64)
        return by_group[mine.of] if len(mine.of) else mine.of

    return many.derive(("partners", operation.matching), find, other=one)


def _match(operation: Operation, left: Vector, right: Vector, budget: Budget) -> Vector:
    swapped = operation.group == "right"
    many, one = (right, left) if swapped else (left, right)
    if not len(many.labels) or not len(one.labels):
        return Vector.empty(many.values.shape[1])
    values, present, count = collapse(one.values, one.present, one.labels.group(operation.matching))
    partner = _partners(operation, many.labels, one.labels)
    # At a step where one side is empty nothing matches, and nothing is wrong.
    count = count * many.present.any(axis=0)
    if (count > 1).any():
        raise QueryError(_duplicates(operation, one, count))
    if not operation.group:
        _check_one_to_one(operation, many, count, partner)
    if operation.include:
        # Labels are copied from the very series: those of one key that follow each other (a pod
        # before and after it got its address) are partners in turn.
        values, present = one.values, one.present
    rows, mine = many.labels.derive(
        ("pairs", operation.matching, bool(operation.include)),
        lambda: _pairs(operation, partner, one.labels),
        other=one.labels,
    )
    budget.spend(len(rows) * many.values.shape[1])
    a, b = many.values[rows], values[mine]
    result, holds = _compute(operation, *((b, a) if swapped else (a, b)))
    both = many.present[rows] & present[mine]
    labels = many.labels.derive(
        ("matched", operation),
        lambda: _result_labels(operation, many.labels, one.labels, rows, mine),
        other=one.labels,
    )
    if operation.group:
        _check_groups(labels, both)
    return Vector(labels, result, both if holds is None else both & holds)


def _pairs(operation: Operation, partner: Ints, one: LabelSets) -> tuple[Ints, Ints]:
    """Pair rows of the many side with groups of the other or, to copy labels, with its rows."""
    rows = np.flatnonzero(partner >= 0)
    if not operation.include:
        return rows, partner[rows]
    groups = one.group(operation.matching)
    found = [(row, other) for row in rows.tolist() for other in groups.rows(partner[row]).tolist()]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _duplicates(operation: Operation, one: Vector, count: Ints) -> str:
    """Say which two series of the one side have the same matching labels."""
    group, step = np.argwhere(count > 1)[0].tolist()
    groups = one.labels.group(operation.matching)
    twice = [row for row in groups.rows(group).tolist() if one.present[row, step]]
    series = sorted(format_labels(one.labels.sets[row]) for row in twice[:2])
    return (
        f"found duplicate series for the match group {format_labels(groups.labels.sets[group])} on"
        f" the {'left' if operation.group == 'right' else 'right'} hand-side of the operation:"
        f" [{', '.join(series)}];many-to-many matching not allowed: matching labels must be unique"
        " on one side"
    )


def _check_one_to_one(operation: Operation, many: Vector, one_count: Ints, partner: Ints) -> None:
    groups = many.labels.group(operation.matching)
    _, _, count = collapse(many.values, many.present, groups)
    matched = partner[groups.order[groups.starts]]
    against = one_count[np.maximum(matched, 0)] * (matched >= 0)[:, None]
    if ((count > 1) & (against > 0)).any():
        raise QueryError(
            "multiple matches for labels: many-to-one matching must be explicit"
            " (group_left/group_right)"
        )


def _check_groups(labels: LabelSets, present: Bools) -> None:
    groups = labels.distinct()
    if len(groups.labels) < len(labels):
        count = np.add.reduceat(present[groups.order].astype(np.int64), groups.starts, axis=0)
        if (count > 1).any():
            raise QueryError(
                "multiple matches for labels: grouping labels must ensure unique matches"
            )


def _result_labels(
    operation: Operation, many: LabelSets, one: LabelSets, rows: Ints, partners: Ints
) -> LabelSets:
    """Make the label sets of pairs; ``partners`` are rows of the one side if labels are copied."""
    made: list[Labels] = []
    for row, partner in zip(rows.tolist(), partners.tolist(), strict=True):
        labels = many.sets[row]
        if not operation.group:
            if operation.matching.by:
                labels = operation.matching.key(labels)
            else:
                labels = tuple(p for p in labels if p[0] not in operation.matching.names)
        if not operation.filters:
            labels = tuple(p for p in labels if p[0] != NAME)
        if operation.include:
            copied = dict(one.sets[partner])
            merged = {k: v for k, v in labels if k not in operation.include}
            merged.update((k, copied[k]) for k in operation.include if k in copied)
            labels = tuple(sorted(merged.items()))
        made.append(labels)
    return LabelSets(made)
