"""Agents in the style of AIOpsLab: ``async get_action(observation: str) -> str``.

The adapter tells such an agent the brief and the tools as text, expects exactly one call in a
fenced block of its answer, carries it out and returns the observation's text. An object may also
have ``init_context(description, instructions, actions)``. Not here: their shell-based actions;
agents call our tools by our names.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from aiopslab.agents.protocol import ActionAgent, TrialHandle
from aiopslab.errors import AgentError
from aiopslab.models.observation import ToolInfo

_FENCE = re.compile(r"```(?:[a-zA-Z]*(?=\s))?(.*?)```", re.DOTALL)
"""A fenced block; letters before white space name its language, others begin the call."""
_PATIENCE = 5
"""Malformed actions in a row after which the agent counts as broken."""


class CallError(ValueError):
    """An action holds no call, or more than one; the text says what is expected."""


class UpstreamAgent:
    """Makes an ``ActionAgent`` an ``Agent``."""

    def __init__(self, inner: ActionAgent) -> None:
        self._inner = inner

    async def run(self, trial: TrialHandle) -> None:
        """Alternate observations and actions until the answer is in.

        Raises:
            AgentError: It cannot form an action.
        """
        begin = getattr(self._inner, "init_context", None)
        if callable(begin):
            begin(trial.brief.text(), _FORM, {t.name: t.description for t in trial.tools})
        said, malformed = _introduction(trial), 0
        while malformed < _PATIENCE and not trial.ended:
            action = await self._inner.get_action(said)
            trial.note(action)
            try:
                name, arguments = parse_call(action, trial.tools)
            except CallError as error:
                malformed += 1
                await trial.call("malformed", text=action[:500])
                said = f"Error: {error}"
                continue
            malformed = 0
            seen = await trial.call(name, **arguments)
            if name == "submit" and seen.ok:
                return
            said = f"[{seen.id}]{'' if seen.ok else ' Error:'}\n{seen.text}"
        if not trial.ended:
            raise AgentError(f"{malformed} actions in a row held no call")


def _introduction(trial: TrialHandle) -> str:
    """Return the first observation: the brief and the tools."""
    return f"{trial.brief.text()}\n\nTools:\n{tools_text(trial.tools)}\n\n{_FORM}"


_FORM = (
    "Answer with exactly one call in a fenced block, for instance:\n"
    '```\nlogs_search(service="frontend", severity="error")\n```'
)


def tools_text(tools: Sequence[ToolInfo]) -> str:
    """List tools as signatures with their descriptions."""
    lines = []
    for tool in tools:
        required = tool.parameters["required"]
        arguments = ", ".join(
            key if key in required else f"{key}={prop.get('default')!r}"
            for key, prop in tool.parameters["properties"].items()
        )
        lines.append(f"- {tool.name}({arguments}): {tool.description}")
    return "\n".join(lines)


def parse_call(action: str, tools: Sequence[ToolInfo]) -> tuple[str, dict[str, Any]]:
    r"""Read the one call of an action: its name and its arguments.

    Arguments are Python literals; positional ones take the tool's parameters in order.

    Raises:
        CallError: Not exactly one call, or not readable.

    >>> parse_call("```\nwait(seconds=30)\n```", [])
    ('wait', {'seconds': 30})
    """
    blocks = [block.strip() for block in _FENCE.findall(action)] or [action.strip()]
    if len(blocks) != 1:
        raise CallError(f"{len(blocks)} fenced blocks, expected one. {_FORM}")
    try:
        call = ast.parse(blocks[0], mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # The last two are what the parser says of text that is nested too deeply.
        raise CallError(f"the block is not a call. {_FORM}") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise CallError(f"the block is not a call. {_FORM}")
    return call.func.id, _arguments(call, call.func.id, tools)


def _arguments(call: ast.Call, name: str, tools: Sequence[ToolInfo]) -> dict[str, Any]:
    """Evaluate literals and give positional ones their names."""
    order = next((list(t.parameters["properties"]) for t in tools if t.name == name), [])
    if len(call.args) > len(order):
        raise CallError(f"{name}: name the arguments, for instance {name}(key=value)")
    try:
        found = {key: ast.literal_eval(node) for key, node in zip(order, call.args, strict=False)}
        for keyword in call.keywords:
            if keyword.arg is None:
                raise CallError(f"{name}: write the arguments out instead of **")
            found[keyword.arg] = ast.literal_eval(keyword.value)
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, CallError):
            raise
        raise CallError(f"{name}: arguments are literals: {error}") from error
    return found
