"""The agent's side of a trial: its brief, its tools, its clock, its budgets.

A ``Session`` implements ``agents.protocol.TrialHandle``. It is built from the brief and a toolbox
and knows neither incident, seed nor truth. Under the stepped clock each call costs thinking time
and the tool's declared seconds; under ``wall:F`` a pacer lets the world follow the host's clock.
Not here: what comes before and after the agent (``trial``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from pydantic import ValidationError

from aiopslab.environments.protocol import Environment
from aiopslab.errors import AgentError, InfraError, LimitExceeded, first_of
from aiopslab.models.doors import Doors
from aiopslab.models.observation import Brief, Budget, Observation, ToolInfo
from aiopslab.models.run import RunConfig
from aiopslab.models.task import Task
from aiopslab.models.trial import Step, Usage
from aiopslab.orchestrator import tracing, wallclock
from aiopslab.orchestrator.meter import Meter
from aiopslab.tools.context import ToolContext
from aiopslab.tools.reports import ModelUsage
from aiopslab.tools.schema import explain
from aiopslab.tools.toolbox import Toolbox
from aiopslab.wire.gate import Call, Turn

PACE_S = 0.1
"""Wall seconds between two advances of a world that follows the host's clock."""
DRIFT_S = 0.1
"""Wall seconds between two steps of an open stream under the stepped clock: time for its client to
leave once it has seen what it waited for."""
PATIENCE = 10
"""Calls refused for a used-up budget after which the trial ends, whatever the agent still tries."""


