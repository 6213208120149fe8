"""The one door between an agent and the tools: names, arguments, rights, cost, bounds, record.

``Toolbox.call`` never raises for an agent's mistake; it answers with ``ok=False`` and a text that
says what to do next. Every call becomes an observation ``obs-N`` and a ``Step`` of the record.
Not here: what tools do (their modules), budgets and thinking time (``orchestrator``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from aiopslab.content import near
from aiopslab.environments.unbroken import unbroken
from aiopslab.models.kube import KubeError
from aiopslab.models.observation import Effect, Observation, ToolInfo
from aiopslab.models.timestamps import rfc3339
from aiopslab.models.trial import Step
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.tools.catalogue import TOOLS, describe, describe_tools
from aiopslab.tools.context import Args, Result, Tool, ToolContext, ToolRefused
from aiopslab.tools.pages import Pages
from aiopslab.tools.profiles import offered
from aiopslab.tools.schema import explain, usage
from aiopslab.tools.times import TimeError

Spend = Callable[[float], Awaitable[None]]
Record = Callable[[Step], None]


@dataclass(slots=True)
class Counts:
    """What the agent did so far, as ``models.trial.Usage`` counts it."""

    reads: int = 0
    writes: int = 0
    tool_errors: int = 0
    repeated_calls: int = 0
    format_violations: int = 0


@dataclass(slots=True)
class Visit:
    """A request that is being recorded: its observation's id, and what came of it."""

    id: str
    ok: bool = True
    text: str = ""
    before: Any = None
    after: Any = None


