"""The part of Tempo's HTTP API that assistants use: search, traces by id, tags and their values.

TraceQL as far as ``telemetry.traceql`` evaluates it. Traces come as OTLP JSON with ids in hex. Not
here: TraceQL, the encoding of spans (``otlp_json``).
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aiopslab.environments.protocol import Monitored, Series, SpanRow, TraceMatch
from aiopslab.models.timestamps import nanoseconds
from aiopslab.telemetry.promql import QueryError
from aiopslab.wire.gate import Gate
from aiopslab.wire.monitoring.assembly import (
    Api,
    Json,
    Text,
    Words,
    assembled,
    build_info,
    constant,
)
from aiopslab.wire.monitoring.otlp_json import attributes, resource_spans
from aiopslab.wire.monitoring.parameters import (
    BadParameter,
    Parameters,
    brief,
    duration,
    seconds_or_date,
    skew,
    trace_id,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

VERSION = "2.9.0"
"""The release of Tempo whose HTTP API this is."""
LOOKBACK_S = 3600.0
DEFAULT_TRACES, MAX_TRACES = 20, 1000
DEFAULT_SPANS, MAX_SPANS = 3, 100
_FREE = frozenset({"/ready", "/api/echo", "/api/status/buildinfo", "/status/version"})
_SCOPES = ("resource", "span", "intrinsic")
_STEPS = 100
"""About as many points has a series of metrics where no step is given."""


def tempo_app(env: Monitored, gate: Gate) -> ASGIApp:
    """Serve the traces of an environment.

    Args:
        env: Whose traces; its clock is the server's.
        gate: Each request takes its turn there.
    """
    handlers = _Tempo(env)
    routes = [
        Route("/ready", constant("ready\n")),
        Route("/api/echo", constant("echo")),
        Route("/status/version", _build_info),
        Route("/api/status/buildinfo", _build_info),
        Route("/api/traces/{id:path}", handlers.trace_v1),
        Route("/api/v2/traces/{id:path}", handlers.trace_v2),
        Route("/api/search", handlers.search),
        Route("/api/search/tags", handlers.tags_v1),
        Route("/api/search/tag/{tag:path}/values", handlers.values_v1),
        Route("/api/v2/search/tags", handlers.tags_v2),
        Route("/api/v2/search/tag/{tag:path}/values", handlers.values_v2),
        Route("/api/metrics/query", handlers.metrics),
        Route("/api/metrics/query_range", handlers.metrics_range),
    ]
    failures: dict[type[Exception], Words] = {
        BadParameter: lambda error: tempo_refusal(400, str(error)),
        QueryError: lambda error: tempo_refusal(400, f"invalid TraceQL query: {error}"),
    }
    return assembled(Api("tempo", tempo_refusal, failures, _FREE), routes, gate, now=env.now)


def tempo_refusal(status: int, message: str) -> Response:
    """Refuse in Tempo's form: plain text."""
    return Text(message, status)


class _Tempo:
    """Handlers over one environment."""

    def __init__(self, env: Monitored) -> None:
        self._env = env
        self._telemetry = env.telemetry

    async def search(self, request: Request) -> Response:
        """Serve ``search`` by TraceQL (``q``) or by ``tags``, ``minDuration``, ``maxDuration``."""
        p = await Parameters.of(request)
        now = self._env.now()
        start, end = _window(p, now)
        query = p.get("q") or _from_tags(p)
        found, total = await self._telemetry.traceql(
            query, start, end,
            limit=p.whole("limit", DEFAULT_TRACES, most=MAX_TRACES) or DEFAULT_TRACES,
            spans=p.whole("spss", DEFAULT_SPANS, most=MAX_SPANS) or DEFAULT_SPANS,
        )  # fmt: skip
        body: dict[str, Any] = {
            "traces": [_match(match) for match in found],
            "metrics": {"inspectedTraces": total, "completedJobs": 1, "totalJobs": 1},
        }
        return Json(_hinted(body, skew(start, end, now)))

    async def metrics(self, request: Request) -> Response:
        """Serve ``metrics/query``: one value a series over the whole range."""
        p = await Parameters.of(request)
        now = self._env.now()
        start, end = _window(p, now)
        found = await self._telemetry.traceql_metrics(_metrics_query(p), start, end)
        series = [{**_labels(s), "value": s.points[-1][1]} for s in found]
        return Json(_hinted({"series": series, "metrics": {}}, skew(start, end, now)))

    async def metrics_range(self, request: Request) -> Response:
        """Serve ``metrics/query_range``."""
        p = await Parameters.of(request)
        now = self._env.now()
        start, end = _window(p, now)
        hint = skew(start, end, now)
        end = min(end, now)
        if start >= end:
            return Json(_hinted({"series": [], "metrics": {}}, hint))
        text = p.get("step")
        step = duration(text) if text else max(1.0, math.ceil((end - start) / _STEPS))
        found = await self._telemetry.traceql_metrics(_metrics_query(p), start, end, step=step)
        series = [
            {
                **_labels(s),
                "samples": [{"timestampMs": str(round(t * 1e3)), "value": v} for t, v in s.points],
            }
            for s in found
        ]
        return Json(_hinted({"series": series, "metrics": {}}, hint))

    async def trace_v1(self, request: Request) -> Response:
        """Serve one trace as ``batches``."""
        return Json({"batches": resource_spans(await self._trace(request))})

    async def trace_v2(self, request: Request) -> Response:
        """Serve one trace as ``trace``."""
        spans = await self._trace(request)
        return Json({"trace": {"resourceSpans": resource_spans(spans)}, "metrics": {}})

    async def _trace(self, request: Request) -> Sequence[SpanRow]:
        wanted = trace_id(request.path_params["id"])
        spans = await self._telemetry.trace(wanted)
        if not spans:
            raise HTTPException(404, f"trace {wanted} not found")
        return spans

    async def tags_v1(self, request: Request) -> Response:
        """Serve the names of all tags."""
        scopes = await self._scopes(request)
        return Json({"tagNames": sorted({tag for tags in scopes.values() for tag in tags})})

    async def tags_v2(self, request: Request) -> Response:
        """Serve the names of tags by scope."""
        scopes = await self._scopes(request)
        return Json({"scopes": [{"name": n, "tags": list(t)} for n, t in scopes.items()]})

    async def _scopes(self, request: Request) -> dict[str, list[str]]:
        p = await Parameters.of(request)
        wanted = p.get("scope", "none")
        if wanted not in ("none", *_SCOPES):
            raise BadParameter(f"invalid scope: {brief(wanted)}")
        tags = await self._telemetry.span_tags()
        return {s: tags.get(s, []) for s in _SCOPES if wanted in ("none", s)}

    async def values_v1(self, request: Request) -> Response:
        """Serve the values of a tag."""
        found = await self._telemetry.span_tag_values(request.path_params["tag"])
        return Json({"tagValues": [value.value for value in found]})

    async def values_v2(self, request: Request) -> Response:
        """Serve the values of a tag with their types."""
        found = await self._telemetry.span_tag_values(request.path_params["tag"])
        return Json({"tagValues": [{"type": v.type, "value": v.value} for v in found]})


