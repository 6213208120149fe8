"""All tools by name, and how an agent of a given task sees them.

Not here: the tools themselves (this module's neighbours), calling them (``toolbox``).
"""

from __future__ import annotations

from typing import Any

from aiopslab.models.context_profile import ContextChoice
from aiopslab.models.observation import ToolInfo
from aiopslab.models.task import Task
from aiopslab.tools import (
    alerts,
    control,
    history,
    kube_read,
    kube_rollout,
    kube_write,
    logs,
    metrics,
    monitors,
    partners,
    past,
    signals,
    stores,
    submit,
    topology,
    traces,
)
from aiopslab.tools.context import Tool
from aiopslab.tools.kubectl import tool as kubectl
from aiopslab.tools.profiles import offered
from aiopslab.tools.schema import parameters

_ROOMS: tuple[tuple[Tool[Any], ...], ...] = (
    alerts.TOOLS, topology.TOOLS, metrics.TOOLS, logs.TOOLS, traces.TOOLS, signals.TOOLS,
    kube_read.TOOLS, kube_write.TOOLS, kube_rollout.TOOLS, kubectl.TOOLS, stores.TOOLS,
    history.TOOLS, monitors.TOOLS, past.TOOLS, partners.TOOLS, control.TOOLS, submit.TOOLS,
)  # fmt: skip
TOOLS: dict[str, Tool[Any]] = {tool.name: tool for room in _ROOMS for tool in room}


def describe(tool: Tool[Any], task: Task) -> ToolInfo:
    """Describe one tool to an agent; ``submit`` takes the answer of the task."""
    schema = submit.answer_schema(task) if tool.effect == "submit" else parameters(tool.args)
    cost = tool.cost if isinstance(tool.cost, float) else 0.0
    return ToolInfo(
        name=tool.name, description=tool.description, effect=tool.effect, parameters=schema,
        cost_s=cost,
    )  # fmt: skip


def describe_tools(task: Task, choice: ContextChoice | None = None) -> list[ToolInfo]:
    """Describe the tools of a task; where nothing may be changed, none that only changes.

    Args:
        task: What is asked.
        choice: The context that the run offers; None: the default one.
    """
    choice = choice or ContextChoice()
    return [
        describe(tool, task)
        for tool in TOOLS.values()
        if (tool.effect != "write" or task == "mitigation") and offered(tool.name, choice)
    ]
