"""Tools: in short, with every argument, and the form of the answers.

Not here: how an agent calls them (``docs/tools.md`` and ``docs/agents.md`` around these parts).
"""

from __future__ import annotations

from aiopslab.models.context_profile import ContextChoice
from aiopslab.models.task import TASKS
from aiopslab.tools import TOOLS, answer_schema, describe_tools
from aiopslab.tools.schema import usage
from parts.markdown import cell, fenced, first_sentence, table


def tools_table() -> str:
    """Return all tools in short."""
    homes = {"submit": "agents.md#answers"}
    rows = [
        [
            f"[`{t.name}`]({homes.get(t.name, f'tools.md#{t.name}')})",
            t.effect,
            _cost(t.cost),
            first_sentence(t.description),
        ]
        for t in TOOLS.values()
    ]
    return table(["Tool", "Effect", "Cost", "What it does"], rows)


def tools_reference() -> str:
    """Return every tool with its arguments."""
    parts = []
    for tool in describe_tools("mitigation", ContextChoice(profile="P5")):
        if tool.effect == "submit":
            continue
        cost = _cost(TOOLS[tool.name].cost)
        parts.append(f"### {tool.name}\n\n{tool.effect}, {cost}. {tool.description}\n")
        parts.append(fenced(usage(tool.name, tool.parameters), "text"))
        rows = [
            [f"`{key}`", cell(prop.get("description", ""))]
            for key, prop in tool.parameters["properties"].items()
        ]
        if rows:
            parts.append(table(["Argument", "Meaning"], rows) + "\n")
    return "\n".join(parts)


def answers() -> str:
    """Return the form of ``submit`` for each task."""
    lines = [f"# {task}\n{usage('submit', answer_schema(task))}" for task in TASKS]
    return fenced("\n\n".join(lines), "text")


def _cost(cost: float | str) -> str:
    return f"{cost:g} s" if isinstance(cost, float) else f"`{cost}`"