class Toolbox:
    """The tools of one trial.

    Args:
        context: Environment, task and rights.
        spend: Lets the declared cost of a call pass; by default the environment's ``advance``.
        record: Receives one ``Step`` a call, refused ones included.
        limit: Characters of text an observation holds; the rest is paged by ``cursor``.
    """

    def __init__(
        self,
        context: ToolContext,
        *,
        spend: Spend | None = None,
        record: Record | None = None,
        limit: int = 6000,
    ) -> None:
        self.context = context
        self.counts = Counts()
        self._spend = spend or context.env.advance
        self._record = record
        self._pages = Pages(limit)
        self._calls = 0
        self._seen: set[str] = set()

    @property
    def tools(self) -> list[ToolInfo]:
        """The tools of this task, as agents see them."""
        return describe_tools(self.context.task, self.context.choice)

    def cost_s(self, name: str, arguments: dict[str, Any]) -> float:
        """Return what a call would cost in virtual seconds; a call that cannot be made, nothing."""
        tool = TOOLS.get(name)
        if tool is None:
            return 0.0
        try:
            return tool.cost_s(tool.args.read(arguments))
        except ValidationError:
            return 0.0

    async def call(
        self, name: str, arguments: dict[str, Any] | None = None, *, thought: str = ""
    ) -> Observation:
        """Call a tool and record it.

        A call that may change something goes on to its end, and into the record, where its caller
        is cancelled meanwhile; the cancellation comes after it.

        Args:
            name: One of ``tools``.
            arguments: As the tool's schema says; numbers may come as text.
            thought: What the agent said about it; only recorded.
        """
        tool = TOOLS.get(name)
        calling = self._called(_text(name), arguments, _text(thought))
        if tool is None or (tool.effect == "read" and tool.effect_of is None):
            return await calling
        # No change without a record of it.
        return await unbroken(asyncio.create_task(calling))

    async def _called(
        self, name: str, arguments: dict[str, Any] | None, thought: str
    ) -> Observation:
        """Call a tool from the first look at its arguments to its line in the record."""
        given = _plain(arguments or {})
        arguments = given or {}
        self._calls += 1
        start = self.context.env.now()
        key = f"{name} {json.dumps(arguments, sort_keys=True)}"
        self.counts.repeated_calls += key in self._seen
        self._seen.add(key)
        ok, effect, result = await self._served(name, given)
        self._count(ok, effect)
        observation = self._observation(name, arguments, ok, result)
        if self._record is not None:
            self._record(self._step(observation, effect, start, thought, result))
        return observation

    @contextmanager
    def visit(self, name: str, arguments: dict[str, Any], effect: Effect) -> Iterator[Visit]:
        """Record a request that did not come through a tool: a wire API's. One at a time.

        Args:
            name: The API, for instance ``kubernetes``.
            arguments: JSON values.
            effect: What it does.
        """
        self._calls += 1
        key = f"{name} {json.dumps(arguments, sort_keys=True)}"
        self.counts.repeated_calls += key in self._seen
        self._seen.add(key)
        visit, start = Visit(f"obs-{self._calls}"), self.context.env.now()
        yield visit
        self._count(visit.ok, effect)
        result = Result(visit.text, before=visit.before, after=visit.after)
        observation = self._observation(name, arguments, visit.ok, result)
        if self._record is not None:
            self._record(self._step(observation, effect, start, "", result))

    async def _served(
        self, name: str, arguments: dict[str, Any] | None
    ) -> tuple[bool, Effect, Result]:
        """Find the tool, read the arguments, run; every refusal becomes a result."""
        tool = TOOLS.get(name)
        if tool is None:
            self.counts.format_violations += 1
            known = [one for one in TOOLS if offered(one, self.context.choice)]
            hint = near(name, known) or f"tools: {', '.join(known)}"
            return False, "read", Result(f"there is no tool {name!r}; {hint}")
        if not offered(name, self.context.choice):
            profile = self.context.choice.name
            said = f"the tool {name!r} is not offered here (context profile {profile})"
            return False, tool.effect, Result(f"{said}; go on with the others")
        if self.context.sink.closed:
            return False, tool.effect, Result("the answer is already submitted; nothing follows")
        if arguments is None:
            self.counts.format_violations += 1
            return False, tool.effect, Result("arguments must be JSON: an object of plain values")
        if arguments.get("cursor"):
            return self._turned(tool, str(arguments["cursor"]))
        try:
            args = tool.args.read(arguments)
        except ValidationError as error:
            self.counts.format_violations += 1
            form = usage(name, describe(tool, self.context.task).parameters)
            return False, tool.effect, Result(f"{explain(error, tool.args)}\nusage: {form}")
        return await self._run(tool, args)

    async def _run(self, tool: Tool[Any], args: Args) -> tuple[bool, Effect, Result]:
        """Check the right, let the cost pass, run the body; word the refusals."""
        effect = tool.effect_for(args)
        try:
            if effect == "write" and not self.context.may_write:
                self.context.forbid(
                    f"change anything with {tool.name}: this task is read-only; look, then submit"
                )
            await self._spend(tool.cost_s(args))
            return True, effect, await tool.body(self.context, args)
        except ToolRefused as refusal:
            self.counts.format_violations += effect == "submit"
            return False, effect, Result(str(refusal))
        except TimeError as error:
            return False, effect, Result(str(error))
        except KubeError as error:
            return False, effect, Result(f"Error from server ({error.reason}): {error.message}")
        except QueryError as error:
            return False, effect, Result(f"the query cannot be evaluated: {error}")

    def _turned(self, tool: Tool[Any], cursor: str) -> tuple[bool, Effect, Result]:
        """Return the next page of an earlier answer, as it was then."""
        rest = self._pages.rest(cursor)
        if rest is None:
            return (
                False,
                tool.effect,
                Result(f"the cursor {cursor!r} is unknown or too old; call {tool.name} without it"),
            )
        return True, "read", Result(rest)

    def _observation(
        self, name: str, arguments: dict[str, Any], ok: bool, result: Result
    ) -> Observation:
        """Bound the text and give it an id."""
        id = f"obs-{self._calls}"
        text, cursor = self._pages.first(id, result.text, again=str(arguments.get("cursor", "")))
        return Observation(
            id=id, tool=name, arguments=arguments, ok=ok, text=text, data=result.data,
            truncated=result.truncated or cursor is not None, total=result.total,
            cursor=cursor, time=rfc3339(self.context.env.now()),
        )  # fmt: skip

    def _count(self, ok: bool, effect: Effect) -> None:
        self.counts.tool_errors += not ok
        self.counts.reads += effect == "read"
        self.counts.writes += effect == "write" and ok

    def _step(
        self, seen: Observation, effect: Effect, start: float, thought: str, result: Result
    ) -> Step:
        return Step(
            n=self._calls, id=seen.id, tool=seen.tool, effect=effect, arguments=seen.arguments,
            thought=thought, ok=seen.ok, text=seen.text, start=start, end=self.context.env.now(),
            before=result.before, after=result.after,
        )  # fmt: skip


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return arguments as they come back from JSON; None for what JSON cannot carry."""
    try:
        text = json.dumps(dict(arguments), allow_nan=False, ensure_ascii=False)
        plain: dict[str, Any] = json.loads(text.encode("utf-8"))
    except (TypeError, ValueError, RecursionError):
        return None
    return plain


def _text(given: str) -> str:
    """Return text that can be written down: halves of characters become ``?``."""
    return given.encode("utf-8", "replace").decode("utf-8")
