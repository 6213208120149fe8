"""Jaeger's HTTP API: the JSON its UI reads (``/api``), and v3 beside it (``jaeger_v3``).

Times are microseconds, durations Go's (``100ms``); search answers whole traces. Not here: search
(``telemetry.spans``), v3's shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aiopslab.environments.protocol import Monitored, SpanRow
from aiopslab.wire.gate import Gate
from aiopslab.wire.monitoring.assembly import Api, Json, Words, assembled
from aiopslab.wire.monitoring.jaeger_v3 import MAX_TRACES, V3, V3Error, gateway_error, ids_of
from aiopslab.wire.monitoring.otlp_json import known_to_json
from aiopslab.wire.monitoring.parameters import (
    MAX_NUMBER,
    BadParameter,
    Parameters,
    brief,
    duration,
    json_object,
    seconds_or_date,
    skew,
    trace_id,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

DEFAULT_LIMIT = 100
LOOKBACK_S = 2 * 86400.0
"""How far back a search looks that says neither ``start`` nor ``lookback``."""
DEPENDENCY_LOOKBACK_S = 86400.0
MAX_IDS = 100
"""Traces that one request may name."""


def jaeger_app(env: Monitored, gate: Gate) -> ASGIApp:
    """Serve the traces of an environment.

    Args:
        env: Whose traces; its clock is the server's.
        gate: Each request takes its turn there.
    """
    v1, v3 = _V1(env), V3(env)
    routes = [
        Route("/api/services", v1.services),
        Route("/api/services/{service:path}/operations", v1.operation_names),
        Route("/api/operations", v1.operations),
        Route("/api/traces", v1.search),
        Route("/api/traces/{id:path}", v1.trace),
        Route("/api/dependencies", v1.dependencies),
        *v3.routes(),
    ]
    failures: dict[type[Exception], Words] = {
        BadParameter: lambda error: jaeger_refusal(400, str(error)),
        V3Error: gateway_error,
    }
    return assembled(Api("jaeger", jaeger_refusal, failures), routes, gate, now=env.now)


def jaeger_refusal(status: int, message: str) -> Response:
    """Refuse in Jaeger's form."""
    errors = [{"code": status, "msg": message}]
    empty = {"data": None, "total": 0, "limit": 0, "offset": 0}
    return Json({**empty, "errors": errors}, status)


class _V1:
    """Handlers of the UI's API."""

    def __init__(self, env: Monitored) -> None:
        self._env = env
        self._telemetry = env.telemetry

    async def services(self, _: Request) -> Response:
        """Serve the services that recorded spans."""
        return _shown(await self._telemetry.traced_services())

    async def operation_names(self, request: Request) -> Response:
        """Serve the names of a service's spans."""
        found = await self._telemetry.operations(request.path_params["service"])
        return _shown(sorted({name for name, _ in found}))

    async def operations(self, request: Request) -> Response:
        """Serve the same with span kinds."""
        p = await Parameters.of(request)
        kind = p.get("spanKind")
        found = await self._telemetry.operations(p.required("service"))
        data = [{"name": n, "spanKind": k} for n, k in found if kind in ("", k)]
        return _shown(data)

    async def search(self, request: Request) -> Response:
        """Serve ``/api/traces``: named traces, or those that a span makes match."""
        p = await Parameters.of(request)
        if ids := p.all("traceID"):
            if len(ids) > MAX_IDS:
                raise BadParameter(f"more than {MAX_IDS} values of 'traceID'")
            found = await self._telemetry.trace_spans([trace_id(i) for i in ids])
            return _shown([_trace(spans) for spans in found if spans])
        if not p.get("service"):
            raise BadParameter("parameter 'service' is required")
        now = self._env.now()
        start, end = self._window(p, now)
        found = await self._found(p, start, end)
        hint = skew(start, end, now)
        return _shown([_trace(spans) for spans in found], hint)

    async def _found(self, p: Parameters, start: float, end: float) -> list[list[SpanRow]]:
        shortest, longest = _milliseconds(p, "minDuration"), _milliseconds(p, "maxDuration")
        if shortest is not None and longest is not None and shortest > longest:
            raise BadParameter("'maxDuration' should be greater than 'minDuration'")
        operation = p.get("operation")
        summaries, _ = await self._telemetry.traces(
            service=p.get("service"),
            # Jaeger's own UI asks for "all" when no operation is chosen.
            operation="" if operation == "all" else operation,
            exact=True,
            tags=_tags(p),
            min_ms=shortest,
            max_ms=longest,
            start=start,
            end=end,
            limit=p.whole("limit", DEFAULT_LIMIT, most=MAX_TRACES) or DEFAULT_LIMIT,
        )
        return await self._telemetry.trace_spans(ids_of(summaries))

    def _window(self, p: Parameters, now: float) -> tuple[float, float]:
        """Return start and end; a bare ``lookback`` (``1h``) counts from the end."""
        end = _microseconds(p, "end", now, now)
        lookback, text = LOOKBACK_S, p.get("lookback")
        if text and text != "custom":
            lookback = _duration("lookback", text)
        return _microseconds(p, "start", now, end - lookback), end

    async def trace(self, request: Request) -> Response:
        """Serve one trace."""
        spans = await self._telemetry.trace(trace_id(request.path_params["id"]))
        if not spans:
            return jaeger_refusal(404, "trace not found")
        return _shown([_trace(spans)])

    async def dependencies(self, request: Request) -> Response:
        """Serve who called whom; the times are milliseconds."""
        p = await Parameters.of(request)
        now = self._env.now()
        end = _whole(p, "endTs", 1e3, now)
        lookback = _whole(p, "lookback", 1e3, DEPENDENCY_LOOKBACK_S)
        edges = await self._telemetry.service_graph(end - lookback, end)
        data = [{"parent": a, "child": b, "callCount": calls} for a, b, calls, _, _ in edges]
        return _shown(data, skew(end - lookback, end, now))


