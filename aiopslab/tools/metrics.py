"""The metric tools: PromQL at an instant and over a range, names and metadata.

Not here: the query language (``telemetry.promql``), which metrics exist (each program).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field

from aiopslab.content import near
from aiopslab.models.timestamps import rfc3339
from aiopslab.telemetry.regex import compile_bounded
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.series import range_data, range_text, values_data, values_text
from aiopslab.tools.times import parse_time, parse_window, range_line

_MAX_POINTS = 11_000
"""Prometheus' own bound on the points of one series."""


class QueryArgs(Paged):
    """Arguments of ``metrics_query``."""

    query: str
    """PromQL."""
    time: str = "now"
    """Instant of evaluation: RFC 3339, 'now-15m', negative seconds or unix seconds."""


@tool(QueryArgs)
async def metrics_query(context: ToolContext, args: QueryArgs) -> Result:
    """Evaluate a PromQL expression at one instant. Returns one value per series."""
    at = parse_time(args.time, context.env.now())
    series = await context.env.telemetry.instant(args.query, at)
    head = f"at: {rfc3339(at)}"
    if not series:
        return Result(f"{head}\n{await _nothing(context, args.query)}", data=[], total=0)
    text = "\n".join([head, *values_text(series)])
    return Result(text, data=values_data(series), total=len(series))


class RangeArgs(Paged):
    """Arguments of ``metrics_range``."""

    query: str
    """PromQL."""
    start: str = "now-30m"
    """Begin: RFC 3339, 'now-15m', negative seconds or unix seconds."""
    end: str = "now"
    """End, in the same forms."""
    step: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """Seconds between points; 0 chooses about 30 points."""


@tool(RangeArgs)
async def metrics_range(context: ToolContext, args: RangeArgs) -> Result:
    """Evaluate a PromQL expression over a time range.

    Prints minimum, mean, maximum and last value per series, and every point if there are at most 4
    series.
    """
    start, end = parse_window(args.start, args.end, context.env.now())
    step = args.step or max(5.0, 5.0 * round((end - start) / 150))
    if not step > 0 or (end - start) / step > _MAX_POINTS:
        raise ToolRefused(f"step={step:g} gives too many points; use step >= {(end - start) / 1e4}")
    series = await context.env.telemetry.range(args.query, start, end, step)
    head = f"{range_line(start, end)} step {step:g}s"
    if not series:
        return Result(f"{head}\n{await _nothing(context, args.query)}", data=[], total=0)
    text = "\n".join([head, *range_text(series)])
    return Result(text, data=range_data(series), total=len(series))


class NamesArgs(Paged):
    """Arguments of ``metrics_names``."""

    match: str = ""
    """Regular expression that a name contains; empty lists all."""


@tool(NamesArgs)
async def metrics_names(context: ToolContext, args: NamesArgs) -> Result:
    """List the names of metrics that a regular expression finds."""
    some = await context.env.telemetry.metric_names()
    try:
        names = [name for name in some if compile_bounded(args.match).search(name)]
    except re.error as error:
        raise ToolRefused(f"match={args.match!r} is no regular expression: {error}") from error
    if not names:
        return Result(
            f"no metric matches {args.match!r}; {near(args.match, some) or _sample(some)}",
            data=[], total=0,
        )  # fmt: skip
    return Result("\n".join(names), data=names, total=len(names))


class MetadataArgs(Paged):
    """Arguments of ``metrics_metadata``."""

    metric: str
    """Name of a metric."""


@tool(MetadataArgs)
async def metrics_metadata(context: ToolContext, args: MetadataArgs) -> Result:
    """Show type, help and unit of a metric, its labels and their values."""
    known = await context.env.telemetry.metric_names()
    if args.metric not in known:
        hint = near(args.metric, known) or _sample(known)
        raise ToolRefused(f"there is no metric {args.metric!r}; {hint}")
    meta = await context.env.telemetry.metadata(args.metric)
    labels = await context.env.telemetry.labels(args.metric)
    lines = [f"{key}: {value}" for key, value in meta.items()]
    for name, values in labels.items():
        more = f" ... {len(values)} values" if len(values) > 12 else ""
        lines.append(f"label {name}: {', '.join(values[:12])}{more}")
    return Result("\n".join(lines), data={"metadata": meta, "labels": labels})


async def _nothing(context: ToolContext, query: str) -> str:
    """Say why a query may be empty: a metric of it is unknown, or the labels do not match."""
    known = await context.env.telemetry.metric_names()
    used = [name for name in known if name in query]
    if not used:
        return f"no data: no known metric occurs in the query; {_sample(known)}"
    labels = await context.env.telemetry.labels(used[-1])
    have = "; ".join(f"{k}: {', '.join(v[:8])}" for k, v in labels.items())
    return f"no data: labels of {used[-1]}: {have}"


def _sample(names: Sequence[str]) -> str:
    some = ", ".join(names[:: max(1, len(names) // 8)][:8])
    return f"metrics_names lists them, for instance {some}"


TOOLS = (metrics_query, metrics_range, metrics_names, metrics_metadata)
