"""Functions of instant vectors and scalars: mathematics, labels, time.

Functions of range vectors are in ``ranges``, quantiles of buckets in ``histogram``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql.aggregates import reordered
from aiopslab.telemetry.promql.histogram import histogram_quantile
from aiopslab.telemetry.promql.ranges import RANGE_FUNCTIONS, quantile_over_time, regression
from aiopslab.telemetry.promql.values import (
    Bools,
    Floats,
    LabelSets,
    QueryError,
    RangeVector,
    Value,
    Vector,
)
from aiopslab.telemetry.regex import compile_bounded

_ELEMENTWISE: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs, "ceil": np.ceil, "floor": np.floor, "exp": np.exp, "ln": np.log,
    "log2": np.log2, "log10": np.log10, "sqrt": np.sqrt, "sgn": np.sign,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "deg": np.degrees, "rad": np.radians,
    "minute": lambda t: t // 60 % 60, "hour": lambda t: t // 3600 % 24,
    "day_of_week": lambda t: (t // 86400 + 4) % 7,
}  # fmt: skip
_CLOCK = ("minute", "hour", "day_of_week")


def call(name: str, arguments: Sequence[Value], steps: Floats) -> Value:
    """Call a function; the parser has checked number and types of the arguments.

    Raises:
        QueryError: The function is not supported.
    """
    if name in RANGE_FUNCTIONS:
        return RANGE_FUNCTIONS[name](_windows(arguments[0]))
    if name in _ELEMENTWISE:
        vector = _vector(arguments[0]) if arguments else from_scalar(steps)
        with np.errstate(all="ignore"):
            return vector.unnamed(_ELEMENTWISE[name](vector.values))
    if name not in _FUNCTIONS:
        raise QueryError(f"function {name!r} is not supported")
    return _FUNCTIONS[name](arguments, steps)


def _vector(value: Value) -> Vector:
    if not isinstance(value, Vector):
        raise QueryError("an instant vector is needed here")
    return value


def _windows(value: Value) -> RangeVector:
    if not isinstance(value, RangeVector):
        raise QueryError("a range vector is needed here; write for example metric[5m]")
    return value


def _scalar(value: Value) -> Floats:
    if not isinstance(value, np.ndarray):
        raise QueryError("a number is needed here")
    return value


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise QueryError("a string is needed here")
    return value


def from_scalar(values: Floats) -> Vector:
    """Return a vector of one series without labels."""
    return Vector(LabelSets([()]), values[None, :].copy(), np.ones((1, len(values)), bool))


def _to_scalar(a: Sequence[Value], steps: Floats) -> Value:
    v = _vector(a[0])
    alone = v.present.sum(axis=0) == 1
    total = np.where(v.present, v.values, 0.0).sum(axis=0)
    return np.where(alone, total, np.nan)


def _round(a: Sequence[Value], steps: Floats) -> Value:
    v = _vector(a[0])
    to = _scalar(a[1]) if len(a) > 1 else np.ones(len(steps))
    # Ties go up, as with Prometheus; numpy's round would send them to the even neighbour.
    return v.unnamed(np.floor(v.values / to + 0.5) * to)


def _clamp(a: Sequence[Value], low: Floats | float, high: Floats | float) -> Value:
    v = _vector(a[0])
    return v.unnamed(np.clip(v.values, low, high), v.present & np.asarray(low <= high))


def _sort(a: Sequence[Value], *, descending: bool) -> Value:
    v = _vector(a[0])
    if v.values.shape[1] != 1:
        return v  # the order of a range query's result is by labels
    keys = -v.values[:, 0] if descending else v.values[:, 0]
    return reordered(v, np.argsort(keys, kind="stable"), v.present)


def _absent(a: Sequence[Value], steps: Floats) -> Value:
    missing: Bools = np.logical_not(_vector(a[0]).present.any(axis=0))
    return Vector(LabelSets([()]), np.ones((1, len(steps))), missing[None, :])


def _absent_over_time(a: Sequence[Value], steps: Floats) -> Value:
    return _absent([RANGE_FUNCTIONS["count_over_time"](_windows(a[0]))], steps)


def _relabel(v: Vector, key: tuple[str, ...], change: Callable[[dict[str, str]], None]) -> Vector:
    def make() -> LabelSets:
        sets: list[Labels] = []
        for labels in v.labels.sets:
            changed = dict(labels)
            change(changed)
            sets.append(tuple(sorted((k, t) for k, t in changed.items() if t)))
        return LabelSets(sets)

    return Vector(v.labels.derive(key, make), v.values, v.present)


_REFERENCE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def _label_replace(a: Sequence[Value], steps: Floats) -> Value:
    target, template, source, regex = map(_text, a[1:5])
    try:
        pattern = compile_bounded(regex)
    except re.error as error:
        raise QueryError(f"regex {regex!r} of label_replace is malformed: {error}") from error

    def change(labels: dict[str, str]) -> None:
        match = pattern.fullmatch(labels.get(source, ""))
        if match:
            labels[target] = _expanded(template, match)

    return _relabel(_vector(a[0]), ("label_replace", target, template, source, regex), change)


def _expanded(template: str, match: re.Match[str]) -> str:
    """Fill ``$1`` and ``${name}`` in, as Go's ``Regexp.Expand``: an unknown group is empty."""
    numbered = [match[0], *match.groups()]
    named = match.groupdict()

    def group(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name.isdecimal():
            return (numbered[int(name)] or "") if int(name) < len(numbered) else ""
        return named.get(name) or ""

    return _REFERENCE.sub(group, template)


def _label_join(a: Sequence[Value], steps: Floats) -> Value:
    target, separator, *sources = map(_text, a[1:])

    def change(labels: dict[str, str]) -> None:
        labels[target] = separator.join(labels.get(s, "") for s in sources)

    return _relabel(_vector(a[0]), ("label_join", target, separator, *sources), change)


def _first_step(value: Value) -> float:
    return float(_scalar(value)[0])


_FUNCTIONS: dict[str, Callable[[Sequence[Value], Floats], Value]] = {
    "time": lambda a, steps: steps,
    "pi": lambda a, steps: np.full(len(steps), np.pi),
    "vector": lambda a, steps: from_scalar(_scalar(a[0])),
    "scalar": _to_scalar,
    "round": _round,
    "clamp": lambda a, steps: _clamp(a, _scalar(a[1]), _scalar(a[2])),
    "clamp_min": lambda a, steps: _clamp(a, _scalar(a[1]), np.inf),
    "clamp_max": lambda a, steps: _clamp(a, -np.inf, _scalar(a[1])),
    "sort": lambda a, steps: _sort(a, descending=False),
    "sort_desc": lambda a, steps: _sort(a, descending=True),
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "label_replace": _label_replace,
    "label_join": _label_join,
    "histogram_quantile": lambda a, steps: histogram_quantile(_scalar(a[0]), _vector(a[1])),
    "quantile_over_time": lambda a, steps: quantile_over_time(_first_step(a[0]), _windows(a[1])),
    "predict_linear": lambda a, steps: regression(_windows(a[0]), _first_step(a[1])),
}
