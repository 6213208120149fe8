"""Metric queries: samples out of lines, aggregated over windows, then over series.

Windows are ``(t - range, t]`` at every step. Lines become samples once for a query, and windows are
cut out of each series' sorted times. What follows (grouping, operators) is PromQL's arithmetic on
the same matrices. Not here: parsing (``expressions``), limits on answers (``engine``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from aiopslab.telemetry.answers import LogStats
from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.logql.pipeline import Pipeline
from aiopslab.telemetry.logql.relabel import label_replace
from aiopslab.telemetry.logql.stages import DETAILS, ERROR, Line, unwrapped
from aiopslab.telemetry.logql.streams import Rows, Streams
from aiopslab.telemetry.logql.tree import (
    Binary,
    By,
    LabelReplace,
    Metric,
    Number,
    RangeAggregation,
    VectorAggregation,
    VectorOf,
)
from aiopslab.telemetry.logql.windows import REDUCE, Samples, Windows
from aiopslab.telemetry.promql import aggregates, binary
from aiopslab.telemetry.promql.values import (
    Bools,
    Budget,
    Floats,
    Grouping,
    LabelSets,
    QueryError,
    Vector,
)
from aiopslab.telemetry.rows import Series

_ALL = Grouping(by=True)
_ADDITIVE = ("rate", "count_over_time", "bytes_rate", "bytes_over_time", "sum_over_time")
"""Aggregations whose sum over series is the aggregation of all their samples."""
_BYTES = ("bytes_rate", "bytes_over_time")
Value = Vector | Floats


class Evaluation:
    """One metric query at given instants.

    Args:
        streams: Where lines come from.
        steps: Instants in unix seconds, ascending.
    """

    def __init__(self, streams: Streams, steps: Floats) -> None:
        self._streams = streams
        self._steps = steps
        self._read: list[Rows] = []
        self._budget = Budget()

    def stats(self) -> LogStats:
        """Count the lines that were read."""
        return self._streams.count(np.unique(np.concatenate(self._read or [np.empty(0, np.int64)])))

    def series(self, query: Metric, limit: int) -> list[Series]:
        """Evaluate a query to at most ``limit`` series.

        At one instant they keep the order of ``sort`` and ``topk``; else they are sorted by labels.

        Raises:
            QueryError: A line could not be read, or there are too many series.
        """
        try:
            with np.errstate(all="ignore"):
                value = self._value(query)
        except RecursionError as error:
            raise QueryError("the query is nested too deeply") from error
        if not isinstance(value, Vector):
            value = Vector(LabelSets([()]), value[None, :], np.ones((1, len(self._steps)), bool))
        found = []
        for row in np.flatnonzero(value.present.any(axis=1)).tolist():
            mask = value.present[row]
            points = zip(self._steps[mask].tolist(), value.values[row][mask].tolist(), strict=True)
            found.append(Series(dict(value.labels.sets[row]), list(points)))
        if len(found) > limit:
            raise QueryError(
                f"maximum number of series ({limit}) reached for a single query; consider reducing"
                " query cardinality by adding more specific stream selectors, reducing the time"
                " range, or aggregating results with functions like sum(), count() or topk()"
            )
        if len(self._steps) == 1 and _ordered(query):
            return found
        return sorted(found, key=lambda s: tuple(sorted(s.labels.items())))

    def _value(self, node: Metric) -> Value:
        match node:
            case Number(value):
                return np.full(len(self._steps), value)
            case VectorOf(value):
                values = np.full((1, len(self._steps)), value)
                return Vector(LabelSets([()]), values, np.ones_like(values, bool))
            case RangeAggregation():
                return self._range(node, None)
            case VectorAggregation():
                return self._aggregate(node)
            case LabelReplace():
                return label_replace(node, self._vector(node.inner))
            case Binary():
                left, right = self._value(node.left), self._value(node.right)
                return binary.evaluate(_operation(node), left, right, self._budget)
            case _:
                assert_never(node)

    def _vector(self, node: Metric) -> Vector:
        value = self._value(node)
        if not isinstance(value, Vector):
            raise QueryError("parse error : an aggregation needs a vector, not a literal")
        return value

    def _aggregate(self, node: VectorAggregation) -> Vector:
        grouping = _grouping(node.grouping)
        inner = node.inner
        if (
            node.operation == "sum"
            and isinstance(inner, RangeAggregation)
            and inner.operation in _ADDITIVE
        ):
            return self._range(inner, grouping)
        vector = self._vector(inner)
        if node.operation in ("sort", "sort_desc"):
            return _sort(vector, descending=node.operation == "sort_desc")
        parameter = None
        if node.parameter is not None:
            parameter = np.full(len(self._steps), float(node.parameter))
        return aggregates.aggregate(node.operation, vector, grouping, parameter, self._budget)

    # -- range aggregations -----------------------------------------------------------------------

    def _range(self, node: RangeAggregation, summed: Grouping | None) -> Vector:
        """Evaluate windows of each series, or of each group of a sum around."""
        ends = self._steps - node.offset
        samples = self._samples(node, ends, summed)
        self._budget.spend(len(samples) * len(ends))
        if node.operation == "absent_over_time":
            return self._absent(node, samples, ends)
        reduce = REDUCE[node.operation]
        values = np.zeros((len(samples), len(ends)))
        present: Bools = np.zeros(values.shape, bool)
        for index, series in enumerate(samples.values()):
            windows = Windows.over(series, ends, node.window)
            present[index] = windows.present
            values[index] = reduce(windows, node.parameter or 0.0)
        return Vector(LabelSets(samples), values, present)

    def _samples(
        self, node: RangeAggregation, ends: Floats, summed: Grouping | None
    ) -> dict[Labels, Samples]:
        """Turn lines into samples by series, in order of appearance."""
        pipeline = Pipeline(node.query.stages)
        first, last = float(ends[0]) - node.window, float(ends[-1])
        rows = self._streams.rows(node.query.matchers, first, last, ends=True)
        self._read.append(rows)
        rows = pipeline.filtered(self._streams, rows)
        grouping = summed if node.grouping is None else _grouping(node.grouping)
        if pipeline.plain and node.unwrap is None:
            return self._plain(rows, node.operation in _BYTES, grouping)
        return self._staged(node, pipeline, rows, grouping)

    def _plain(self, rows: Rows, by_size: bool, grouping: Grouping | None) -> dict[Labels, Samples]:
        """Make samples of lines whose labels are those of their streams."""
        columns = self._streams.table.columns()
        keys, inverse = np.unique(self._streams.keys(rows), return_inverse=True)
        labels = [tuple(self._streams.labels_of(key).items()) for key in keys.tolist()]
        groups: dict[Labels, int] = {}
        keyed = labels if grouping is None else [grouping.key(pairs) for pairs in labels]
        of = np.array([groups.setdefault(pairs, len(groups)) for pairs in keyed], np.int64)
        found = {}
        for pairs, group in groups.items():
            mine = rows[of[inverse] == group]
            values = columns["size"][mine].astype(np.float64) if by_size else np.ones(len(mine))
            found[pairs] = Samples(columns["time"][mine], values)
        return found

    def _staged(
        self, node: RangeAggregation, pipeline: Pipeline, rows: Rows, grouping: Grouping | None
    ) -> dict[Labels, Samples]:
        """Make samples of lines that went through stages."""
        if node.unwrap is not None:
            sample = unwrapped(node.unwrap)
        else:
            sample = _size if node.operation in _BYTES else _one
        found: dict[Labels, tuple[list[float], list[float]]] = {}
        key = _keyed(grouping)
        for line in pipeline.lines(self._streams, rows):
            value = sample(line)
            if value is None:
                continue
            if ERROR in line.labels:
                raise _pipeline_error(line.labels)
            times, values = found.setdefault(key(line.labels), ([], []))
            times.append(line.time)
            values.append(value)
        return {k: Samples(np.array(t), np.array(v)) for k, (t, v) in found.items()}

    def _absent(
        self, node: RangeAggregation, samples: dict[Labels, Samples], ends: Floats
    ) -> Vector:
        """Return 1 where no series has a sample, labelled with what the selector fixes."""
        present = np.zeros(len(ends), bool)
        for series in samples.values():
            present |= Windows.over(series, ends, node.window).present
        fixed = sorted((m.name, m.value) for m in node.query.matchers if m.op == "=" and m.value)
        return Vector(LabelSets([tuple(fixed)]), np.ones((1, len(ends))), ~present[None, :])


@dataclass(frozen=True, slots=True)
class _Names:
    """Reads the labels that a grouping by names keeps, without sorting the others."""

    names: tuple[str, ...]

    def __call__(self, labels: dict[str, str]) -> Labels:
        return tuple((n, labels[n]) for n in self.names if n in labels)


def _one(line: Line) -> float | None:
    return 1.0


def _size(line: Line) -> float | None:
    return float(len(line.text.encode()))


def _keyed(grouping: Grouping | None) -> Callable[[dict[str, str]], Labels]:
    if grouping is None:
        return lambda labels: tuple(sorted(labels.items()))
    if grouping.by:
        return _Names(tuple(sorted(set(grouping.names))))
    return lambda labels: grouping.key(tuple(sorted(labels.items())))


def _grouping(by: By | None) -> Grouping:
    return _ALL if by is None else Grouping(by=by.by, names=by.names)


def _operation(node: Binary) -> binary.Operation:
    matching = Grouping(by=False) if node.matching is None else _grouping(node.matching)
    return binary.Operation(node.op, matching, node.group, node.include, node.as_bool)


def _ordered(query: Metric) -> bool:
    return isinstance(query, VectorAggregation) and query.operation in (
        "sort", "sort_desc", "topk", "bottomk",
    )  # fmt: skip


def _sort(vector: Vector, *, descending: bool) -> Vector:
    """Bring series in order of their value at a single instant."""
    if vector.values.shape[1] != 1:
        return vector
    keys = -vector.values[:, 0] if descending else vector.values[:, 0]
    order = np.argsort(keys, kind="stable")
    labels = LabelSets(vector.labels.sets[i] for i in order.tolist())
    return Vector(labels, vector.values[order], vector.present[order])


def _pipeline_error(labels: dict[str, str]) -> QueryError:
    kind = labels[ERROR]
    shown = ", ".join(f'{k}="{v}"' for k, v in sorted(labels.items()) if k != DETAILS)
    return QueryError(
        f"pipeline error: '{kind}' for series: '{{{shown}}}'.\n"
        f'Use a label filter to intentionally skip this error. (e.g | __error__!="{kind}").\n'
        'To skip all potential errors you can match empty errors.(e.g __error__="")\n'
        "The label filter can also be specified after unwrap. (e.g | unwrap latency |"
        ' __error__="" )'
    )
