"""Jaeger's API v3: the same traces as OTLP in JSON, with RFC 3339 times.

Parameters may be written as in proto3 JSON (``query.serviceName``) or in the older snake case. Not
here: the UI's own API (``jaeger``), the encoding of spans (``otlp_json``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aiopslab.environments.protocol import Monitored, SpanRow, TraceSummary
from aiopslab.models.timestamps import nanoseconds
from aiopslab.wire.monitoring.assembly import Json
from aiopslab.wire.monitoring.otlp_json import resource_spans
from aiopslab.wire.monitoring.parameters import (
    BadParameter,
    Parameters,
    duration,
    json_object,
    seconds_or_date,
    skew,
    trace_id,
)

MAX_TRACES = 1500
"""Traces of one answer, the bound of Jaeger's UI."""
MAX_SPANS = 50_000
"""Spans of one answer; written out they are about 30 MB."""
DEFAULT_DEPTH = 100
_NOTHING = "No traces found"
_OLD = {
    "query.searchDepth": ("query.search_depth", "query.num_traces"),
    "query.serviceName": ("query.service_name",),
    "query.operationName": ("query.operation_name",),
    "query.startTimeMin": ("query.start_time_min",),
    "query.startTimeMax": ("query.start_time_max",),
    "query.durationMin": ("query.duration_min",),
    "query.durationMax": ("query.duration_max",),
    "startTime": ("start_time",),
    "endTime": ("end_time",),
    "spanKind": ("span_kind",),
}
"""Deprecated spellings by parameter."""


