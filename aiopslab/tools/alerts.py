"""``alerts``: what the monitoring says is wrong.

Not here: the rules (``telemetry``), the page in the brief (``orchestrator``).
"""

from __future__ import annotations

from aiopslab.models.signal import Alert
from aiopslab.models.timestamps import rfc3339
from aiopslab.tools.context import Paged, Result, ToolContext, tool
from aiopslab.tools.tables import selector


class AlertsArgs(Paged):
    """Arguments of ``alerts``."""

    include_resolved: bool = False
    """Also list alerts that fired before and are resolved."""


@tool(AlertsArgs)
async def alerts(context: ToolContext, args: AlertsArgs) -> Result:
    """List alerts that fire or are pending, with labels, start and summary."""
    found = await context.env.telemetry.alerts(include_resolved=args.include_resolved)
    order = {"firing": 0, "pending": 1, "resolved": 2}
    found = sorted(found, key=lambda a: (order[a.state], a.active_at, a.name, sorted(a.labels)))
    head = f"at: {rfc3339(context.env.now())}"
    if not found:
        more = "" if args.include_resolved else "; include_resolved=true lists past ones"
        return Result(f"{head}\nno alert is firing or pending{more}", data=[], total=0)
    text = "\n".join([head, *map(_line, found)])
    return Result(text, data=[a.model_dump(mode="json") for a in found], total=len(found))


def _line(alert: Alert) -> str:
    """Print one alert on two lines."""
    said = alert.annotations.get("summary") or alert.annotations.get("description", "")
    value = "" if alert.value is None else f" value {alert.value:.6g}"
    labels = {k: v for k, v in alert.labels.items() if k not in ("alertname", "severity")}
    until = f", resolved {rfc3339(alert.resolved_at)}" if alert.resolved_at is not None else ""
    return (
        f"{alert.state.upper()} {alert.name} [{alert.severity}] since"
        f" {rfc3339(alert.active_at)}{until}{value}\n  {selector(labels)} {said}".rstrip()
    )


TOOLS = (alerts,)
