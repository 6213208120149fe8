"""The LogQL engine: log queries and metric queries over a log table, and label look-ups.

A subset of Loki 3: what is outside (``unpack``, ``ip()``, ``|>``, ``approx_topk``, ...) is refused
by name. Answers do not depend on how lines came: they are ordered by time, labels, and place of
recording. Not here: how Loki writes answers (``wire``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aiopslab.telemetry.answers import LogAnswer, LogStats, LogStream
from aiopslab.telemetry.logql.expressions import parse
from aiopslab.telemetry.logql.metrics import Evaluation
from aiopslab.telemetry.logql.pipeline import Pipeline
from aiopslab.telemetry.logql.streams import Rows, Streams
from aiopslab.telemetry.logql.tree import LogQuery, Number
from aiopslab.telemetry.logs import LogTable
from aiopslab.telemetry.promql.values import QueryError

MAX_ENTRIES = 5_000
"""Lines of one answer: Loki's ``max_entries_limit_per_query``."""
MAX_POINTS = 11_000
"""Steps of a metric query; Loki's own limit."""
MAX_SERIES = 500
"""Series of an answer: Loki's ``max_query_series``."""
_DEFAULT_STEPS = 250


class LogEngine:
    """Evaluates LogQL over a log table.

    Args:
        table: The lines.
    """

    def __init__(self, table: LogTable) -> None:
        self.streams = Streams(table)

    def range(
        self, query: str, start: float, end: float, *, step: float | None = None,
        limit: int = 100, newest_first: bool = True,
    ) -> LogAnswer:  # fmt: skip
        """Evaluate a query over ``[start, end)``, a metric query at every ``step`` up to ``end``.

        Without a step there are about 250, as with Loki.

        Raises:
            QueryError: Malformed, not supported, or over a limit.
        """
        if not (np.isfinite(start) and np.isfinite(end)):
            raise QueryError("start and end must be finite times")
        if end < start:
            raise QueryError("end timestamp must not be before or equal to start time")
        parsed = parse(query)
        if isinstance(parsed, LogQuery):
            return self._log(parsed, start, end, limit, newest_first=newest_first)
        if step is None:
            step = max((end - start) // _DEFAULT_STEPS, 1.0)
        if not step > 0:
            raise QueryError(
                "zero or negative query resolution step widths are not accepted. Try a positive"
                " integer"
            )
        if (end - start) / step > MAX_POINTS:
            raise QueryError(
                "exceeded maximum resolution of 11,000 points per time series. Try increasing the"
                " value of the step parameter"
            )
        steps = start + step * np.arange(int((end - start) // step) + 1, dtype=np.float64)
        evaluation = Evaluation(self.streams, steps)
        series = evaluation.series(parsed, MAX_SERIES)
        return LogAnswer("matrix", series=series, stats=evaluation.stats())

    def instant(self, query: str, at: float) -> LogAnswer:
        """Evaluate a metric query at an instant.

        Raises:
            QueryError: As ``range``; also for a log query.
        """
        if not np.isfinite(at):
            raise QueryError("the time must be finite")
        parsed = parse(query)
        if isinstance(parsed, LogQuery):
            raise QueryError(
                "log queries are not supported as an instant query type, please change your query"
                " to a range query type"
            )
        evaluation = Evaluation(self.streams, np.array([at], np.float64))
        series = evaluation.series(parsed, MAX_SERIES)
        kind = "scalar" if isinstance(parsed, Number) else "vector"
        return LogAnswer(kind, series=series, stats=evaluation.stats())  # type: ignore[arg-type]

    def _log(
        self, query: LogQuery, start: float, end: float, limit: int, *, newest_first: bool
    ) -> LogAnswer:
        if limit < 1:
            raise QueryError("limit must be a positive value")
        if limit > MAX_ENTRIES:
            raise QueryError(
                f"max entries limit per query exceeded, limit > max_entries_limit_per_query"
                f" ({limit} > {MAX_ENTRIES})"
            )
        pipeline = Pipeline(query.stages)
        rows = self.streams.rows(query.matchers, start, end, ends=False)
        stats = self.streams.count(rows)
        rows = pipeline.filtered(self.streams, rows)
        rows = rows[::-1] if newest_first else rows
        if pipeline.plain:
            return self._answer_plain(rows, limit, stats)
        return self._answer(pipeline, rows, limit, stats)

    def _answer_plain(self, rows: Rows, limit: int, stats: LogStats) -> LogAnswer:
        """Answer with lines as they are."""
        chosen = rows[:limit]
        table = self.streams.table
        times, lines = table.columns()["time"], table.lines
        found: dict[int, list[tuple[float, str]]] = {}
        for row, key in zip(chosen.tolist(), self.streams.keys(chosen).tolist(), strict=True):
            found.setdefault(key, []).append((float(times[row]), lines[row]))
        streams = [LogStream(self.streams.labels_of(key), e) for key, e in found.items()]
        return LogAnswer("streams", _sorted(streams), stats=stats, total=len(rows))

    def _answer(self, pipeline: Pipeline, rows: Rows, limit: int, stats: LogStats) -> LogAnswer:
        """Answer with lines that went through stages; stops at the limit."""
        found: dict[tuple[tuple[str, str], ...], list[tuple[float, str]]] = {}
        count = 0
        for line in pipeline.lines(self.streams, rows):
            if count == limit:
                return LogAnswer("streams", _grouped(found), stats=stats)
            count += 1
            key = tuple(sorted(line.labels.items()))
            found.setdefault(key, []).append((line.time, line.text))
        return LogAnswer("streams", _grouped(found), stats=stats, total=count)

    # -- labels -----------------------------------------------------------------------------------

    def labels(self, start: float, end: float, *, match: str = "") -> list[str]:
        """Return the label names of streams in a window; raises QueryError for a bad selector."""
        return self.streams.names(start, end, match)

    def label_values(self, name: str, start: float, end: float, *, match: str = "") -> list[str]:
        """Return the values of a label in a window; raises as ``labels``."""
        return self.streams.values(name, start, end, match)

    def series(self, selectors: Sequence[str], start: float, end: float) -> list[dict[str, str]]:
        """Return the label sets of streams that a selector matches; raises as ``labels``."""
        return [dict(labels) for labels in self.streams.series(selectors, start, end)]

    def stats(self, selector: str, start: float, end: float) -> LogStats:
        """Count what a selector covers in ``[start, end)``; raises as ``labels``."""
        return self.streams.stats(selector, start, end)


def _grouped(
    found: Mapping[tuple[tuple[str, str], ...], list[tuple[float, str]]],
) -> list[LogStream]:
    return _sorted([LogStream(dict(key), entries) for key, entries in found.items()])


def _sorted(streams: list[LogStream]) -> list[LogStream]:
    return sorted(streams, key=lambda s: tuple(s.labels.items()))
