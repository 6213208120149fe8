"""The table of functions: by name, what is computed from the arguments.

Functions of range vectors are in ``windows``, ``rates`` and ``trends``, those of buckets in
``histogram``, those of labels in ``labelling``, calendars in ``calendar``; mathematics is here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from aiopslab.telemetry.promql import histogram, labelling, rates, trends, windows
from aiopslab.telemetry.promql.aggregates import reordered
from aiopslab.telemetry.promql.calendar import CALENDAR
from aiopslab.telemetry.promql.values import (
    Bools,
    Budget,
    Floats,
    Ints,
    LabelSets,
    QueryError,
    RangeVector,
    Value,
    Vector,
)

_ELEMENTWISE: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs, "ceil": np.ceil, "floor": np.floor, "exp": np.exp, "ln": np.log,
    "log2": np.log2, "log10": np.log10, "sqrt": np.sqrt, "sgn": np.sign,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "deg": np.degrees, "rad": np.radians,
}  # fmt: skip
NATIVE = frozenset(
    {"histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum"}
)
"""Functions that know native histograms only."""
UNSUPPORTED = frozenset({"info", "start_timestamp"})


@dataclass(frozen=True, slots=True)
class Scope:
    """What a part of a query is evaluated in."""

    steps: Ints
    """In ms."""
    outer: Ints
    """Steps of the whole query, for ``start()`` and ``@ start()`` inside subqueries."""
    budget: Budget
    """What the query may still touch."""

    @property
    def seconds(self) -> Floats:
        """The steps in seconds."""
        return self.steps / 1000.0

    def fixed(self, milliseconds: int) -> Floats:
        """Return a scalar of so many seconds at every step."""
        return np.full(len(self.steps), milliseconds / 1000.0)


def call(name: str, arguments: Sequence[Value], scope: Scope) -> Value:
    """Call a function; the parser has checked number and types of the arguments.

    Raises:
        QueryError: The function is not supported, or an argument is not acceptable.
    """
    if name in NATIVE:
        raise QueryError(f"{name}() needs native histograms, which are not supported")
    if name in UNSUPPORTED:
        raise QueryError(f"function {name}() is not supported")
    if name in CALENDAR:
        vector = _vector(arguments[0]) if arguments else Vector.of_scalar(scope.seconds)
        return vector.unnamed(CALENDAR[name](vector.values))
    if name in _ELEMENTWISE:
        vector = _vector(arguments[0])
        return vector.unnamed(_ELEMENTWISE[name](vector.values))
    if name in _OF_WINDOWS:
        [window] = [a for a in arguments if isinstance(a, RangeVector)]
        return _OF_WINDOWS[name](window, [a for a in arguments if isinstance(a, np.ndarray)])
    if name not in _OTHERS:
        raise QueryError(f"function {name}() is not supported")
    return _OTHERS[name](arguments, scope)


def _vector(value: Value) -> Vector:
    if not isinstance(value, Vector):
        raise QueryError("an instant vector is needed here")
    return value


def _windows(value: Value) -> RangeVector:
    if not isinstance(value, RangeVector):
        raise QueryError("a range vector is needed here")
    return value


def _scalar(value: Value) -> Floats:
    if not isinstance(value, np.ndarray):
        raise QueryError("a scalar is needed here")
    return value


def _texts(values: Sequence[Value]) -> list[str]:
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(values):
        raise QueryError("strings are needed here")
    return texts


def _to_scalar(a: Sequence[Value], scope: Scope) -> Value:
    v = _vector(a[0])
    alone = v.present.sum(axis=0) == 1
    total = np.where(v.present, v.values, 0.0).sum(axis=0)
    return np.where(alone, total, np.nan)


def _round(a: Sequence[Value], scope: Scope) -> Value:
    v = _vector(a[0])
    inverse = 1.0 / _scalar(a[1]) if len(a) > 1 else 1.0
    # Ties go up, as with Prometheus; numpy's round would send them to the even neighbour.
    return v.unnamed(np.floor(v.values * inverse + 0.5) / inverse)


def _clamp(v: Vector, low: Floats | float, high: Floats | float) -> Value:
    return v.unnamed(np.maximum(low, np.minimum(high, v.values)), v.present & ~np.less(high, low))


def _sort(a: Sequence[Value], *, descending: bool) -> Value:
    v = _vector(a[0])
    if v.values.shape[1] != 1:
        return v  # the order of a range query's result is by labels
    keys = np.where(v.present, -v.values if descending else v.values, np.nan)[:, 0]
    return reordered(v, np.argsort(keys, kind="stable"), v.present)


def _sort_by_label(a: Sequence[Value], *, descending: bool) -> Value:
    v = _vector(a[0])
    if v.values.shape[1] != 1:
        return v
    order = labelling.order_by_label(v, _texts(a[1:]))
    return reordered(v, order[::-1] if descending else order, v.present)


def _absent(a: Sequence[Value], scope: Scope) -> Value:
    value = a[0]
    if isinstance(value, RangeVector):
        value = windows.folded(value, windows.count)
    missing = np.logical_not(_vector(value).present.any(axis=0))
    return Vector(LabelSets([()]), np.ones((1, len(scope.steps))), missing[None, :])


def _step(scope: Scope) -> int:
    return int(scope.outer[1] - scope.outer[0]) if len(scope.outer) > 1 else 0


def _extreme_time(r: RangeVector, *, largest: bool) -> Vector:
    """Time of the last sample that has the greatest or least value."""
    extreme = windows.most if largest else windows.least

    def time(chunk: slice, samples: Floats, there: Bools) -> Floats:
        best = there & (samples == extreme(samples, there)[:, None])
        # Where all are NaN, the last one it is.
        best = np.where(best.any(axis=1, keepdims=True), best, there)
        places = best.shape[1] - 1 - np.argmax(best[:, ::-1], axis=1)
        rows = np.minimum(r.lo[chunk, None] + places, len(r.times) - 1)
        seconds: Floats = r.times[rows] / 1000.0
        return seconds

    return windows.computed(r, time)


_OF_WINDOWS: dict[str, Callable[[RangeVector, Sequence[Floats]], Vector]] = {
    "rate": lambda r, a: rates.extrapolated(r, counter=True, per_second=True),
    "increase": lambda r, a: rates.extrapolated(r, counter=True, per_second=False),
    "delta": lambda r, a: rates.extrapolated(r, counter=False, per_second=False),
    "irate": lambda r, a: rates.last_two(r, counter=True),
    "idelta": lambda r, a: rates.last_two(r, counter=False),
    "changes": lambda r, a: rates.happened(r, resets=False),
    "resets": lambda r, a: rates.happened(r, resets=True),
    "last_over_time": lambda r, a: rates.newest(r),
    "first_over_time": lambda r, a: rates.oldest(r),
    "ts_of_last_over_time": lambda r, a: rates.time_of(r, last=True),
    "ts_of_first_over_time": lambda r, a: rates.time_of(r, last=False),
    "ts_of_max_over_time": lambda r, a: _extreme_time(r, largest=True),
    "ts_of_min_over_time": lambda r, a: _extreme_time(r, largest=False),
    "deriv": lambda r, a: trends.slope(r),
    "double_exponential_smoothing": lambda r, a: trends.smoothed(r, a[0], a[1]),
    "avg_over_time": lambda r, a: windows.folded(r, windows.mean),
    "sum_over_time": lambda r, a: windows.folded(r, windows.total),
    "min_over_time": lambda r, a: windows.folded(r, windows.least),
    "max_over_time": lambda r, a: windows.folded(r, windows.most),
    "count_over_time": lambda r, a: windows.folded(r, windows.count),
    "present_over_time": lambda r, a: windows.folded(r, lambda v, there: np.ones(v[:, 0].shape)),
    "stdvar_over_time": lambda r, a: windows.folded(r, windows.variance),
    "stddev_over_time": lambda r, a: windows.folded(r, lambda *w: np.sqrt(windows.variance(*w))),
    "mad_over_time": lambda r, a: windows.folded(r, windows.deviation_of_median),
    "quantile_over_time": lambda r, a: windows.computed(
        r, lambda steps, v, there: windows.quantile(a[0][steps], v, there)
    ),
}
"""Functions of one range vector and scalars."""

_OTHERS: dict[str, Callable[[Sequence[Value], Scope], Value]] = {
    "time": lambda a, scope: scope.seconds,
    "start": lambda a, scope: scope.fixed(int(scope.outer[0])),
    "end": lambda a, scope: scope.fixed(int(scope.outer[-1])),
    "range": lambda a, scope: scope.fixed(int(scope.outer[-1] - scope.outer[0])),
    "step": lambda a, scope: scope.fixed(_step(scope)),
    "pi": lambda a, scope: np.full(len(scope.steps), np.pi),
    "max_of": lambda a, scope: np.maximum(_scalar(a[0]), _scalar(a[1])),
    "min_of": lambda a, scope: np.minimum(_scalar(a[0]), _scalar(a[1])),
    "vector": lambda a, scope: Vector.of_scalar(_scalar(a[0])),
    "scalar": _to_scalar,
    "timestamp": lambda a, scope: _vector(a[0]).unnamed(
        np.broadcast_to(scope.seconds, _vector(a[0]).values.shape)
    ),
    "round": _round,
    "clamp": lambda a, scope: _clamp(_vector(a[0]), _scalar(a[1]), _scalar(a[2])),
    "clamp_min": lambda a, scope: _clamp(_vector(a[0]), _scalar(a[1]), np.inf),
    "clamp_max": lambda a, scope: _clamp(_vector(a[0]), -np.inf, _scalar(a[1])),
    "sort": lambda a, scope: _sort(a, descending=False),
    "sort_desc": lambda a, scope: _sort(a, descending=True),
    "sort_by_label": lambda a, scope: _sort_by_label(a, descending=False),
    "sort_by_label_desc": lambda a, scope: _sort_by_label(a, descending=True),
    "absent": _absent,
    "absent_over_time": _absent,
    "predict_linear": lambda a, scope: trends.predicted(_windows(a[0]), scope.steps, _scalar(a[1])),
    "label_replace": lambda a, scope: labelling.label_replace(_vector(a[0]), _texts(a[1:])),
    "label_join": lambda a, scope: labelling.label_join(_vector(a[0]), _texts(a[1:])),
    "histogram_quantile": lambda a, scope: histogram.quantile(
        _scalar(a[0]), _vector(a[1]), scope.budget
    ),
    "histogram_quantiles": lambda a, scope: histogram.quantiles(
        _vector(a[0]), _texts(a[1:2])[0], [_scalar(q) for q in a[2:]], scope.budget
    ),
    "histogram_fraction": lambda a, scope: histogram.fraction(
        (_scalar(a[0]), _scalar(a[1])), _vector(a[2]), scope.budget
    ),
}

KNOWN = frozenset({*NATIVE, *UNSUPPORTED, *CALENDAR, *_ELEMENTWISE, *_OF_WINDOWS, *_OTHERS})
"""Names of all functions, those that are refused included."""
