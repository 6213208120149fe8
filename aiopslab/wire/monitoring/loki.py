"""Loki's HTTP API: queries, labels, series, statistics of streams, patterns.

Timestamps go out as nanoseconds in strings and come in as nanoseconds, seconds or RFC 3339; errors
are Loki's plain text. Following a stream (``tail``) is refused. Not here: LogQL
(``telemetry.logql``), volumes and patterns (``loki_summaries``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aiopslab.environments.protocol import LogAnswer, LogStats, Monitored
from aiopslab.models.timestamps import nanoseconds
from aiopslab.telemetry.answers import LogStream
from aiopslab.telemetry.promql import QueryError, format_value
from aiopslab.wire.gate import Gate
from aiopslab.wire.monitoring.assembly import (
    Api,
    Handler,
    Json,
    Text,
    assembled,
    build_info,
    constant,
    stamp,
)
from aiopslab.wire.monitoring.loki_summaries import Summaries
from aiopslab.wire.monitoring.loki_windows import Window, span_of, step_of, window_of
from aiopslab.wire.monitoring.parameters import BadParameter, Parameters, nanoseconds_or_date, skew

if TYPE_CHECKING:
    from starlette.types import ASGIApp

VERSION = "3.6.0"
"""The release of Loki whose HTTP API this is."""
DEFAULT_LINES, MAX_LINES = 100, 5000
_FREE = frozenset({"/ready", "/loki/api/v1/status/buildinfo"})


def loki_app(env: Monitored, gate: Gate) -> ASGIApp:
    """Serve the logs of an environment.

    Args:
        env: Whose logs; its clock is the server's.
        gate: Each request takes its turn there.
    """
    logs, summaries = _Logs(env), Summaries(env)
    handlers = {
        "query": logs.instant,
        "query_range": logs.range,
        "labels": logs.labels,
        "label": logs.labels,
        "label/{name:path}/values": logs.label_values,
        "series": logs.series,
        "index/stats": logs.stats,
        "index/volume": summaries.volume,
        "index/volume_range": summaries.volume_range,
        "patterns": summaries.patterns,
        "detected_labels": summaries.detected_labels,
        "format_query": logs.formatted,
    }
    routes = [
        Route("/ready", constant("ready\n")),
        Route("/loki/api/v1/status/buildinfo", _build_info),
        Route("/loki/api/v1/tail", _tail),
        Route("/loki/api/v1/push", _push, methods=["POST"]),
        *(Route(f"/loki/api/v1/{path}", _answered(how), methods=["GET", "POST"])
          for path, how in handlers.items()),
    ]  # fmt: skip
    api = Api("loki", loki_refusal, {BadParameter: _malformed, QueryError: _malformed}, _FREE)
    return assembled(api, routes, gate, now=env.now)


def loki_refusal(status: int, message: str) -> Response:
    """Refuse in Loki's form: plain text."""
    return Text(message, status)


def _malformed(error: Exception) -> Response:
    return loki_refusal(400, str(error))


def _answered(handler: Callable[[Parameters, Request], Any]) -> Handler:
    async def answer(request: Request) -> Response:
        return Json(await handler(await Parameters.of(request), request))

    return answer


