"""Conditions on spans as numpy masks: comparisons of a field with a literal.

Values compare only with literals of their kind (text, number, truth), as in TraceQL; what a span
has not is never equal and never different. Not here: fields (``fields``), grammar (``parser``).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

import numpy as np

from aiopslab.telemetry.promql.matching import Regex
from aiopslab.telemetry.spans import Mask
from aiopslab.telemetry.traceql.fields import Field, Fields, Scalar
from aiopslab.telemetry.traceql.tree import Comparison, Condition, Every, Logic, Not

_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


_MEASURED: Mapping[str, np.ufunc] = {
    "=": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater,
    ">=": np.greater_equal,
}  # fmt: skip


def mask(fields: Fields, condition: Condition) -> Mask:
    """Return which spans meet a condition."""
    match condition:
        case Every():
            return np.ones(len(fields.columns), bool)
        case Not(inner):
            return ~mask(fields, inner)
        case Logic(op, left, right):
            first, second = mask(fields, left), mask(fields, right)
            return first & second if op == "&&" else first | second
        case Comparison():
            return _compared(fields, condition)


def tagged(fields: Fields, name: str, text: str) -> Mask:
    """Return which spans have a tag whose text is the given one."""
    return _spread(fields.tag(name), lambda value: value is not None and _text(value) == text)


def _compared(fields: Fields, condition: Comparison) -> Mask:
    if condition.scope == "intrinsic":
        measure = fields.measure(condition.name)
        if measure is not None:
            if condition.value is None:
                return np.full(len(measure), condition.op == "!=")
            compared: Mask = _MEASURED[condition.op](measure, condition.value)
            return compared
    field = fields.find(condition.scope, condition.name)
    assert field is not None, "the parser knows which intrinsics there are"
    return _spread(field, _test(condition))


def _spread(field: Field, test: Callable[[Scalar], bool]) -> Mask:
    """Decide each distinct value once."""
    decided = np.array([test(value) for value in field.values] or [False], bool)
    spread: Mask = decided[field.codes]
    return spread


def _test(condition: Comparison) -> Callable[[Scalar], bool]:
    wanted = condition.value
    if wanted is None:
        return (lambda v: v is None) if condition.op == "=" else (lambda v: v is not None)
    if condition.op in ("=~", "!~"):
        matches = Regex(str(wanted)).match
        positive = condition.op == "=~"
        return lambda v: isinstance(v, str) and (matches(v) is not None) is positive
    compare = _ORDER[condition.op]
    kind = _kind(wanted)
    return lambda v: v is not None and _kind(v) is kind and compare(v, wanted)  # type: ignore[arg-type]


def _kind(value: Scalar) -> type:
    if isinstance(value, bool):
        return bool
    return str if isinstance(value, str) else float


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
