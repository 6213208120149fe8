"""What an environment's monitoring stack answers: the ``Telemetry`` part of the contract.

Times are unix seconds of the environment's clock; every order is deterministic. Neighbours:
``protocol`` (the whole contract), ``store_telemetry`` (on a store), ``telemetry.rows`` and
``telemetry.answers`` (what is returned).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aiopslab.models.signal import Alert, Change, Event, StatusPost
from aiopslab.telemetry.answers import LogAnswer, LogStats, SqlAnswer, TagValue, TraceMatch
from aiopslab.telemetry.rows import (
    LogRow,
    PathSegment,
    ScrapeTarget,
    Series,
    SpanRow,
    TraceSummary,
)

if TYPE_CHECKING:
    import pandas as pd

    from aiopslab.telemetry.promql import Answer
    from aiopslab.telemetry.rules import GroupStatus


class Telemetry(Protocol):
    """What the monitoring stack of the environment knows. Read-only."""

    async def instant(self, promql: str, at: float | None = None) -> list[Series]:
        """Evaluate at an instant; one point a series. Raises ``telemetry.promql.QueryError``."""
        ...

    async def range(self, promql: str, start: float, end: float, step: float) -> list[Series]: ...

    async def promql(self, query: str, at: float | None = None) -> Answer:
        """Evaluate at an instant, keeping the type of the result; raises as ``instant``."""
        ...

    async def promql_range(self, query: str, start: float, end: float, step: float) -> Answer: ...

    async def series(
        self, matchers: Sequence[str], start: float, end: float
    ) -> list[dict[str, str]]:
        """Return the label sets, name included, that any selector matches; sorted.

        Only series with samples in ``[start, end]``. Raises ``QueryError`` as ``instant``.
        """
        ...

    async def label_names(self, matchers: Sequence[str], start: float, end: float) -> list[str]:
        """Return the label names of such series; without matchers of all."""
        ...

    async def label_values(
        self, name: str, matchers: Sequence[str], start: float, end: float
    ) -> list[str]: ...

    async def sampled(self) -> tuple[float, float] | None:
        """Return the times of the oldest and the newest sample; None before the first."""
        ...

    async def scrape_targets(self) -> list[ScrapeTarget]:
        """Return what is scraped now."""
        ...

    async def rule_groups(self) -> list[GroupStatus]:
        """Return the recording and alerting rules with their state."""
        ...

    async def metric_names(self, match: str = "") -> list[str]: ...

    async def families(self) -> dict[str, dict[str, str]]:
        """Return type, help and unit of every metric family that has series, by name, sorted."""
        ...

    async def metadata(self, metric: str) -> dict[str, str]:
        """Type, help and unit of a metric; empty if unknown."""
        ...

    async def labels(self, metric: str) -> dict[str, list[str]]:
        """Label names and their values for a metric."""
        ...

    async def logs(
        self,
        *,
        service: str | None = None,
        pod: str | None = None,
        contains: str = "",
        regex: str = "",
        severity: str = "",
        start: float,
        end: float,
        limit: int,
        newest_first: bool = True,
    ) -> tuple[list[LogRow], int]:
        """Return rows and the total before the limit; ``severity`` is a minimum."""
        ...

    async def log_patterns(
        self,
        *,
        service: str | None = None,
        severity: str = "",
        start: float,
        end: float,
        limit: int,
    ) -> list[tuple[str, str, int, float, float]]:
        """Return (service, template, count, first, last), most frequent first."""
        ...

    async def logql(
        self,
        query: str,
        start: float,
        end: float,
        *,
        step: float | None = None,
        limit: int = 100,
        newest_first: bool = True,
    ) -> LogAnswer:
        """Evaluate LogQL over ``[start, end)``: streams of lines, or a matrix at every ``step``.

        Raises:
            QueryError: Malformed, outside the dialect (named), or over a limit; in Loki's words.
        """
        ...

    async def logql_instant(self, query: str, at: float | None = None) -> LogAnswer:
        """Evaluate a LogQL metric query at an instant; raises as ``logql``."""
        ...

    async def log_labels(self, start: float, end: float, *, match: str = "") -> list[str]:
        """Return the label names of streams with lines in the window; ``match`` selects some."""
        ...

    async def log_label_values(
        self, name: str, start: float, end: float, *, match: str = ""
    ) -> list[str]: ...

    async def log_series(
        self, matchers: Sequence[str], start: float, end: float
    ) -> list[dict[str, str]]:
        """Return the label sets of streams that any selector matches; all if there is none."""
        ...

    async def log_stats(self, selector: str, start: float, end: float) -> LogStats: ...

    async def traces(
        self,
        *,
        service: str | None = None,
        operation: str = "",
        exact: bool = False,
        tags: Mapping[str, str] | None = None,
        min_ms: float | None = None,
        max_ms: float | None = None,
        errors_only: bool = False,
        start: float,
        end: float,
        limit: int,
    ) -> tuple[list[TraceSummary], int]:
        """Return traces with a span that meets all conditions, newest first, and their total.

        ``operation`` is part of a span's name, or with ``exact`` all of it; ``tags`` are
        attributes by their text (``{"http.response.status_code": "500", "error": "true"}``).
        """
        ...

    async def traceql(
        self, query: str, start: float, end: float, *, limit: int = 20, spans: int = 3
    ) -> tuple[list[TraceMatch], int]:
        """Evaluate a TraceQL query: traces, newest first, each with up to ``spans`` spans.

        Raises:
            QueryError: Malformed, or outside the dialect (named).
        """
        ...

    async def traceql_metrics(
        self, query: str, start: float, end: float, *, step: float | None = None
    ) -> list[Series]:
        """Evaluate TraceQL metrics at each step's end, or once without one; as ``traceql``."""
        ...

    async def trace(self, trace_id: str) -> list[SpanRow]:
        """Return the spans of a trace in start order; empty if unknown."""
        ...

    async def trace_spans(self, trace_ids: Sequence[str]) -> list[list[SpanRow]]:
        """Return ``trace`` of each id, at the cost of one look."""
        ...

    async def traced_services(self) -> list[str]:
        """Return the services that recorded spans, sorted."""
        ...

    async def operations(self, service: str | None = None) -> list[tuple[str, str]]:
        """Return (span name, span kind) of a service, or of all, sorted."""
        ...

    async def span_tags(self) -> dict[str, list[str]]:
        """Return tag names by scope: ``resource``, ``span`` and ``intrinsic``."""
        ...

    async def span_tag_values(self, tag: str) -> list[TagValue]:
        """Return the values of ``resource.x``, ``span.x``, ``.x`` or an intrinsic, sorted."""
        ...

    async def critical_path(self, trace_id: str) -> list[PathSegment]:
        """Return what a trace waited for, in time order; empty if the trace is unknown."""
        ...

    async def service_graph(
        self, start: float, end: float
    ) -> list[tuple[str, str, int, int, float]]:
        """Return edges (caller, callee, calls, errors, p95 ms) seen in spans."""
        ...

    async def alerts(self, *, include_resolved: bool = False) -> list[Alert]: ...

    async def events(
        self, *, namespace: str, name: str = "", warnings_only: bool = False, since: float
    ) -> list[Event]: ...

    async def status_posts(self, *, partner: str = "", since: float) -> list[StatusPost]:
        """Return what partners outside posted on their status pages, oldest first."""
        ...

    async def changes(self, *, component: str = "", since: float) -> list[Change]: ...

    async def sql(self, query: str, *, limit: int = 1000) -> SqlAnswer:
        """Run one SELECT over the tables ``spans logs samples events changes alerts``.

        Raises:
            QueryError: Not one SELECT, refused (named), malformed, or over its time or memory.
        """
        ...

    async def frame(self, signal: str) -> pd.DataFrame:
        """A whole signal as a DataFrame: ``spans logs samples events changes alerts``."""
        ...

    async def write_parquet(self, directory: Path) -> None:
        """Write every signal as a file into a directory; equal content gives equal bytes."""
        ...
