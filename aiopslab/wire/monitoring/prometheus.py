"""Prometheus' HTTP API v1: queries, series, labels and metadata, as Prometheus 3 answers them.

GET, or POST with a form, in Prometheus' shapes, status codes and words. A range query never looks
past the cluster's clock; times that miss it by far are answered with a warning that says so. Not
here: evaluation (``telemetry.promql``), rules, alerts, targets and status
(``prometheus_status``), which this API serves too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aiopslab.environments.protocol import Monitored, Series
from aiopslab.telemetry.promql import Answer, QueryError, format_value, parse
from aiopslab.telemetry.promql.selectors import LOOKBACK_MS
from aiopslab.wire.gate import Gate
from aiopslab.wire.monitoring.assembly import Api, Handler, Json, Words, assembled, constant, stamp
from aiopslab.wire.monitoring.parameters import (
    BadParameter,
    Parameters,
    duration,
    seconds_or_date,
    skew,
)
from aiopslab.wire.monitoring.prometheus_status import Status

if TYPE_CHECKING:
    from starlette.types import ASGIApp

MAX_STEPS = 11_000
"""Points a series, Prometheus' own limit."""
MAX_POINTS = 2_000_000
"""Points of a whole answer; written out they are about 60 MB."""
_KINDS = {
    400: "bad_data", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "bad_data",
    408: "timeout", 413: "bad_data", 422: "execution", 429: "unavailable", 503: "unavailable",
}  # fmt: skip
_FREE = frozenset({"/-/healthy", "/-/ready", "/api/v1/status/buildinfo"})
_ESCAPED = re.compile(r"__|_([0-9a-fA-F]{1,6})_|[^_]+")
_TRUNCATED = "results truncated due to limit"


def prometheus_app(env: Monitored, gate: Gate) -> ASGIApp:
    """Serve the metrics of an environment.

    Args:
        env: Whose telemetry; its clock is the server's.
        gate: Each request takes its turn there.
    """
    queries, status = _Queries(env), Status(env)
    both = {
        "query": queries.instant,
        "query_range": queries.range,
        "query_exemplars": queries.exemplars,
        "series": queries.series,
        "labels": queries.labels,
        "format_query": queries.formatted,
    }
    read = {"label/{name:path}/values": queries.label_values, "metadata": queries.metadata,
            **status.handlers()}  # fmt: skip
    routes = [
        Route("/-/healthy", constant("Prometheus Server is Healthy.\n")),
        Route("/-/ready", constant("Prometheus Server is Ready.\n")),
        *(Route(f"/api/v1/{path}", _answered(how), methods=["GET", "POST"])
          for path, how in both.items()),
        *(Route(f"/api/v1/{path}", _answered(how)) for path, how in read.items()),
    ]  # fmt: skip
    failures: dict[type[Exception], Words] = {
        BadParameter: lambda error: prometheus_refusal(400, str(error)),
        QueryError: lambda error: prometheus_refusal(422, str(error)),
    }
    api = Api("prometheus", prometheus_refusal, failures, _FREE)
    return assembled(api, routes, gate, now=env.now)


def prometheus_refusal(status: int, message: str) -> Response:
    """Refuse in Prometheus' form."""
    kind = _KINDS.get(status, "internal")
    return Json({"status": "error", "errorType": kind, "error": message}, status)


class Found:
    """What a handler found; ``warnings`` reach the reader beside the data."""

    def __init__(self, data: Any, *warnings: str) -> None:
        self.data = data
        self.warnings = [warning for warning in warnings if warning]


def _answered(handler: Callable[[Parameters, Request], Any]) -> Handler:
    """Wrap what a handler returns in Prometheus' envelope."""

    async def answer(request: Request) -> Response:
        parameters = await Parameters.of(request)
        found = await handler(parameters, request)
        if not isinstance(found, Found):
            found = Found(found)
        body = {"status": "success", "data": found.data}
        if found.warnings:
            body["warnings"] = found.warnings
        return Json(body)

    return answer


