"""Telemetry as numbers: series of components on one grid of times, and whole traces.

Asked for through a trial's tools, as every agent may. Not here: what the numbers mean
(``deviation``, the agents).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiopslab.agents.protocol import TrialHandle
from aiopslab.models.observation import Observation

PLACES = ("service", "server_address", "deployment", "node", "instance")
"""Labels that may name a component, the best first; then the beginning of a pod's name."""
_MOST = 1000
"""Traces of one answer."""
WANTED = 600
"""About how many traces of each window are sampled."""
RECENT_S = 120.0
"""Length of the window under suspicion."""
HEALTHY_S = 180.0
"""Length of the window it is compared with."""
PAST_S = 1800.0
"""How far back the window that it is compared with may lie."""
_WARMING_S = 60.0
"""What follows the first span is left out: caches fill and pools open."""
_SPAN_OF_TIME = """\
SELECT min(epoch(timestamp)) AS first, count(DISTINCT trace_id) AS traces FROM spans
WHERE epoch(timestamp) >= {start!r} AND epoch(timestamp) < {end!r}"""
_TRACES = """\
SELECT trace_id, list([
  span_id, coalesce(parent_span_id, ''), service_name, coalesce(k8s_pod_name, ''), span_name,
  span_kind, status_code, coalesce(attributes['server.address'], ''),
  epoch(timestamp)::VARCHAR, duration_ms::VARCHAR] ORDER BY timestamp, span_id) AS spans
FROM spans
WHERE epoch(timestamp) >= {start!r} AND epoch(timestamp) < {end!r}
  AND substr(trace_id, 1, 1) IN ({digits})
GROUP BY trace_id ORDER BY min(timestamp), trace_id"""


@dataclass(frozen=True, slots=True)
class Span:
    """One span of a trace; times in seconds."""

    id: str
    parent: str
    service: str
    pod: str
    name: str
    kind: str
    failed: bool
    callee: str
    """Whom a client span calls; empty for others."""
    start: float
    end: float

    @property
    def duration(self) -> float:
        """Seconds from start to end."""
        return self.end - self.start


Trace = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Series of components, at the same times; NaN where there was no sample.

    ``values[component]`` is as long as ``times``.
    """

    times: list[float]
    values: dict[str, list[float]]
    source: str
    """Id of the observation, for evidence."""


def hand_over(trial: TrialHandle) -> float:
    """Return when the trial was handed over, in unix seconds."""
    return datetime.fromisoformat(trial.brief.now).timestamp()


async def components(trial: TrialHandle) -> dict[str, str]:
    """Return component -> kind (Deployment, StatefulSet, Node, ...), in the tool's order."""
    seen = await trial.call("services")
    return {row["component"]: row["kind"] for row in seen.data or []}


async def grid(
    trial: TrialHandle,
    query: str,
    known: Collection[str],
    *,
    start: float,
    end: float,
    step: float,
) -> Grid:
    """Evaluate PromQL over a range; of several series of a component, the highest value counts.

    Args:
        trial: Whose tools are asked.
        query: PromQL.
        known: Components; series of nobody known are left out.
        start: Unix seconds.
        end: Unix seconds.
        step: Seconds between samples.
    """
    seen = await trial.call(
        "metrics_range", query=query, start=f"{start:.3f}", end=f"{end:.3f}", step=step
    )
    times = [start + step * i for i in range(int((end - start) / step) + 1)]
    values: dict[str, list[float]] = {}
    for series in _rows(seen):
        name = component_of(series["labels"], known)
        if name:
            row = values.setdefault(name, [math.nan] * len(times))
            for time, value in series["points"]:
                place = round((time - start) / step)
                if value is not None and math.isfinite(value) and 0 <= place < len(row):
                    row[place] = value if math.isnan(row[place]) else max(row[place], value)
    return Grid(times, values, seen.id)


def component_of(labels: dict[str, Any], known: Collection[str]) -> str:
    """Return the component that the labels of a series name, or an empty string."""
    for place in PLACES:
        name = str(labels.get(place, "")).partition(":")[0]
        if name in known:
            return name
    pod = str(labels.get("pod") or labels.get("persistentvolumeclaim", "").removeprefix("data-"))
    return max((name for name in known if pod.startswith(f"{name}-")), key=len, default="")


async def traces(
    trial: TrialHandle, *, start: float, end: float, sixteenths: int
) -> tuple[list[Trace], str]:
    """Return the whole traces whose spans began in a window, oldest first, and the observation id.

    A part of them: those whose random id begins with the first of the sixteen hexadecimal digits.
    At most a thousand. None where the telemetry refuses.

    Args:
        trial: Whose tools are asked.
        start: Unix seconds.
        end: Unix seconds.
        sixteenths: How many sixteenths of all traces.
    """
    digits = ", ".join(f"'{digit:x}'" for digit in range(sixteenths))
    sql = _TRACES.format(start=start, end=end, digits=digits)
    seen = await trial.call("telemetry_sql", sql=sql, limit=_MOST)
    return [tuple(_span(row) for row in trace["spans"]) for trace in _rows(seen)], seen.id


@dataclass(frozen=True, slots=True)
class Windows:
    """Traces from before anything was wrong, if all went well, and from just before the end."""

    healthy: list[Trace]
    recent: list[Trace]
    sources: list[str]
    """Ids of the observations."""
    sixteenths: int
    """Share of all traces that was sampled."""


async def windows(trial: TrialHandle) -> Windows:
    """Sample traces of the two minutes before hand-over, and of the first minutes there are."""
    end = hand_over(trial)
    start = end - PAST_S
    seen = await trial.call("telemetry_sql", sql=_SPAN_OF_TIME.format(start=start, end=end))
    rows = _rows(seen)
    if not rows or rows[0]["first"] is None:
        return Windows([], [], [seen.id], 16)
    first = float(rows[0]["first"])
    expected = rows[0]["traces"] / max(1.0, end - first) * HEALTHY_S
    part = max(1, min(16, round(16 * WANTED / max(1.0, expected))))
    begin = min(first + _WARMING_S, end - RECENT_S - HEALTHY_S)
    healthy, before = await traces(trial, start=begin, end=begin + HEALTHY_S, sixteenths=part)
    recent, now = await traces(trial, start=end - RECENT_S, end=end, sixteenths=part)
    return Windows(healthy, recent, [now, before], part)


def _rows(seen: Observation) -> list[dict[str, Any]]:
    return seen.data if seen.ok and isinstance(seen.data, list) else []


def _span(row: Sequence[str]) -> Span:
    id, parent, service, pod, name, kind, status, callee, start, ms = row
    begin = float(start)
    return Span(
        id=id, parent=parent, service=service, pod=pod, name=name, kind=kind,
        failed=status == "Error", callee=callee if kind in ("client", "producer") else "",
        start=begin, end=begin + float(ms) / 1000.0,
    )  # fmt: skip


def filled(values: Iterable[float]) -> list[float]:
    """Return a series without gaps: the last value goes on, and 0 before the first.

    >>> filled([math.nan, 2.0, math.nan, 1.0])
    [0.0, 2.0, 2.0, 1.0]
    """
    last, found = 0.0, []
    for value in values:
        last = value if math.isfinite(value) else last
        found.append(last)
    return found
