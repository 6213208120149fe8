"""The trace tools: search, one trace as a tree, its critical path.

Not here: the arithmetic of trees (``telemetry.traces``), the edges seen in spans (``topology``).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from pydantic import Field

from aiopslab.content import near
from aiopslab.environments.protocol import SpanRow, TraceSummary
from aiopslab.models.timestamps import rfc3339
from aiopslab.telemetry.traces import Node, Tree
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.tables import table
from aiopslab.tools.times import parse_window, range_line

_MAX_SPANS = 400
"""Spans of one trace that are printed; a storm of retries can make thousands."""


class SearchArgs(Paged):
    """Arguments of ``traces_search``."""

    service: str = ""
    """Service that took part; empty searches all."""
    operation: str = ""
    """Text that the name of one of its spans contains."""
    min_ms: float = 0.0
    """Least duration."""
    max_ms: float = 0.0
    """Greatest duration; 0 means unlimited."""
    errors_only: bool = False
    """Only traces with a failed span."""
    tags: str = ""
    """Attributes a span has: 'http.response.status_code=500 db.system.name="postgresql"'."""
    query: str = ""
    """TraceQL in place of all conditions above: { resource.service.name="rate" && duration>1s }."""
    start: str = "now-15m"
    """Begin: RFC 3339, 'now-15m', negative seconds or unix seconds."""
    end: str = "now"
    """End, in the same forms."""
    limit: int = Field(default=20, ge=1, le=200)
    """Traces to return."""


@tool(SearchArgs, cost=3.0)
async def traces_search(context: ToolContext, args: SearchArgs) -> Result:
    """Search traces by service, operation, duration, errors, tags, TraceQL and time.

    One span must meet all conditions.
    """
    start, end = parse_window(args.start, args.end, context.env.now())
    found, total = await _found(context, args, start, end)
    head = f"{range_line(start, end)}; {len(found)} of {total} traces"
    if not found:
        known = sorted(context.env.app.services)
        if args.service and args.service not in known:
            hint = near(args.service, known) or f"services: {', '.join(known)}"
            raise ToolRefused(f"no traces of {args.service!r}; {hint}")
        return Result(f"{head}\nno trace matches; widen the range or drop a filter", [], 0)
    rows = [
        [t.trace_id, rfc3339(t.start), round(t.duration_ms, 1), t.spans, t.errors, t.root]
        for t in found
    ]
    data = [
        {
            "trace_id": t.trace_id, "root": t.root, "start": t.start, "spans": t.spans,
            "duration_ms": t.duration_ms, "errors": t.errors, "services": list(t.services),
        }
        for t in found
    ]  # fmt: skip
    text = table(["trace_id", "start", "ms", "spans", "errors", "root"], rows)
    return Result(f"{head}\n{text}", data, total, truncated=total > len(found))


async def _found(
    context: ToolContext, args: SearchArgs, start: float, end: float
) -> tuple[Sequence[TraceSummary], int]:
    telemetry = context.env.telemetry
    if args.query:
        matches, total = await telemetry.traceql(args.query, start, end, limit=args.limit, spans=0)
        return [match.summary for match in matches], total
    return await telemetry.traces(
        service=args.service or None, operation=args.operation, tags=_tags(args.tags),
        min_ms=args.min_ms or None, max_ms=args.max_ms or None, errors_only=args.errors_only,
        start=start, end=end, limit=args.limit,
    )  # fmt: skip


def _tags(text: str) -> dict[str, str]:
    """Read ``key=value key2="some value"``."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ToolRefused(f"tags={text!r} cannot be read: {error}") from error
    bad = next((word for word in words if "=" not in word), None)
    if bad is not None:
        raise ToolRefused(f"tag {bad!r} has no value; write key=value, separated by blanks")
    return {key: value for key, _, value in (word.partition("=") for word in words)}