class _Queries:
    """Handlers of what is asked in PromQL or with selectors."""

    def __init__(self, env: Monitored) -> None:
        self._env = env
        self._telemetry = env.telemetry

    async def instant(self, p: Parameters, _: Request) -> Found:
        """Serve ``query``."""
        now = self._env.now()
        at = _time(p, "time", now, now)
        limit = _limit(p)
        query = _query(p)
        answer = await self._telemetry.promql(query, at)
        return _shown(answer, limit, at, skew(at, at, now))

    async def range(self, p: Parameters, _: Request) -> Found:
        """Serve ``query_range``."""
        now = self._env.now()
        start, end, step = _window(p, now)
        limit = _limit(p)
        query = _query(p)
        hint = skew(start, end, now)
        end = min(end, now)
        if start > end:
            return _shown(Answer("matrix", ()), limit, end, hint)
        answer = await self._telemetry.promql_range(query, start, end, step)
        return _shown(answer, limit, end, hint)

    async def exemplars(self, p: Parameters, _: Request) -> list[Any]:
        """Serve ``query_exemplars``: none are stored; traces are found by log lines and search."""
        _query(p)
        return []

    async def series(self, p: Parameters, _: Request) -> Found:
        """Serve ``series``."""
        matchers = _matchers(p)
        if not matchers:
            raise BadParameter("no match[] parameter provided")
        start, end, hint = self._span(p)
        return _limited(p, await self._telemetry.series(matchers, start, end), hint)

    async def labels(self, p: Parameters, _: Request) -> Found:
        """Serve ``labels``."""
        start, end, hint = self._span(p)
        return _limited(p, await self._telemetry.label_names(_matchers(p), start, end), hint)

    async def label_values(self, p: Parameters, request: Request) -> Found:
        """Serve ``label/<name>/values``."""
        name = unescaped(request.path_params["name"])
        start, end, hint = self._span(p)
        values = await self._telemetry.label_values(name, _matchers(p), start, end)
        return _limited(p, values, hint)

    async def metadata(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``metadata``: one entry a family, as all targets describe a metric alike."""
        families = await self._telemetry.families()
        if wanted := p.get("metric"):
            families = {name: f for name, f in families.items() if name == wanted}
        most = _optional_count(p, "limit")
        each = _optional_count(p, "limit_per_metric")
        names = list(families)[: most if most is not None else None]
        keys = ("type", "help", "unit")
        if each == 0:
            return {}
        return {name: [{key: families[name][key] for key in keys}] for name in names}

    async def formatted(self, p: Parameters, _: Request) -> str:
        """Serve ``format_query``."""
        return str(parse(_query(p)).prettify())

    def _span(self, p: Parameters) -> tuple[float, float, str]:
        """Return the range that names and series are looked for in, and a hint.

        Names are for orientation, and Prometheus answers them by whole blocks of samples. So the
        range is never narrower than the lookback, and one that the cluster's clock cannot have
        reached is taken for a wrong clock: then everything is listed.
        """
        now = self._env.now()
        start = _time(p, "start", now, 0.0)
        end = _time(p, "end", now, now)
        if end < start:
            raise BadParameter("end timestamp must not be before start time")
        hint = skew(start, end, now)
        return (0.0, now, hint) if hint else (start - LOOKBACK_MS / 1e3, end, "")


def unescaped(name: str) -> str:
    """Undo the escaping of label names that a path cannot hold (``U__http_2e_route``).

    >>> unescaped("U__http_2e_server__x"), unescaped("job")
    ('http.server_x', 'job')
    """
    if not name.startswith("U__"):
        return name
    text, parts, place = name[3:], [], 0
    for part in _ESCAPED.finditer(text):
        code = int(part[1], 16) if part[1] else None
        if part.start() != place or (
            code is not None and (code > 0x10FFFF or 0xD800 <= code <= 0xDFFF)
        ):
            break
        parts.append("_" if part[0] == "__" else part[0] if code is None else chr(code))
        place = part.end()
    # What is not well escaped is meant as it stands.
    return "".join(parts) if place == len(text) else name


def _query(p: Parameters) -> str:
    """Return the query once it is known to parse.

    Raises:
        BadParameter: It is missing or malformed; also for a malformed ``timeout``.
    """
    if timeout := p.get("timeout"):
        _duration("timeout", timeout)
    query = p.get("query")
    try:
        parse(query)
    except QueryError as error:
        raise BadParameter(f'invalid parameter "query": {error}') from error
    return query


def _matchers(p: Parameters) -> list[str]:
    matchers = p.all("match[]")
    for matcher in matchers:
        try:
            parse(matcher)
        except QueryError as error:
            raise BadParameter(f'invalid parameter "match[]": {error}') from error
    return matchers


def _window(p: Parameters, now: float) -> tuple[float, float, float]:
    """Return start, end and step of a range query.

    Raises:
        BadParameter: One is missing or malformed, or there would be too many points.
    """
    moments = []
    for name in ("start", "end"):
        if not p.get(name):
            raise BadParameter(f'invalid parameter "{name}": cannot parse "" to a valid timestamp')
        moments.append(_time(p, name, now, now))
    start, end = moments
    if end < start:
        raise BadParameter('invalid parameter "end": end timestamp must not be before start time')
    step = _duration("step", p.get("step"))
    if step <= 0:
        raise BadParameter(
            'invalid parameter "step": zero or negative query resolution step widths are not'
            " accepted. Try a positive integer"
        )
    if (end - start) / step > MAX_STEPS:
        raise BadParameter(
            f"exceeded maximum resolution of {MAX_STEPS:,} points per timeseries. Try decreasing"
            " the query resolution (?step=XX)"
        )
    # A step beyond the range is as good as one of its length, and no larger number than needed.
    return start, end, min(step, end - start + 1.0)


def _time(p: Parameters, name: str, now: float, default: float) -> float:
    text = p.get(name)
    try:
        return seconds_or_date(text, now) if text else default
    except BadParameter as error:
        raise BadParameter(f'invalid parameter "{name}": {error}') from error


def _duration(name: str, text: str) -> float:
    try:
        return duration(text)
    except BadParameter as error:
        raise BadParameter(f'invalid parameter "{name}": {error}') from error


def _limit(p: Parameters) -> int:
    """Return how many series are wanted; 0 is all."""
    return p.whole("limit", 0, most=10**9)


def _optional_count(p: Parameters, name: str) -> int | None:
    """Return a count that is unlimited where it is missing or negative."""
    return None if p.get(name, "-").startswith("-") else p.whole(name, 0, most=10**9)


def _limited(p: Parameters, found: Sequence[Any], hint: str) -> Found:
    limit = _limit(p)
    if limit and len(found) > limit:
        return Found(found[:limit], hint, _TRUNCATED)
    return Found(found, hint)


def _shown(answer: Answer, limit: int, at: float, hint: str) -> Found:
    """Put an answer into JSON values.

    Raises:
        QueryError: It is too large to be sent.
    """
    if answer.kind == "string":
        return Found({"resultType": "string", "result": [stamp(at), answer.text]}, hint)
    if answer.kind == "scalar":
        value = format_value(answer.series[0].points[-1][1])
        return Found({"resultType": "scalar", "result": [stamp(at), value]}, hint)
    series = answer.series[:limit] if limit else answer.series
    if sum(len(s.points) for s in series) > MAX_POINTS:
        raise QueryError(
            f"the answer has more than {MAX_POINTS} points; aggregate, or use a longer step"
        )
    result = [_one(answer.kind, s) for s in series]
    cut = _TRUNCATED if len(series) < len(answer.series) else ""
    return Found({"resultType": answer.kind, "result": result}, hint, cut)


def _one(kind: str, series: Series) -> dict[str, Any]:
    points = [[stamp(time), format_value(value)] for time, value in series.points]
    values = {"value": points[-1]} if kind == "vector" else {"values": points}
    return {"metric": dict(series.labels), **values}
