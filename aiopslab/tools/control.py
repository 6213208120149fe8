"""``wait`` and ``cause_kinds``: let time pass, and read the vocabulary of diagnoses.

Not here: ``submit``, which has a module of its own.
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.content import near
from aiopslab.models.timestamps import rfc3339
from aiopslab.tools.context import Args, Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.tables import table
from aiopslab.tools.vocabulary import NOTHING, causes


class WaitArgs(Args):
    """Arguments of ``wait``."""

    seconds: float = Field(ge=1.0, le=900.0)
    """How long."""
    reason: str = ""
    """What for; only recorded."""


@tool(WaitArgs, cost="seconds")
async def wait(context: ToolContext, args: WaitArgs) -> Result:
    """Let time pass, for instance to see whether a repair holds. It counts as time to repair."""
    return Result(f"waited {args.seconds:g} s; it is {rfc3339(context.env.now())}")


class CauseArgs(Paged):
    """Arguments of ``cause_kinds``."""

    family: str = ""
    """Only kinds of this family; empty lists all."""


@tool(CauseArgs, cost=0.0)
async def cause_kinds(context: ToolContext, args: CauseArgs) -> Result:
    """List the cause kinds that a diagnosis may name, with their definitions."""
    kinds = list(causes().values())
    families = sorted({k.family for k in kinds})
    if args.family and args.family not in families:
        hint = near(args.family, families) or f"families: {', '.join(families)}"
        raise ToolRefused(f"there is no family {args.family!r}; {hint}")
    shown = [k for k in kinds if args.family in ("", k.family)]
    rows = [[k.id, k.family, k.definition] for k in shown]
    rows.append([NOTHING, NOTHING, "Nothing is wrong."])
    data = [{"id": k.id, "family": k.family, "definition": k.definition} for k in shown]
    return Result(table(["cause", "family", "definition"], rows), data, len(rows))


TOOLS = (wait, cause_kinds)
