"""The log tools: search lines, count the patterns they follow, LogQL.

Not here: ``k8s_logs``, which asks the kubelet for one container (``kube_read``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from aiopslab.content import near
from aiopslab.environments.protocol import LogAnswer
from aiopslab.models.timestamps import rfc3339
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.series import range_data, range_text
from aiopslab.tools.tables import selector, table
from aiopslab.tools.times import clock_time, parse_window, range_line

Severity = Literal["", "debug", "info", "warn", "error", "fatal"]


class LogSearchArgs(Paged):
    """Arguments of ``logs_search``."""

    service: str = ""
    """Component that wrote the line; empty searches all."""
    pod: str = ""
    """Pod that wrote the line."""
    contains: str = ""
    """Text that the line contains, upper and lower case alike."""
    regex: str = ""
    """Regular expression that the line contains."""
    severity: Severity = ""
    """Least severity; empty takes all."""
    start: str = "now-15m"
    """Begin: RFC 3339, 'now-15m', negative seconds or unix seconds."""
    end: str = "now"
    """End, in the same forms."""
    limit: int = Field(default=50, ge=1, le=1000)
    """Lines to return."""
    newest_first: bool = True
    """Order."""


@tool(LogSearchArgs, cost=3.0)
async def logs_search(context: ToolContext, args: LogSearchArgs) -> Result:
    """Search log lines of all components by component, pod, text, severity and time.

    For parsers, label filters and numbers from lines use logs_query.
    """
    start, end = parse_window(args.start, args.end, context.env.now())
    rows, total = await context.env.telemetry.logs(
        service=args.service or None, pod=args.pod or None, contains=args.contains,
        regex=args.regex, severity=args.severity.upper(), start=start, end=end, limit=args.limit,
        newest_first=args.newest_first,
    )  # fmt: skip
    head = f"{range_line(start, end)}; {len(rows)} of {total} lines"
    if not rows:
        return Result(f"{head}\n{_hint(context, args.service)}", data=[], total=0)
    lines = [f"{rfc3339(r.time)} {r.pod or r.service} {r.severity} {r.line}" for r in rows]
    data = [
        {
            "time": r.time, "service": r.service, "pod": r.pod, "severity": r.severity,
            "line": r.line, "trace_id": r.trace_id,
        }
        for r in rows
    ]  # fmt: skip
    return Result("\n".join([head, *lines]), data, total, truncated=total > len(rows))


class LogQueryArgs(Paged):
    """Arguments of ``logs_query``."""

    query: str
    """LogQL: {app="geo"} |= "timeout" | json | status >= 500, or a metric query over lines.

    For instance sum by (app) (rate({namespace="hotel"} |~ "(?i)error" [5m])).
    """
    start: str = "now-15m"
    """Begin: RFC 3339, 'now-15m', negative seconds or unix seconds."""
    end: str = "now"
    """End, in the same forms."""
    step: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """Seconds between points of a metric query; 0 chooses about 30 points."""
    limit: int = Field(default=50, ge=1, le=1000)
    """Lines to return."""
    newest_first: bool = True
    """Order of lines."""


@tool(LogQueryArgs, cost=3.0)
async def logs_query(context: ToolContext, args: LogQueryArgs) -> Result:
    """Evaluate LogQL: lines with filters, parsers and formats, or numbers over time from them.

    Stream labels: app, container, job, namespace, pod, service_name. The level is detected_level:
    {app="geo"} | detected_level="error".
    """
    start, end = parse_window(args.start, args.end, context.env.now())
    step = args.step or max(5.0, 5.0 * round((end - start) / 150))
    answer = await context.env.telemetry.logql(
        args.query, start, end, step=step, limit=args.limit, newest_first=args.newest_first
    )
    head = range_line(start, end)
    if answer.kind == "streams":
        return await _lines(context, args, answer, head)
    head = f"{head} step {step:g}s"
    if not answer.series:
        return Result(f"{head}\n{await _no_stream(context, start, end)}", data=[], total=0)
    text = "\n".join([head, *range_text(answer.series)])
    return Result(text, data=range_data(answer.series), total=len(answer.series))


async def _lines(context: ToolContext, args: LogQueryArgs, answer: LogAnswer, head: str) -> Result:
    """Print lines of all streams in the order of time."""
    found = [(t, line, s.labels) for s in answer.streams for t, line in s.entries]
    found.sort(key=lambda entry: entry[0], reverse=args.newest_first)
    total = "more" if answer.total is None else str(answer.total)
    head = f"{head}; {len(found)} of {total} lines"
    if not found:
        start, end = parse_window(args.start, args.end, context.env.now())
        return Result(f"{head}\n{await _no_stream(context, start, end)}", data=[], total=0)
    lines = [f"{rfc3339(t)} {_shown(labels, line)} {line}" for t, line, labels in found]
    data = [{"time": t, "labels": dict(labels), "line": line} for t, line, labels in found]
    truncated = answer.total is None or answer.total > len(found)
    return Result("\n".join([head, *lines]), data, answer.total, truncated=truncated)


def _shown(labels: Mapping[str, str], line: str) -> str:
    """Print the pod, the level, and what parsers and formats found that the line does not show."""
    told = ("app", "container", "job", "namespace", "pod", "service_name", "detected_level")
    others = {k: v for k, v in labels.items() if k not in told and v not in line}
    found = [labels.get("pod", ""), labels.get("detected_level", "").upper()]
    return " ".join(filter(None, [*found, selector(others) if others else ""]))


async def _no_stream(context: ToolContext, start: float, end: float) -> str:
    """Say which streams there are."""
    apps = await context.env.telemetry.log_label_values("app", start, end)
    if not apps:
        return "no line at all in this range; widen it"
    return (
        f"nothing matches; streams of app: {', '.join(apps)}; levels are no stream labels:"
        ' {app="..."} | detected_level="error"'
    )


class LogPatternsArgs(Paged):
    """Arguments of ``logs_patterns``."""

    service: str = ""
    """Component that wrote the lines; empty takes all."""
    severity: Severity = ""
    """Least severity; empty takes all."""
    start: str = "now-15m"
    """Begin: RFC 3339, 'now-15m', negative seconds or unix seconds."""
    end: str = "now"
    """End, in the same forms."""
    limit: int = Field(default=30, ge=1, le=200)
    """Patterns to return, the most frequent first."""


@tool(LogPatternsArgs, cost=3.0)
async def logs_patterns(context: ToolContext, args: LogPatternsArgs) -> Result:
    """Group log lines into patterns with counts; numbers, ids and quoted values are masked."""
    start, end = parse_window(args.start, args.end, context.env.now())
    found = await context.env.telemetry.log_patterns(
        service=args.service or None, severity=args.severity.upper(), start=start, end=end,
        limit=args.limit,
    )  # fmt: skip
    head = range_line(start, end)
    if not found:
        return Result(f"{head}\n{_hint(context, args.service)}", data=[], total=0)
    rows = [[n, s, clock_time(a), clock_time(b), line] for s, line, n, a, b in found]
    data = [
        {"service": s, "pattern": line, "count": n, "first": a, "last": b}
        for s, line, n, a, b in found
    ]
    text = table(["count", "service", "first", "last", "pattern"], rows)
    return Result(f"{head}\n{text}", data, len(found), truncated=len(found) == args.limit)


def _hint(context: ToolContext, service: str) -> str:
    """Say what to change in a search that found nothing."""
    known = context.env.app.components()
    if service and service not in known:
        hint = near(service, known)
        raise ToolRefused(
            f"no lines of {service!r}; {hint + '; ' if hint else ''}components: {', '.join(known)}"
        )
    return "no lines match; widen the time range, lower severity, or search for less"


TOOLS = (logs_search, logs_query, logs_patterns)
