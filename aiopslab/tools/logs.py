"""The log tools: search lines, and count the patterns they follow.

Not here: ``k8s_logs``, which asks the kubelet for one container (``kube_read``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.content import near
from aiopslab.models.timestamps import rfc3339
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.tables import table
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
    """Search log lines of all components by component, pod, text, severity and time."""
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


TOOLS = (logs_search, logs_patterns)