def _shown(data: Sequence[Any], hint: str = "") -> Response:
    body = {"data": data, "total": len(data), "limit": 0, "offset": 0, "errors": None}
    if hint:
        body["warnings"] = [hint]
    return Json(body)


def _trace(spans: Sequence[SpanRow]) -> dict[str, Any]:
    """Put a trace into the shape of Jaeger's UI; a process is a service on a pod."""
    processes: dict[tuple[str, str], str] = {}
    for span in spans:
        processes.setdefault((span.service, span.pod), f"p{len(processes) + 1}")
    return {
        "traceID": spans[0].trace_id,
        "spans": [_span(span, processes[span.service, span.pod]) for span in spans],
        "processes": {
            key: {"serviceName": service, "tags": _typed({"k8s.pod.name": pod} if pod else {})}
            for (service, pod), key in processes.items()
        },
        "warnings": None,
    }


def _span(span: SpanRow, process: str) -> dict[str, Any]:
    reference = {"refType": "CHILD_OF", "traceID": span.trace_id, "spanID": span.parent_id}
    tags: dict[str, Any] = {**span.attributes, "span.kind": span.kind}
    if span.error:
        tags |= {
            "otel.status_code": "ERROR", "otel.status_description": span.error, "error": True,
        }  # fmt: skip
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "flags": 1,
        "operationName": span.name,
        "references": [reference] if span.parent_id else [],
        "startTime": round(span.start * 1e6),
        "duration": round(span.duration_ms * 1e3),
        "tags": _typed(tags),
        "logs": [],
        "processID": process,
        "warnings": None,
    }


def _typed(tags: Mapping[str, Any]) -> list[dict[str, Any]]:
    kinds = {bool: "bool", int: "int64", float: "float64"}
    return [
        {"key": key, "type": kinds.get(type(value), "string"), "value": known_to_json(value)}
        for key, value in tags.items()
    ]


def _tags(p: Parameters) -> dict[str, str]:
    """Read ``tags`` (a JSON object) and ``tag`` (``key:value``, repeated).

    Raises:
        BadParameter: Neither form.
    """
    tags = {}
    for text in p.all("tag"):
        key, colon, value = text.partition(":")
        if not colon:
            raise BadParameter(f"malformed 'tag' parameter, expecting key:value, got: {text[:100]}")
        tags[key] = value
    for text in p.all("tags"):
        try:
            tags |= json_object(text)
        except BadParameter as error:
            raise BadParameter(f"malformed 'tags' parameter: {error}") from error
    return tags


def _microseconds(p: Parameters, name: str, now: float, default: float) -> float:
    """Read a time in microseconds; also RFC 3339 and times relative to now."""
    text = p.get(name)
    if not text:
        return default
    if _is_whole(text):
        return int(text) / 1e6
    if not text[:1].isdigit() or "T" in text:
        try:
            return seconds_or_date(text, now)
        except BadParameter as error:
            raise BadParameter(f"unable to parse param '{name}': {error}") from error
    raise BadParameter(f"unable to parse param '{name}': {brief(text)} is not microseconds")


def _whole(p: Parameters, name: str, per_second: float, default: float) -> float:
    text = p.get(name)
    if not text:
        return default
    if not _is_whole(text):
        raise BadParameter(f"unable to parse param '{name}': {brief(text)} is not milliseconds")
    return int(text) / per_second


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(text) <= MAX_NUMBER


def _milliseconds(p: Parameters, name: str) -> float | None:
    text = p.get(name)
    return _duration(name, text) * 1e3 if text else None


def _duration(name: str, text: str) -> float:
    """Read a Go duration: unlike elsewhere, a number needs its unit."""
    try:
        seconds = duration(text)
    except BadParameter as error:
        raise BadParameter(f"unable to parse param '{name}': {error}") from error
    if text[-1:].isdigit() and seconds:
        raise BadParameter(f"unable to parse param '{name}': missing unit in {brief(text)}")
    return seconds
