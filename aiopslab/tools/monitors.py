"""``monitors``: what the alert rules watch, whether or not they fire.

Not here: alerts that fire (``alerts``), evaluating an expression (``metrics``).
"""

from __future__ import annotations

from aiopslab.content import near
from aiopslab.models.timestamps import rfc3339
from aiopslab.telemetry.rules import RuleStatus
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool


class MonitorsArgs(Paged):
    """Arguments of ``monitors``."""

    name: str = ""
    """Name of an alert rule; empty lists all."""


@tool(MonitorsArgs)
async def monitors(context: ToolContext, args: MonitorsArgs) -> Result:
    """List the alert rules: what each watches, for how long it must hold, and its state."""
    groups = await context.env.telemetry.rule_groups()
    rules = [status for group in groups for status in group.rules if status.rule.alert]
    known = sorted({status.rule.name for status in rules})
    if args.name and args.name not in known:
        hint = near(args.name, known) or f"known: {', '.join(known) or 'none'}"
        raise ToolRefused(f"there is no alert rule {args.name!r}; {hint}")
    shown = [status for status in rules if args.name in ("", status.rule.name)]
    head = f"at: {rfc3339(context.env.now())}"
    return Result("\n".join([head, *map(line, shown)]), [_data(s) for s in shown], len(shown))


def line(status: RuleStatus) -> str:
    """Print one rule on two lines."""
    rule = status.rule
    severity = rule.labels.get("severity", "")
    expression = " ".join(rule.expr.split())
    return f"{rule.name} [{severity}] {status.state}, for {rule.for_:.0f}s\n  {expression}"


def _data(status: RuleStatus) -> dict[str, object]:
    rule = status.rule
    return {
        "name": rule.name, "severity": rule.labels.get("severity", ""), "state": status.state,
        "for_s": rule.for_, "expr": " ".join(rule.expr.split()),
    }  # fmt: skip


TOOLS = (monitors,)
