"""Whole answers of log, trace and SQL queries, as engines and environments exchange them.

They are made of rows (``rows``). Not here: answers of PromQL (``promql``), JSON of any wire API
(``wire``), text for agents (``tools``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiopslab.telemetry.rows import Series, SpanRow, TraceSummary


@dataclass(frozen=True, slots=True)
class LogStats:
    """What a selector covers: streams, chunks (one a stream and started hour), entries, bytes."""

    streams: int = 0
    chunks: int = 0
    entries: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class LogStream:
    """Log lines under one label set; ``entries`` are (unix seconds, line) in the asked order."""

    labels: Mapping[str, str]
    entries: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """Answer of a LogQL query.

    ``streams`` of a log query, sorted by labels; ``series`` of a metric query, sorted by labels
    unless ``sort``, ``topk`` or ``bottomk`` gives an order; a scalar is one series without labels.
    """

    kind: Literal["streams", "matrix", "vector", "scalar"]
    streams: Sequence[LogStream] = ()
    series: Sequence[Series] = ()
    stats: LogStats = LogStats()
    """What was read to answer: entries and bytes before any pipeline stage."""
    total: int | None = None
    """Lines of a log query that match; None where the search ended at its limit."""


@dataclass(frozen=True, slots=True)
class TraceMatch:
    """One trace found by a TraceQL query, with spans that matched."""

    summary: TraceSummary
    spans: Sequence[SpanRow]
    """Matching spans in start order, as many as asked for."""
    matched: int
    """How many spans match in all."""


@dataclass(frozen=True, slots=True)
class TagValue:
    """One value of a span tag with its type in TraceQL."""

    type: Literal["string", "int", "float", "bool", "keyword", "duration"]
    value: str


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """Rows of a SELECT."""

    columns: Sequence[str]
    types: Sequence[str]
    """SQL type of each column."""
    rows: Sequence[tuple[Any, ...]]
    """JSON values; times as RFC 3339 text, decimals and huge integers as numbers or text."""
    truncated: bool
    """There are more rows than the limit."""
    ordered: bool
    """The statement fixes the order of its rows (``ORDER BY``)."""
