"""``human``: a terminal session on the same tools an agent has.

Short syntax: ``logs_search service=rate contains=error``; required arguments may come without
names (``k8s_describe pod rate-0``); JSON works too. Not here: starting a trial (``cli``).
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import sys
from collections.abc import Callable
from typing import Any

from aiopslab.agents.protocol import TrialHandle
from aiopslab.content import near
from aiopslab.models.observation import Observation, ToolInfo

_HELP = """\
TOOL key=value ...    call a tool; required arguments may come without their names
TOOL {"key": ...}     the same in JSON
help [TOOL]           list the tools, or explain one
brief, budget         what you were told; what is left
more                  the next page of the last answer
quit                  leave without submitting
submit ...            detection: submit anomaly=true confidence=0.9
                      localization: submit rate:0.7 geo:0.2
                      diagnosis: submit rate:memory_leak:0.8 evidence=obs-3,obs-5
                      mitigation: submit summary="rolled rate back" confidence=0.9"""


class Human:
    """You.

    Args:
        read: Returns a line for a prompt; raises EOFError at the end. By default the terminal's.
        write: Prints a text.
    """

    def __init__(
        self,
        read: Callable[[str], str] | None = None,
        write: Callable[[str], None] | None = None,
    ) -> None:
        self._terminal = read is None
        self._read = read or input
        self._write = write or _print
        self._last: Observation | None = None

    async def run(self, trial: TrialHandle) -> None:
        """Read and carry out lines until the answer is in, or the person leaves."""
        if self._terminal:
            _prepare([tool.name for tool in trial.tools])
        self._write(f"{trial.brief.text()}\n\ntype help for the tools\n")
        while True:
            try:
                line = (await asyncio.to_thread(self._read, f"{trial.brief.app}> ")).strip()
            except EOFError:
                return
            if line in ("quit", "exit"):
                return
            if line and await self._line(trial, line):
                return

    async def _line(self, trial: TrialHandle, line: str) -> bool:
        """Carry one line out; True when the answer is in."""
        word, _, rest = line.partition(" ")
        match word:
            case "help":
                self._write(_help(trial, rest.strip()))
            case "brief":
                self._write(trial.brief.text())
            case "budget":
                left = trial.budget.model_dump(exclude_none=True)
                self._write(", ".join(f"{k} {v:g}" for k, v in left.items()) or "unlimited")
            case "more" if self._last is not None and self._last.cursor:
                await self._call(trial, self._last.tool, {"cursor": self._last.cursor})
            case "more":
                self._write("the last answer was complete")
            case _:
                return await self._command(trial, word, rest)
        return False

    async def _command(self, trial: TrialHandle, name: str, rest: str) -> bool:
        """Call a tool by a line."""
        tool = next((t for t in trial.tools if t.name == name), None)
        if tool is None:
            hint = near(name, [t.name for t in trial.tools]) or "type help"
            self._write(f"there is no tool {name!r}; {hint}")
            return False
        try:
            arguments = parse_line(rest, tool, trial.brief.task)
        except ValueError as error:
            self._write(f"{error}; type: help {name}")
            return False
        seen = await self._call(trial, name, arguments)
        return name == "submit" and seen.ok

    async def _call(self, trial: TrialHandle, name: str, arguments: dict[str, Any]) -> Observation:
        seen = await trial.call(name, **arguments)
        self._last = seen
        self._write(f"[{seen.id} {seen.time}]{'' if seen.ok else ' refused'}\n{seen.text}\n")
        return seen


def parse_line(rest: str, tool: ToolInfo, task: str) -> dict[str, Any]:
    """Read the arguments of a call from a line.

    Raises:
        ValueError: A word fits no argument; says which.
    """
    if rest.lstrip().startswith("{"):
        found: dict[str, Any] = json.loads(rest)
        return found
    properties: dict[str, Any] = tool.parameters["properties"]
    unnamed = [key for key in properties if key in tool.parameters["required"]]
    arguments: dict[str, Any] = {}
    listed: list[dict[str, Any]] = []
    for word in shlex.split(rest):
        key, equals, value = word.partition("=")
        if equals and key in properties:
            is_list = properties[key].get("type") == "array" and not value.startswith("[")
            arguments[key] = value.split(",") if is_list else value
        elif tool.effect == "submit" and ":" in word:
            listed.append(_suspect(word))
        else:
            free = [k for k in unnamed if k not in arguments]
            if not free:
                raise ValueError(f"{word!r} fits no argument")
            is_list = properties[free[0]].get("type") == "array"
            arguments[free[0]] = [word] if is_list else word
    if listed:
        arguments["hypotheses" if task == "diagnosis" else "candidates"] = listed
    return arguments


def _suspect(word: str) -> dict[str, Any]:
    """Read ``component:probability`` or ``component:cause:probability``."""
    match word.split(":"):
        case [component, probability]:
            return {"component": component, "probability": float(probability)}
        case [component, cause, probability]:
            return {"component": component, "cause": cause, "probability": float(probability)}
        case _:
            raise ValueError(
                f"{word!r} is not component:probability or component:cause:probability"
            )


def _help(trial: TrialHandle, name: str) -> str:
    """Explain the syntax and the tools, or one tool."""
    if not name:
        width = max(len(t.name) for t in trial.tools)
        lines = [f"  {t.name.ljust(width)}  {t.description.split('. ')[0]}" for t in trial.tools]
        return "\n".join([_HELP, "", "tools:", *lines])
    tool = next((t for t in trial.tools if t.name == name), None)
    if tool is None:
        return f"there is no tool {name!r}; {near(name, [t.name for t in trial.tools])}"
    lines = [f"{tool.name} ({tool.effect}, {tool.cost_s:g} s): {tool.description}"]
    for key, prop in tool.parameters["properties"].items():
        need = "required" if key in tool.parameters["required"] else f"= {prop.get('default')!r}"
        kind = "|".join(prop["enum"]) if "enum" in prop else prop.get("type", "")
        lines.append(f"  {key} ({kind}) {need}  {prop.get('description', '')}")
    return "\n".join(lines)


def _prepare(words: list[str]) -> None:
    """Give the terminal history and completion, where Python has readline."""
    try:
        import readline  # noqa: PLC0415
    except ModuleNotFoundError:
        return
    readline.set_completer(lambda text, n: [*(w for w in words if w.startswith(text)), None][n])
    readline.parse_and_bind("tab: complete")


def _print(text: str) -> None:
    """Print; on a terminal stop after each screenful."""
    lines = text.splitlines()
    height = shutil.get_terminal_size().lines - 2
    if not sys.stdout.isatty() or not sys.stdin.isatty() or len(lines) <= height:
        sys.stdout.write(text + "\n")
        return
    for first in range(0, len(lines), height):
        sys.stdout.write("\n".join(lines[first : first + height]) + "\n")
        if first + height < len(lines) and input("-- more, q to stop --").startswith("q"):
            return