class _Logs:
    """Handlers of queries, labels and series."""

    def __init__(self, env: Monitored) -> None:
        self._env = env
        self._telemetry = env.telemetry

    async def instant(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``query``: a metric query at one instant."""
        now = self._env.now()
        _lines(p)
        _newest_first(p)
        text = p.get("time")
        at = nanoseconds_or_date(text, now) if text else now
        answer = await self._telemetry.logql_instant(p.required("query"), at)
        return _shown(answer, skew(at, at, now))

    async def range(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``query_range``: lines, or a metric over time."""
        now = self._env.now()
        window = window_of(p, now)
        step = step_of(p, window)
        limit, interval = _lines(p), span_of(p, "interval")
        newest_first = _newest_first(p)
        query = p.required("query")
        hint = skew(window.start, window.end, now)
        answer = await self._telemetry.logql(
            query, window.start, window.end, step=step, newest_first=newest_first,
            limit=MAX_LINES if interval else limit,
        )  # fmt: skip
        if interval:
            answer = _thinned(answer, interval, limit, newest_first=newest_first)
        return _shown(answer, hint)

    async def labels(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``labels``."""
        window, hint = self._names_window(p)
        names = await self._telemetry.log_labels(window.start, window.end, match=p.get("query"))
        return _success(names, hint)

    async def label_values(self, p: Parameters, request: Request) -> dict[str, Any]:
        """Serve ``label/<name>/values``."""
        window, hint = self._names_window(p)
        values = await self._telemetry.log_label_values(
            request.path_params["name"], window.start, window.end, match=p.get("query")
        )
        return _success(values, hint)

    async def series(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``series``: the label sets of streams."""
        window, hint = self._names_window(p)
        matchers = p.all("match[]", "match")
        found = await self._telemetry.log_series(matchers, window.start, window.end)
        return _success(found, hint)

    async def stats(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``index/stats``."""
        window = window_of(p, self._env.now())
        found = await self._telemetry.log_stats(p.required("query"), window.start, window.end)
        return {
            "streams": found.streams, "chunks": found.chunks,
            "entries": found.entries, "bytes": found.bytes,
        }  # fmt: skip

    async def formatted(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``format_query``: the query on one line, if it can be evaluated."""
        query = p.required("query")
        now = self._env.now()
        # Over no time at all: what is malformed is refused, nothing is read.
        await self._telemetry.logql(query, now, now, step=1.0, limit=1)
        return _success(" ".join(line.strip() for line in query.splitlines()).strip(), "")

    def _names_window(self, p: Parameters) -> tuple[Window, str]:
        """Return where names are looked for: everywhere, if the client's clock must be wrong."""
        now = self._env.now()
        window = window_of(p, now)
        hint = skew(window.start, window.end, now)
        return (Window(0.0, now), hint) if hint else (window, "")


def _lines(p: Parameters) -> int:
    limit = p.whole("limit", DEFAULT_LINES, most=10**9)
    if limit > MAX_LINES:
        raise BadParameter(
            f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} >"
            f" {MAX_LINES})"
        )
    if not limit:
        raise BadParameter("limit must be a positive value")
    return limit


def _newest_first(p: Parameters) -> bool:
    direction = p.get("direction", "backward").lower()
    if direction not in ("backward", "forward"):
        raise BadParameter(f"invalid direction '{direction[:20]}'")
    return direction == "backward"


def _thinned(answer: LogAnswer, interval: float, limit: int, *, newest_first: bool) -> LogAnswer:
    """Keep, in the order of the answer, lines that are at least an interval apart."""
    entries = [
        (time, place, line)
        for place, stream in enumerate(answer.streams)
        for time, line in stream.entries
    ]
    entries.sort(key=lambda entry: entry[0], reverse=newest_first)
    kept: list[list[tuple[float, str]]] = [[] for _ in answer.streams]
    last, count = math.nan, 0
    for time, place, line in entries:
        if count < limit and not abs(time - last) < interval:
            kept[place].append((time, line))
            last, count = time, count + 1
    streams = [
        LogStream(stream.labels, lines)
        for stream, lines in zip(answer.streams, kept, strict=True)
        if lines
    ]
    return replace(answer, streams=streams)


def _success(data: Any, hint: str) -> dict[str, Any]:
    return {"status": "success", "data": data, **({"warnings": [hint]} if hint else {})}


def _shown(answer: LogAnswer, hint: str) -> dict[str, Any]:
    """Put an answer into JSON values; metrics carry seconds, lines nanoseconds."""
    result: Any
    if answer.kind == "streams":
        result = [
            {
                "stream": dict(stream.labels),
                "values": [[str(nanoseconds(time)), line] for time, line in stream.entries],
            }
            for stream in answer.streams
        ]
    elif answer.kind == "scalar":
        result = _points(answer.series[0].points)[-1]
    else:
        vector = answer.kind == "vector"
        result = []
        for series in answer.series:
            points = _points(series.points)
            values = {"value": points[-1]} if vector else {"values": points}
            result.append({"metric": dict(series.labels), **values})
    returned = sum(len(stream.entries) for stream in answer.streams)
    data = {"resultType": answer.kind, "result": result, "stats": _stats(answer.stats, returned)}
    return _success(data, hint)


def _points(points: Sequence[tuple[float, float]]) -> list[list[Any]]:
    return [[stamp(time), format_value(value)] for time, value in points]


def _stats(stats: LogStats, returned: int) -> dict[str, Any]:
    """Return what was read; figures of a real server's process are left out."""
    return {
        "summary": {
            "totalBytesProcessed": stats.bytes,
            "totalLinesProcessed": stats.entries,
            "totalEntriesReturned": returned,
        }
    }


async def _build_info(_: Request) -> Response:
    return Json(build_info(VERSION))


async def _tail(_: Request) -> Response:
    return loki_refusal(501, "streams are not followed here; ask query_range again")


async def _push(_: Request) -> Response:
    return loki_refusal(403, "this Loki is read-only; send telemetry to the OTLP endpoint")