class V3Error(Exception):
    """A request that v3 refuses, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def gateway_error(error: Exception) -> Response:
    """Word a refusal as the gRPC gateway does."""
    status = error.status if isinstance(error, V3Error) else 400
    return Json({"error": {"httpCode": status, "message": str(error)}}, status)


@dataclass(frozen=True, slots=True)
class _Query:
    """What a search asks for."""

    start: float
    end: float
    conditions: dict[str, Any]


class V3:
    """Handlers of API v3.

    Args:
        env: The environment.
    """

    def __init__(self, env: Monitored) -> None:
        self._env = env
        self._telemetry = env.telemetry

    def routes(self) -> list[Route]:
        """Return what is served where."""
        return [
            Route("/api/v3/services", self.services),
            Route("/api/v3/operations", self.operations),
            Route("/api/v3/traces", self.traces),
            Route("/api/v3/traces/{id:path}", self.trace),
            Route("/api/v3/trace-summaries", self.summaries),
            Route("/api/v3/dependencies", self.dependencies),
        ]

    async def services(self, _: Request) -> Response:
        """Serve the services that recorded spans."""
        return Json({"services": await self._telemetry.traced_services()})

    async def operations(self, request: Request) -> Response:
        """Serve the operations of a service."""
        p = await _parameters(request)
        if not p.get("service"):
            raise V3Error(400, "malformed parameter service: it is required")
        kind = _value(p, "spanKind").lower()
        found = await self._telemetry.operations(p.get("service"))
        shown = [{"name": n, "spanKind": k} for n, k in found if kind in ("", k)]
        return Json({"operations": shown})

    async def trace(self, request: Request) -> Response:
        """Serve one trace."""
        try:
            wanted = trace_id(request.path_params["id"])
        except BadParameter as error:
            raise V3Error(400, f"malformed parameter trace_id: {error}") from error
        spans = await self._telemetry.trace(wanted)
        if not spans:
            raise V3Error(404, _NOTHING)
        return Json({"result": {"resourceSpans": resource_spans(spans)}})

    async def traces(self, request: Request) -> Response:
        """Serve the traces that match, whole."""
        found = await self._found(request)
        spans = [resource for one in found for resource in resource_spans(one)]
        return Json({"result": {"resourceSpans": spans}})

    async def summaries(self, request: Request) -> Response:
        """Serve the traces that match, a summary of each."""
        return Json({"summaries": [_summary(spans) for spans in await self._found(request)]})

    async def dependencies(self, request: Request) -> Response:
        """Serve who called whom."""
        p = await _parameters(request)
        now = self._env.now()
        end = _time(p, "endTime", now, now)
        start = _time(p, "startTime", now, end - 86400.0)
        edges = await self._telemetry.service_graph(start, end)
        shown = [{"parent": a, "child": b, "callCount": str(calls)} for a, b, calls, _, _ in edges]
        return Json({"dependencies": shown})

    async def _found(self, request: Request) -> list[list[SpanRow]]:
        p = await _parameters(request)
        now = self._env.now()
        query = _query(p, now)
        summaries, _ = await self._telemetry.traces(
            exact=True, start=query.start, end=query.end, **query.conditions
        )
        if not summaries:
            hint = skew(query.start, query.end, now)
            raise V3Error(404, f"{_NOTHING}: {hint}" if hint else _NOTHING)
        try:
            return await self._telemetry.trace_spans(ids_of(summaries))
        except BadParameter as error:
            raise V3Error(400, str(error)) from error


def ids_of(summaries: Sequence[TraceSummary]) -> list[str]:
    """Return the ids of traces that are to be shown whole.

    Raises:
        BadParameter: Together they are too large.
    """
    if sum(summary.spans for summary in summaries) > MAX_SPANS:
        raise BadParameter(
            f"the {len(summaries)} traces have more than {MAX_SPANS} spans; ask for fewer"
        )
    return [summary.trace_id for summary in summaries]


async def _parameters(request: Request) -> Parameters:
    try:
        return await Parameters.of(request)
    except BadParameter as error:
        raise V3Error(400, str(error)) from error


def _value(p: Parameters, name: str) -> str:
    """Return a parameter under its name or a deprecated one."""
    return next((v for n in (name, *_OLD[name]) if (v := p.get(n))), "")


def _query(p: Parameters, now: float) -> _Query:
    if not _value(p, "query.startTimeMin") or not _value(p, "query.startTimeMax"):
        raise V3Error(400, "query.startTimeMin and query.startTimeMax are required")
    start = _time(p, "query.startTimeMin", now, now)
    end = _time(p, "query.startTimeMax", now, now)
    if start >= end:
        raise V3Error(400, "query.startTimeMin must be before query.startTimeMax")
    depth = _value(p, "query.searchDepth") or str(DEFAULT_DEPTH)
    if not depth.isascii() or not depth.isdigit() or len(depth) > 10 or not int(depth):
        raise V3Error(400, "malformed parameter query.searchDepth: it is a positive number")
    try:
        attributes = p.get("query.attributes")
        tags = json_object(attributes) if attributes else {}
    except BadParameter as error:
        raise V3Error(400, f"malformed parameter query.attributes: {error}") from error
    conditions = {
        "service": _value(p, "query.serviceName") or None,
        "operation": _value(p, "query.operationName"),
        "tags": tags,
        "min_ms": _milliseconds(p, "query.durationMin"),
        "max_ms": _milliseconds(p, "query.durationMax"),
        "limit": min(int(depth), MAX_TRACES),
    }
    return _Query(start, end, conditions)


def _time(p: Parameters, name: str, now: float, default: float) -> float:
    text = _value(p, name)
    try:
        return seconds_or_date(text, now) if text else default
    except BadParameter as error:
        raise V3Error(400, f"malformed parameter {name}: {error}") from error


def _milliseconds(p: Parameters, name: str) -> float | None:
    text = _value(p, name)
    try:
        return duration(text) * 1e3 if text else None
    except BadParameter as error:
        raise V3Error(400, f"malformed parameter {name}: {error}") from error


def _summary(spans: Sequence[SpanRow]) -> dict[str, Any]:
    known = {span.span_id for span in spans}
    root = next((span for span in spans if not span.parent_id), None)
    count = Counter(span.service for span in spans)
    failed = Counter(span.service for span in spans if span.error)
    return {
        "traceId": spans[0].trace_id,
        "rootServiceName": root.service if root else "",
        "rootOperationName": root.name if root else "",
        "minStartTimeUnixNano": str(nanoseconds(min(s.start for s in spans))),
        "maxEndTimeUnixNano": str(nanoseconds(max(s.start + s.duration_ms / 1e3 for s in spans))),
        "spanCount": len(spans),
        "errorSpanCount": sum(failed.values()),
        "orphanSpanCount": sum(bool(s.parent_id) and s.parent_id not in known for s in spans),
        "services": [
            {"name": name, "spanCount": count[name], "errorSpanCount": failed[name]}
            for name in sorted(count)
        ],
    }