def _hinted(body: dict[str, Any], hint: str) -> dict[str, Any]:
    return {**body, "warnings": [hint]} if hint else body


def _labels(series: Series) -> dict[str, Any]:
    inner = ", ".join(f"{name}={json.dumps(value)}" for name, value in series.labels.items())
    return {"labels": attributes(series.labels), "promLabels": f"{{{inner}}}"}


def _metrics_query(p: Parameters) -> str:
    return p.get("q") or p.get("query") or p.required("q")


def _match(match: TraceMatch) -> dict[str, Any]:
    trace = match.summary
    spans = {
        "spans": [
            {
                "spanID": span.span_id,
                "name": span.name,
                "startTimeUnixNano": str(nanoseconds(span.start)),
                "durationNanos": str(round(span.duration_ms * 1e6)),
                "attributes": attributes({"service.name": span.service, **span.attributes}),
            }
            for span in match.spans
        ],
        "matched": match.matched,
    }
    return {
        "traceID": trace.trace_id,
        "rootServiceName": trace.root_service,
        "rootTraceName": trace.root_name,
        "startTimeUnixNano": str(nanoseconds(trace.start)),
        "durationMs": round(trace.duration_ms),
        "spanSet": spans,
        "spanSets": [spans],
    }


def _from_tags(p: Parameters) -> str:
    """Turn the older search parameters into TraceQL.

    ``tags`` is logfmt: ``service.name=search http.response.status_code=500``.

    Raises:
        BadParameter: Malformed.
    """
    conditions = []
    try:
        pairs = [word.partition("=") for word in shlex.split(p.get("tags"))]
    except ValueError as error:
        raise BadParameter(f"invalid tags: {error}") from error
    for name, equals, value in pairs:
        if not name or not equals:
            raise BadParameter(f"invalid tags: {brief(name)} is not name=value")
        conditions.append(_condition(name, value))
    for parameter, sign in (("minDuration", ">="), ("maxDuration", "<=")):
        if text := p.get(parameter):
            conditions.append(f"duration {sign} {round(duration(text) * 1e6)}us")
    return "{ " + " && ".join(conditions) + " }" if conditions else "{}"


def _condition(name: str, value: str) -> str:
    """Return a TraceQL condition for one tag; a number may be meant as number or as text."""
    if name in ("error", "status"):
        return "status = error" if value in ("true", "error") else "status != error"
    field = name if name == "name" else f".{name}"
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value.isascii() and value.isdigit():
        return f"({field} = {value} || {field} = {quoted})"
    return f"{field} = {quoted}"


def _window(p: Parameters, now: float) -> tuple[float, float]:
    """Return start and end; a bare ``since`` counts from the end, else an hour does.

    Raises:
        BadParameter: Malformed, or empty.
    """
    end = _time(p, "end", now, now)
    since = duration(p.get("since")) if p.get("since") else LOOKBACK_S
    start = _time(p, "start", now, min(end, now) - since)
    if start >= end:
        raise BadParameter("http parameter start must be before end")
    return start, end


def _time(p: Parameters, name: str, now: float, default: float) -> float:
    text = p.get(name)
    try:
        return seconds_or_date(text, now) if text else default
    except BadParameter as error:
        raise BadParameter(f"invalid {name}: {error}") from error


async def _build_info(_: Request) -> Response:
    return Json(build_info(VERSION))
