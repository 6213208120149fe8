"""The PromQL engine: what the world's rules, the tools and the HTTP API ask.

Not supported, and said so by name: native histograms, ``info``, ``start_timestamp``, ``fill``
modifiers. The differences between Prometheus 2 and 3 go Prometheus 3's way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import promql_parser as ast

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.promql.answers import Answer, Kind
from aiopslab.telemetry.promql.evaluation import Evaluation, check_points
from aiopslab.telemetry.promql.functions import Scope
from aiopslab.telemetry.promql.parsing import parse
from aiopslab.telemetry.promql.selectors import Selectors
from aiopslab.telemetry.promql.values import (
    Budget,
    Ints,
    QueryError,
    RangeVector,
    Value,
    Vector,
)
from aiopslab.telemetry.rows import Series
from aiopslab.telemetry.samples import SampleTable

_EVERYTHING = '{__name__!=""}'
_FAR_S = 1e12
_NAMES = {str: "string", RangeVector: "range vector"}


class Engine:
    """Evaluates queries over a sample table. Times are Unix seconds, kept to the millisecond."""

    def __init__(self, table: SampleTable) -> None:
        self._selectors = Selectors(table)

    def query(self, query: str, at: float) -> Answer:
        """Evaluate at an instant; a range selector gives its raw samples.

        Raises:
            QueryError: Malformed, not supported, ambiguous or too much work.
        """
        steps = np.array([_moment(at)])
        value = self._evaluate(query, steps)
        if isinstance(value, str):
            return Answer("string", [], value)
        if isinstance(value, RangeVector):
            return Answer("matrix", _samples(value))
        kind: Kind = "vector" if isinstance(value, Vector) else "scalar"
        return Answer(kind, _series(value, steps))

    def instant(self, query: str, at: float) -> list[Series]:
        """Return one point a series; a scalar is a series without labels. Raises QueryError."""
        steps = np.array([_moment(at)])
        return _series(self._evaluate(query, steps), steps)

    def vector(self, query: str, at: float) -> Vector:
        """Evaluate at an instant, without making series of it; rules need this. Raises QueryError.

        The vector has one step.
        """
        return _as_vector(self._evaluate(query, np.array([_moment(at)]))).merged()

    def range(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Evaluate at ``start, start + step, ... <= end``; series are sorted by labels.

        Raises:
            QueryError: As ``query``; also for a step that is not positive or too many points.
        """
        first, last, pace = _moment(start), _moment(end), _moment(step)
        if pace <= 0:
            raise QueryError(
                "zero or negative query resolution step widths are not accepted."
                " Try a positive integer"
            )
        if last < first:
            raise QueryError("end timestamp must not be before start time")
        check_points((last - first) / pace)
        steps = np.arange(first, last + 1, pace, dtype=np.int64)
        found = _series(self._evaluate(query, steps), steps)
        return sorted(found, key=lambda s: tuple(sorted(s.labels.items())))

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

    def _evaluate(self, query: str, steps: Ints) -> Value:
        scope = Scope(steps, steps, Budget())
        try:
            # To divide by zero or take logarithms of nothing is a legitimate question: NaN.
            with np.errstate(all="ignore"):
                return Evaluation(self._selectors, scope).value(parse(query))
        except RecursionError as error:
            raise QueryError("the query is nested too deeply") from error


def _moment(seconds: float) -> int:
    """Return a time in ms.

    Raises:
        QueryError: No clock will ever show it.
    """
    if not abs(seconds) < _FAR_S:
        raise QueryError(f"{seconds:g} is not a valid timestamp")
    return round(seconds * 1000.0)


def _as_vector(value: Value) -> Vector:
    if isinstance(value, Vector):
        return value
    if isinstance(value, np.ndarray):
        return Vector.of_scalar(value)
    raise QueryError(
        f'invalid expression type "{_NAMES[type(value)]}", must be Scalar or instant Vector;'
        " apply a function such as rate(...)"
    )


def _series(value: Value, steps: Ints) -> list[Series]:
    # Series that come after each other under the same labels (a name was dropped) become one.
    vector = _as_vector(value).merged()
    seconds = steps / 1000.0
    found = []
    for row in np.flatnonzero(vector.present.any(axis=1)).tolist():
        mask = vector.present[row]
        points = zip(seconds[mask].tolist(), vector.values[row][mask].tolist(), strict=True)
        found.append(Series(labels=dict(vector.labels.sets[row]), points=list(points)))
    return found


def _samples(r: RangeVector) -> list[Series]:
    """Return the raw samples of a single window."""
    rows = slice(int(r.lo[0]), int(r.hi[0]))
    times, values, there = r.times[rows] / 1000.0, r.values[rows], r.there[rows]
    found = []
    for column, labels in enumerate(r.labels.sets):
        kept = there[:, column]
        if kept.any():
            points = zip(times[kept].tolist(), values[kept, column].tolist(), strict=True)
            found.append(Series(labels=dict(labels), points=list(points)))
    return sorted(found, key=lambda s: tuple(sorted(s.labels.items())))