class Session:
    """One trial as its agent sees it.

    Args:
        brief: What the agent is told.
        env: The world, through its protocol.
        config: Clock, thinking time, budgets.
        record: Receives every step as it happens.
        keep: Takes files for the record.
    """

    doors: Doors | None = None
    """Where this trial is reached from outside; None where it is not."""
    opener: Callable[[str], AbstractAsyncContextManager[Doors]] | None = None
    """Opens the doors at another address; None where the trial is not served."""

    def __init__(
        self,
        brief: Brief,
        env: Environment,
        config: RunConfig,
        record: Callable[[Step], None],
        *,
        keep: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.brief = brief
        self._keep = keep
        self.over = asyncio.Event()
        """Set when the answer is in, malformed for good, or a budget was overrun too often."""
        self.failure: InfraError | None = None
        """Set when a call failed on our side; an agent that catches it changes nothing."""
        self._env = env
        self._think_s = config.think_s
        self._factor = config.clock_factor()
        self._meter = Meter(config.limits, env.now())
        self._start = env.now()
        self._context = ToolContext(env, brief.task, config.context)
        self._toolbox = Toolbox(self._context, spend=self._spend, record=record)
        self._thoughts: list[str] = []
        self._waiting = False
        self._refused = 0
        self._turn = asyncio.Lock()
        self._world = asyncio.Lock()
        """Held by whoever looks at the world or drives it; inside ``_turn``, which is per call."""

    @property
    def task(self) -> Task:
        """What is asked."""
        return self.brief.task

    @property
    def actor(self) -> str:
        """Who the cluster takes the agent for."""
        return self._context.actor

    @property
    def tools(self) -> list[ToolInfo]:
        """The tools of this task."""
        return self._toolbox.tools

    @property
    def budget(self) -> Budget:
        """What is left."""
        return self._meter.left(self._env.now())

    @property
    def answer(self) -> Any:
        """The submitted answer; None if there is none."""
        return self._context.sink.answer

    @property
    def ended(self) -> bool:
        """Whether nothing is accepted any longer."""
        return self.over.is_set()

    @property
    def malformed(self) -> bool:
        """Whether the answer was malformed for good."""
        return self._context.sink.closed and self.answer is None

    @property
    def limit(self) -> str | None:
        """Name of the budget that was used up first; None if none was."""
        return self._meter.hit

    def note(self, thought: str) -> None:
        """Keep what the agent thinks; it is recorded with its next call."""
        self._thoughts.append(thought)

    def keep_last_words(self) -> None:
        """Put the thoughts that no call followed with the record: why a model declined, say."""
        if self._thoughts:
            text = "\n".join(map(str, self._thoughts)) + "\n"
            self.keep("last_words.txt", text.encode("utf-8", "replace"))

    @asynccontextmanager
    async def doors_at(self, host: str) -> AsyncIterator[Doors]:
        """Open the doors at another address too.

        Raises:
            InfraError: The address cannot be bound, or the trial is not served.
        """
        if self.opener is None:
            raise InfraError("doors", "the trial is not served")
        try:
            async with self.opener(host) as doors:
                yield doors
        except OSError as error:
            raise InfraError("doors", f"{host}: {type(error).__name__}: {error}") from error

    def keep(self, name: str, content: bytes) -> None:
        """Put a file with the trial's record."""
        if self._keep is not None:
            self._keep(name, content)

    def usage(self, tokens_in: int = 0, tokens_out: int = 0, cost_usd: float | None = None) -> None:
        """Book what a model call consumed.

        Raises:
            AgentError: No model can have consumed that: it is below zero, or no number.
        """
        try:
            used = ModelUsage(tokens_in=tokens_in, tokens_out=tokens_out, cost_usd=cost_usd)
        except ValidationError as error:
            raise AgentError(f"usage: {explain(error, ModelUsage)}") from error
        self._meter.book(used.tokens_in, used.tokens_out, used.cost_usd)

    @tracing.tool_call
    async def call(self, name: str, /, **arguments: Any) -> Observation:
        """Call a tool.

        Raises:
            LimitExceeded: A budget is used up, or the trial is over.
            InfraError: The lab failed; the trial is over and will be repeated.
        """
        async with self._turn:
            answered = self._context.sink.closed
            if self.over.is_set() and not answered:
                raise _nothing_follows()
            self._admit(submitting=name == "submit")
            thought, self._thoughts = "\n".join(self._thoughts), []
            try:
                async with self._world:
                    # What is refused after the answer gives a repair no time to take effect.
                    if self._factor is None and name != "submit" and not answered:
                        await self._env.advance(self._think_s)
                    self._waiting = name == "wait"
                    seen = await self._toolbox.call(name, arguments, thought=thought)
            except LimitExceeded:
                raise
            except Exception as error:
                # The toolbox answers an agent's mistakes; what comes through is the lab's.
                raise self._failed(name, error) from error
            if self._context.sink.closed:
                self.over.set()
            return seen

    @tracing.tool_turn
    @asynccontextmanager
    async def turn(self, call: Call) -> AsyncIterator[Turn]:
        """Give a request of a wire API its turn: it costs and counts what a tool call does.

        Raises:
            LimitExceeded: A budget is used up, or the trial is over.
        """
        async with self._turn:
            if self.over.is_set():
                raise _nothing_follows()
            self._admit(submitting=False)
            try:
                async with self._world:
                    if self._factor is None:
                        await self._env.advance(self._think_s)
                        await self._spend(call.cost_s)
                    with self._toolbox.visit(call.tool, call.arguments, call.effect) as visit:
                        turn = Turn(id=visit.id)
                        yield turn
                        visit.ok, visit.text = turn.ok, turn.text
                        visit.before, visit.after = turn.before, turn.after
            except LimitExceeded:
                raise
            except Exception as error:
                raise self._failed(call.tool, error) from error

    async def drift(self, seconds: float) -> None:
        """Let time pass at the trial's expense for a stream that follows something.

        Under the host's clock the pacer does, and this only waits for it.

        Raises:
            LimitExceeded: A budget is used up.
        """
        await asyncio.sleep(PACE_S if self._factor is not None else DRIFT_S)
        if self._factor is not None or self.over.is_set():
            return
        async with self._turn, self._world:
            self._meter.check(self._env.now(), submitting=False)
            left = self._meter.virtual_left(self._env.now())
            await self._env.advance(seconds if left is None else min(seconds, left))

    def _admit(self, *, submitting: bool) -> None:
        """Refuse a call whose budget is used up; one that goes on regardless ends the trial."""
        if self.over.is_set():
            return
        try:
            self._meter.check(self._env.now(), submitting=submitting)
        except LimitExceeded:
            self._refused += 1
            if self._refused >= PATIENCE:
                self.over.set()
            raise
        self._meter.steps += not submitting

    def _failed(self, name: str, error: Exception) -> InfraError:
        cause = first_of(error)
        self.failure = InfraError("tools", f"{name}: {type(cause).__name__}: {cause}")
        self.over.set()
        return self.failure

    async def pace(self) -> None:
        """Let the world follow the host's clock, until cancelled; a no-op when stepped."""
        if self._factor is None:
            return
        begun = wallclock.seconds()
        while True:
            await asyncio.sleep(PACE_S)
            due = self._start + (wallclock.seconds() - begun) * self._factor
            if due > self._env.now():
                async with self._world:
                    await self._env.advance(due - self._env.now())

    def used(self) -> Usage:
        """Return what the trial consumed so far."""
        counts = self._toolbox.counts
        return Usage(
            steps=self._meter.steps,
            reads=counts.reads,
            writes=counts.writes,
            tool_errors=counts.tool_errors,
            repeated_calls=counts.repeated_calls,
            format_violations=counts.format_violations,
            tokens_in=self._meter.tokens_in,
            tokens_out=self._meter.tokens_out,
            cost_usd=self._meter.cost_usd,
            virtual_s=round(self._env.now() - self._start, 6),
        )

    async def _spend(self, seconds: float) -> None:
        """Let a call's cost pass, but no more than is left."""
        if self._factor is not None:
            # Calls take the time they take; only waiting has to be waited for.
            if self._waiting:
                self._world.release()
                try:
                    await asyncio.sleep(seconds / self._factor)
                finally:
                    await self._world.acquire()
            return
        left = self._meter.virtual_left(self._env.now())
        await self._env.advance(seconds if left is None else min(seconds, left))
        if left is not None and seconds > left:
            self._meter.exceed("virtual_time", "the trial's time ended during the call")


def _nothing_follows() -> LimitExceeded:
    return LimitExceeded("trial", "the trial is over; nothing follows")
