"""The Environment's ``Telemetry`` on a store: that of a simulated world, or a cluster's copy.

Queries read memory; no time of the environment passes. Not here: the tables (``telemetry``), alert
rules, keeping a copy up to date (``cluster.telemetry``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aiopslab.models.signal import Alert, Change, Event, StatusPost
from aiopslab.telemetry import catalogue
from aiopslab.telemetry.answers import LogAnswer, LogStats, SqlAnswer, TagValue, TraceMatch
from aiopslab.telemetry.logql import LogEngine
from aiopslab.telemetry.promql import Answer
from aiopslab.telemetry.rows import (
    LogRow,
    PathSegment,
    ScrapeTarget,
    Series,
    SpanRow,
    TraceSummary,
)
from aiopslab.telemetry.rules import GroupStatus, RuleState
from aiopslab.telemetry.samples import NAME, SCRAPE_S
from aiopslab.telemetry.sql import SqlEngine
from aiopslab.telemetry.store import Store
from aiopslab.telemetry.traceql import TraceEngine
from aiopslab.telemetry.traces import Tree

if TYPE_CHECKING:
    import pandas as pd


class StoreTelemetry:
    """Reads one environment's telemetry.

    Args:
        now: The environment's clock, in unix seconds.
        store: Its telemetry.
        rules: The alert rules' state.
    """

    def __init__(self, now: Callable[[], float], store: Store, rules: RuleState) -> None:
        self._now = now
        self._store = store
        self._rules = rules
        self._logql = LogEngine(store.logs)
        self._traceql = TraceEngine(store.spans)
        self._sql = SqlEngine(store, now)

    async def instant(self, promql: str, at: float | None = None) -> list[Series]:
        time = self._now() if at is None else at
        return self._store.promql.instant(promql, time)

    async def range(self, promql: str, start: float, end: float, step: float) -> list[Series]:
        return self._store.promql.range(promql, start, end, step)

    async def promql(self, query: str, at: float | None = None) -> Answer:
        return self._store.promql.query(query, self._now() if at is None else at)

    async def promql_range(self, query: str, start: float, end: float, step: float) -> Answer:
        return self._store.promql.query_range(query, start, end, step)

    async def series(
        self, matchers: Sequence[str], start: float, end: float
    ) -> list[dict[str, str]]:
        return self._store.promql.series(matchers, start, end)

    async def label_names(self, matchers: Sequence[str], start: float, end: float) -> list[str]:
        return self._store.promql.label_names(matchers, start, end)

    async def label_values(
        self, name: str, matchers: Sequence[str], start: float, end: float
    ) -> list[str]:
        return self._store.promql.label_values(name, matchers, start, end)

    async def sampled(self) -> tuple[float, float] | None:
        times = self._store.samples.times()
        return (float(times[0]), float(times[-1])) if len(times) else None

    async def scrape_targets(self) -> list[ScrapeTarget]:
        sampled = await self.sampled()
        if sampled is None:
            return []
        # A target that is gone has no ``up`` in the newest round.
        found = self._store.promql.instant("up", sampled[1])
        return [
            ScrapeTarget(
                labels={k: v for k, v in series.labels.items() if k != NAME},
                up=series.points[0][1] == 1.0,
                scraped_at=sampled[1],
                interval_s=SCRAPE_S,
            )
            for series in found
        ]

    async def rule_groups(self) -> list[GroupStatus]:
        return self._rules.groups()

    async def metric_names(self, match: str = "") -> list[str]:
        return [n for n in self._store.samples.names() if match in n]

    async def metadata(self, metric: str) -> dict[str, str]:
        return catalogue.metadata(metric)

    async def families(self) -> dict[str, dict[str, str]]:
        return catalogue.families(self._store.samples.names())

    async def labels(self, metric: str) -> dict[str, list[str]]:
        samples = self._store.samples
        found: dict[str, set[str]] = {}
        for column in samples.columns_named(metric):
            for key, value in samples.labels[column]:
                if key != "__name__":
                    found.setdefault(key, set()).add(value)
        return {key: sorted(values) for key, values in sorted(found.items())}

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
        return self._store.logs.search(
            service=service,
            pod=pod,
            contains=contains,
            regex=regex,
            severity=severity,
            start=start,
            end=end,
            limit=limit,
            newest_first=newest_first,
        )

    async def log_patterns(
        self,
        *,
        service: str | None = None,
        severity: str = "",
        start: float,
        end: float,
        limit: int,
    ) -> list[tuple[str, str, int, float, float]]:
        return self._store.logs.patterns(
            service=service, severity=severity, start=start, end=end, limit=limit
        )

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
        return self._logql.range(
            query, start, end, step=step, limit=limit, newest_first=newest_first
        )

    async def logql_instant(self, query: str, at: float | None = None) -> LogAnswer:
        return self._logql.instant(query, self._now() if at is None else at)

    async def log_labels(self, start: float, end: float, *, match: str = "") -> list[str]:
        return self._logql.labels(start, end, match=match)

    async def log_label_values(
        self, name: str, start: float, end: float, *, match: str = ""
    ) -> list[str]:
        return self._logql.label_values(name, start, end, match=match)

    async def log_series(
        self, matchers: Sequence[str], start: float, end: float
    ) -> list[dict[str, str]]:
        return self._logql.series(matchers, start, end)

    async def log_stats(self, selector: str, start: float, end: float) -> LogStats:
        return self._logql.stats(selector, start, end)

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
        return self._traceql.search(
            service=service,
            operation=operation,
            exact=exact,
            tags=tags,
            min_ms=min_ms,
            max_ms=max_ms,
            errors_only=errors_only,
            start=start,
            end=end,
            limit=limit,
        )

    async def traceql(
        self, query: str, start: float, end: float, *, limit: int = 20, spans: int = 3
    ) -> tuple[list[TraceMatch], int]:
        return self._traceql.query(query, start, end, limit=limit, spans=spans)

    async def traceql_metrics(
        self, query: str, start: float, end: float, *, step: float | None = None
    ) -> list[Series]:
        return self._traceql.metrics(query, start, end, step=step)

    async def trace(self, trace_id: str) -> list[SpanRow]:
        return self._store.spans.trace(trace_id)

    async def trace_spans(self, trace_ids: Sequence[str]) -> list[list[SpanRow]]:
        return self._store.spans.trace_spans(trace_ids)

    async def traced_services(self) -> list[str]:
        return self._traceql.services()

    async def operations(self, service: str | None = None) -> list[tuple[str, str]]:
        return self._traceql.operations(service)

    async def span_tags(self) -> dict[str, list[str]]:
        return self._traceql.tags()

    async def span_tag_values(self, tag: str) -> list[TagValue]:
        return self._traceql.tag_values(tag)

    async def critical_path(self, trace_id: str) -> list[PathSegment]:
        return Tree(self._store.spans.trace(trace_id)).critical_path()

    async def service_graph(
        self, start: float, end: float
    ) -> list[tuple[str, str, int, int, float]]:
        return self._store.spans.service_graph(start, end)

    async def alerts(self, *, include_resolved: bool = False) -> list[Alert]:
        return self._rules.alerts(include_resolved=include_resolved)

    async def events(
        self, *, namespace: str, name: str = "", warnings_only: bool = False, since: float
    ) -> list[Event]:
        return self._store.events(
            namespace=namespace, name=name, warnings_only=warnings_only, since=since
        )

    async def status_posts(self, *, partner: str = "", since: float) -> list[StatusPost]:
        return self._store.posts(partner=partner, since=since)

    async def changes(self, *, component: str = "", since: float) -> list[Change]:
        return self._store.changes(component=component, since=since)

    async def sql(self, query: str, *, limit: int = 1000) -> SqlAnswer:
        return self._sql.query(query, limit=limit)

    async def frame(self, signal: str) -> pd.DataFrame:
        return self._store.frame(signal)

    async def write_parquet(self, directory: Path) -> None:
        self._store.write_parquet(directory)
