"""The Environment: the one contract between the lab and everything above it.

Faults, tools, oracles, grading evidence and agents are written once against this and do not know
whether a simulated world or a cluster is behind it. Implementations are this module's neighbours:
``sim`` (virtual time, forkable); ``kind`` comes with a later release.

Kubernetes objects are plain dicts in their wire form. Times are unix seconds of the
environment's clock. Every method is a coroutine because on a real cluster it is I/O; on ``sim``
the time a call takes passes in the world.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from aiopslab.models.app import App
from aiopslab.models.evidence import CheckResult, SliWindow
from aiopslab.models.kube import ExecResult, Object, PatchType
from aiopslab.models.signal import Alert, Change, Event
from aiopslab.telemetry.answers import LogAnswer as LogAnswer
from aiopslab.telemetry.answers import LogStats as LogStats
from aiopslab.telemetry.answers import SqlAnswer as SqlAnswer
from aiopslab.telemetry.answers import TagValue as TagValue
from aiopslab.telemetry.answers import TraceMatch as TraceMatch
from aiopslab.telemetry.rows import LogRow as LogRow
from aiopslab.telemetry.rows import PathSegment as PathSegment
from aiopslab.telemetry.rows import ScrapeTarget as ScrapeTarget
from aiopslab.telemetry.rows import Series as Series
from aiopslab.telemetry.rows import SpanRow as SpanRow
from aiopslab.telemetry.rows import TraceSummary as TraceSummary

if TYPE_CHECKING:
    import pandas as pd

    from aiopslab.telemetry.promql import Answer
    from aiopslab.telemetry.rules import GroupStatus


class Kube(Protocol):
    """The Kubernetes API. ``kind`` is the singular kind, for instance ``Deployment``.

    All raise ``models.kube.KubeError``. ``actor`` names who acts, for the audit trail and the
    change log.
    """

    async def snapshot(self, namespace: str) -> list[Object]:
        """Return every object of a namespace without status and server-set fields, sorted."""
        ...

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object: ...

    async def list(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> list[Object]: ...

    def watch(self, kind: str, namespace: str | None = None) -> AsyncIterator[tuple[str, Object]]:
        """Yield (``ADDED`` | ``MODIFIED`` | ``DELETED``, object) from now on."""
        ...

    async def create(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object: ...

    async def replace(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object: ...

    async def patch(
        self,
        kind: str,
        name: str,
        patch: Any,
        *,
        namespace: str | None = None,
        type: PatchType = "strategic",
        subresource: Literal["", "scale"] = "",
        actor: str,
        dry_run: bool = False,
    ) -> Object: ...

    async def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        actor: str,
        grace_s: int | None = None,
    ) -> None: ...

    async def logs(
        self,
        pod: str,
        namespace: str,
        *,
        container: str | None = None,
        previous: bool = False,
        tail: int | None = None,
        since_s: float | None = None,
        timestamps: bool = False,
    ) -> str: ...

    async def exec(
        self,
        pod: str,
        namespace: str,
        argv: Sequence[str],
        *,
        container: str | None = None,
        stdin: str = "",
        timeout_s: float = 30.0,
    ) -> ExecResult: ...

    async def describe(self, kind: str, name: str, namespace: str | None = None) -> str:
        """Text in the manner of ``kubectl describe``."""
        ...

    async def table(
        self, kind: str, namespace: str | None = None, *, labels: str = "", wide: bool = False
    ) -> str:
        """Text in the manner of ``kubectl get``."""
        ...


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


class Traffic(Protocol):
    """The users. SLIs are of *intended* requests, measured at the generator."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def scale(self, factor: float, *, journey: str | None = None) -> None: ...

    async def slis(self, start: float, end: float) -> list[SliWindow]:
        """One window a journey; requests whose outcome is still open are not counted."""
        ...


class Substrate(Protocol):
    """What lies below Kubernetes; for faults, never for agents.

    Each change is what a real mistake or mishap would change; it lasts until undone by the same
    call with neutral values.
    """

    async def link(
        self,
        source: str,
        target: str,
        *,
        delay_s: float = 0.0,
        loss: float = 0.0,
        cut: bool = False,
    ) -> None:
        """Shape the path from the pods of one component to those of another (both by name)."""
        ...

    async def neighbour(self, node: str, *, name: str, threads: float, memory: int = 0) -> None:
        """Run a tenant outside the app on a node; ``threads`` 0 removes it."""
        ...

    async def store_admin(self, store: str, command: str) -> str:
        """Run SQL or a Valkey command as the operator of a store; returns its output.

        Raises:
            InfraError: The command failed.
        """
        ...

    async def record_change(self, change: Change) -> None:
        """Enter a line into the change log, for changes that Kubernetes does not see."""
        ...


class Environment(Protocol):
    """One deployed application under load."""

    app: App
    namespace: str
    kube: Kube
    telemetry: Telemetry
    traffic: Traffic
    substrate: Substrate

    def now(self) -> float:
        """Return unix seconds of the environment's clock."""
        ...

    async def advance(self, seconds: float) -> None:
        """Let the environment's time pass."""
        ...

    async def deploy(self) -> None:
        """Apply the app's manifests, wait until ready, start the load.

        Raises:
            InfraError: Not ready in time; says which pod and why.
        """
        ...

    async def probe(self) -> list[CheckResult]:
        """Return the app's health from outside: each workload ready, each SLO met right now."""
        ...

    async def data_digest(self) -> dict[str, int]:
        """Return rows (or keys of durable stores) per ``table:store/name``."""
        ...

    async def aclose(self) -> None:
        """Leave nothing behind."""
        ...