class TraceArgs(Paged):
    """Arguments of ``traces_get`` and ``traces_critical_path``."""

    trace_id: str
    """Id from ``traces_search`` or from a log line."""


@tool(TraceArgs)
async def traces_get(context: ToolContext, args: TraceArgs) -> Result:
    """Show one trace as a tree of spans: start offset, duration, self time, error.

    path is a span's own share of the critical path, which is what the trace waited for.
    """
    spans = await _spans(context, args.trace_id)
    tree = Tree(spans)
    nodes = list(tree.walk())
    begin, whole = min(s.start for s in spans), tree.roots[0].duration_ms or 1.0
    lines = [f"trace {args.trace_id} at {rfc3339(begin)}, {len(spans)} spans"]
    lines.append("  offset_ms  duration_ms  self_ms  path  span")
    lines += [_line(node, begin, whole) for node in nodes[:_MAX_SPANS]]
    cut = len(nodes) > _MAX_SPANS
    data = [_record(node) for node in nodes[:_MAX_SPANS]]
    return Result("\n".join(lines), data, len(nodes), truncated=cut)


@tool(TraceArgs)
async def traces_critical_path(context: ToolContext, args: TraceArgs) -> Result:
    """Show what a trace waited for: each span on the critical path with its own time."""
    segments = await context.env.telemetry.critical_path(args.trace_id.strip())
    if not segments:
        raise _unknown(args.trace_id)
    spent: dict[tuple[str, str, str], float] = {}
    for segment in segments:
        key = (segment.span.service, segment.span.kind, segment.span.name)
        spent[key] = spent.get(key, 0.0) + segment.ms
    whole = math.fsum(segment.ms for segment in segments)
    ranked = sorted(spent.items(), key=lambda item: (-item[1], item[0]))
    rows = [[round(ms, 2), f"{ms / whole:.0%}", s, k, n] for (s, k, n), ms in ranked]
    data = [{"service": s, "kind": k, "name": n, "ms": ms} for (s, k, n), ms in ranked]
    head = f"critical path of {args.trace_id}: {whole:.1f} ms at {rfc3339(segments[0].start)}"
    return Result(f"{head}\n{table(['ms', 'share', 'service', 'kind', 'span'], rows)}", data)


async def _spans(context: ToolContext, trace_id: str) -> list[SpanRow]:
    spans = await context.env.telemetry.trace(trace_id.strip())
    if not spans:
        raise _unknown(trace_id)
    return spans


def _unknown(trace_id: str) -> ToolRefused:
    return ToolRefused(f"there is no trace {trace_id!r}; traces_search finds ids")


def _line(node: Node, begin: float, whole: float) -> str:
    """Print one span, indented by its depth; mark where an error began."""
    span = node.span
    offset = (span.start - begin) * 1000.0
    error = f"  ERROR {span.error}" + (" (origin)" if node.origin else "") if span.error else ""
    where = "  ".join(f"{k}={span.attributes[k]}" for k in sorted(span.attributes))
    return (
        f"{offset:11.1f} {span.duration_ms:12.1f} {node.self_ms:8.1f} {_share(node, whole):>5}"
        f"  {'  ' * node.depth}"
        f"{span.service} {span.kind} {span.name}{error}" + (f"  [{where}]" if where else "")
    )


def _share(node: Node, whole: float) -> str:
    return f"{node.path_ms / whole:.0%}" if node.path_ms else "-"


def _record(node: Node) -> dict[str, object]:
    span = node.span
    return {
        "span_id": span.span_id, "parent_id": span.parent_id, "service": span.service,
        "pod": span.pod, "name": span.name, "kind": span.kind, "start": span.start,
        "duration_ms": span.duration_ms, "self_ms": node.self_ms, "path_ms": node.path_ms,
        "depth": node.depth,
        "error": span.error, "origin": node.origin, "attributes": dict(span.attributes),
    }  # fmt: skip


TOOLS = (traces_search, traces_get, traces_critical_path)
