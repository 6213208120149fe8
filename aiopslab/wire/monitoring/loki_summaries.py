"""What Loki says about logs without showing them: volumes, patterns, which labels there are.

Volumes are LogQL over the same store; patterns are templates of the newest lines of a selector.
Not here: queries (``loki``), templates (``telemetry.patterns``).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from starlette.requests import Request

from aiopslab.environments.protocol import Monitored, Series
from aiopslab.telemetry.logql.expressions import parse_selector
from aiopslab.telemetry.patterns import template
from aiopslab.telemetry.promql import format_value
from aiopslab.wire.monitoring.assembly import stamp
from aiopslab.wire.monitoring.loki_windows import Window, step_of, window_of
from aiopslab.wire.monitoring.parameters import BadParameter, Parameters

DEFAULT_VOLUMES = 100
PATTERN_LINES = 5_000
"""Newest lines that patterns are made of."""
PATTERNS = 300
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MASK = re.compile(r"<(?:time|uuid|ip|hex|num|\*)>")


class Summaries:
    """Handlers of summaries over one environment."""

    def __init__(self, env: Monitored) -> None:
        self._env = env
        self._telemetry = env.telemetry

    async def volume(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``index/volume``: bytes by label, the largest first."""
        window = window_of(p, self._env.now())
        length = window.end - window.start
        answer = await self._telemetry.logql_instant(_volumes(p, length), window.end)
        ranked = sorted(answer.series, key=_size)[: _most(p)]
        result = [{"metric": dict(s.labels), "value": _point(*s.points[-1])} for s in ranked]
        return _success("vector", result)

    async def volume_range(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``index/volume_range``: the same over time."""
        window = window_of(p, self._env.now())
        step = step_of(p, window)
        answer = await self._telemetry.logql(_volumes(p, step), window.start, window.end, step=step)
        ranked = sorted(answer.series, key=_size)[: _most(p)]
        result = [
            {"metric": dict(s.labels), "values": [_point(*point) for point in s.points]}
            for s in ranked
        ]
        return _success("matrix", result)

    async def patterns(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``patterns``: templates and how many lines of each came in every step."""
        window = window_of(p, self._env.now())
        step = step_of(p, window)
        answer = await self._telemetry.logql(
            p.required("query"), window.start, window.end, step=step, limit=PATTERN_LINES
        )
        if answer.kind != "streams":
            raise BadParameter("only a selector and line filters are supported")
        counts: dict[str, Counter[int]] = {}
        for stream in answer.streams:
            for time, line in stream.entries:
                pattern = _MASK.sub("<_>", template(line))
                slot = math.floor(time / step)
                counts.setdefault(pattern, Counter())[slot] += 1
        ranked = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
        data = [
            {"pattern": text, "samples": [[int(s * step), n] for s, n in sorted(slots.items())]}
            for text, slots in ranked[:PATTERNS]
        ]
        return {"status": "success", "data": data}

    async def detected_labels(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``detected_labels``: the labels of streams and how many values each has."""
        window = window_of(p, self._env.now())
        match = p.get("query")
        found = []
        for name in await self._telemetry.log_labels(window.start, window.end, match=match):
            values = await self._values(name, window, match)
            found.append({"label": name, "cardinality": len(values)})
        return {"detectedLabels": found}

    async def _values(self, name: str, window: Window, match: str) -> list[str]:
        return await self._telemetry.log_label_values(name, window.start, window.end, match=match)


def _volumes(p: Parameters, length: float) -> str:
    """Return the LogQL that measures what a request asks for.

    Raises:
        BadParameter: The labels to aggregate by are malformed.
        QueryError: The query is no selector.
    """
    selector = p.required("query")
    names = [name for name in p.get("targetLabels").split(",") if name]
    if not all(_LABEL.fullmatch(name) for name in names):
        raise BadParameter("targetLabels is a list of label names, separated by commas")
    if p.get("aggregateBy", "series") not in ("series", "labels"):
        raise BadParameter("aggregateBy is 'series' or 'labels'")
    # Loki aggregates by the labels of the selector unless it is told otherwise.
    by = names or sorted({matcher.name for matcher in parse_selector(selector).matchers})
    return f"sum by ({', '.join(by)}) (bytes_over_time({selector} [{max(1, math.ceil(length))}s]))"


def _most(p: Parameters) -> int:
    return p.whole("limit", DEFAULT_VOLUMES, most=10_000)


def _size(series: Series) -> tuple[float, list[tuple[str, str]]]:
    """Sort by bytes, the largest first, then by labels."""
    return -math.fsum(value for _, value in series.points), sorted(series.labels.items())


def _point(time: float, value: float) -> list[Any]:
    return [stamp(time), format_value(value)]


def _success(kind: str, result: list[dict[str, Any]]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result, "stats": {}}}
