"""``telemetry_sql``: one SELECT over all signals, for questions that cross them.

Not here: SQL to the app's own stores (``stores``), what a statement may be (``telemetry.sql``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import Field

from aiopslab.models.timestamps import rfc3339
from aiopslab.tools.context import Paged, Result, ToolContext, tool
from aiopslab.tools.tables import table

_CELL = 400
"""Characters of a value in the text; ``data`` has all of it."""


class TelemetrySqlArgs(Paged):
    """Arguments of ``telemetry_sql``."""

    sql: str
    """One SELECT in DuckDB's dialect; now() is the cluster's time."""
    limit: int = Field(default=100, ge=1, le=1000)
    """Rows to return."""


@tool(TelemetrySqlArgs, cost=3.0)
async def telemetry_sql(context: ToolContext, args: TelemetrySqlArgs) -> Result:
    """Run one read-only SELECT over the telemetry; DESCRIBE spans shows the columns of a table.

    Tables: spans(timestamp, trace_id, span_id, parent_span_id, service_name, k8s_pod_name,
    span_name, span_kind, duration_ms, status_code 'Unset' or 'Error', status_message, attributes),
    logs(timestamp, service_name, k8s_namespace_name, k8s_pod_name, k8s_container_name,
    severity_text, body, trace_id, span_id), samples(timestamp, metric_name, attributes, value),
    events, alerts, changes. Times are UTC, attributes are maps: attributes['http.route'].
    """
    answer = await context.env.telemetry.sql(args.sql, limit=args.limit)
    order = "" if answer.ordered else "; without ORDER BY the order of rows means nothing"
    head = f"at: {rfc3339(context.env.now())}; {len(answer.rows)} rows{order}"
    data = [dict(zip(_names(answer.columns), row, strict=True)) for row in answer.rows]
    if not answer.rows:
        return Result(head, data, 0)
    rows = [[_cell(value) for value in row] for row in answer.rows]
    text = table(list(answer.columns), rows)
    total = None if answer.truncated else len(answer.rows)
    return Result(f"{head}\n{text}", data, total, truncated=answer.truncated)


def _names(columns: Sequence[str]) -> list[str]:
    """Return distinct names: two columns of a statement may be called alike."""
    names: list[str] = []
    for name in columns:
        count = sum(known == name or known.startswith(f"{name}:") for known in names)
        names.append(f"{name}:{count}" if count else name)
    return names


def _cell(value: object) -> object:
    """Return a value as one line of text."""
    if isinstance(value, dict | list):
        value = json.dumps(value, sort_keys=True)
    if not isinstance(value, str):
        return value
    flat = value.replace("\n", "\\n")
    return flat if len(flat) <= _CELL else f"{flat[:_CELL]}..."


TOOLS = (telemetry_sql,)
