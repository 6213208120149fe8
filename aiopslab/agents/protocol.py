"""What an agent is, and all it is given: the contract between the benchmark and agents.

An agent is any object with ``async def run(self, trial)``. It sees the brief, the tools and what
they answer; nothing here leads to the incident, its seed or the truth. Neighbours: ``loading``
finds agents, ``upstream`` adapts objects with ``get_action``. Not here: budgets and the clock,
which the orchestrator keeps behind ``TrialHandle``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

from aiopslab.models.doors import Doors
from aiopslab.models.observation import Brief, Budget, Observation, ToolInfo


class TrialHandle(Protocol):
    """One trial, as its agent sees it."""

    @property
    def brief(self) -> Brief:
        """What the agent is told at hand-over."""
        ...

    @property
    def tools(self) -> Sequence[ToolInfo]:
        """The tools of this task, with JSON schemas."""
        ...

    @property
    def budget(self) -> Budget:
        """What is left of every budget."""
        ...

    @property
    def doors(self) -> Doors | None:
        """Where the trial is reached from outside; None unless it is served.

        An agent object with ``needs_doors = True`` has its trials served.
        """
        ...

    @property
    def ended(self) -> bool:
        """Whether the answer is in, or nothing is accepted any longer."""
        ...

    def doors_at(self, host: str) -> AbstractAsyncContextManager[Doors]:
        """Open a served trial's doors at another address of this machine too, for a sandbox.

        Raises:
            InfraError: The address cannot be bound.
        """
        ...

    def keep(self, name: str, content: bytes) -> None:
        """Put a file with the trial's record, for people: what a program printed."""
        ...

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        """Call a tool. Mistakes come back as observations with ``ok=False``.

        Raises:
            LimitExceeded: A budget is used up; let it pass.
        """
        ...

    def note(self, thought: str) -> None:
        """Leave a thought; it is recorded with the next call."""
        ...

    def usage(self, tokens_in: int = 0, tokens_out: int = 0, cost_usd: float | None = None) -> None:
        """Book what a model call consumed."""
        ...


@runtime_checkable
class Agent(Protocol):
    """Works on one trial until it has submitted. A fresh object is made for every trial."""

    async def run(self, trial: TrialHandle) -> None:
        """Investigate, act where the task asks for it, and call ``submit``."""
        ...


@runtime_checkable
class ActionAgent(Protocol):
    """The style of AIOpsLab: text in, text with one fenced call out."""

    async def get_action(self, observation: str) -> str:
        """Return the next action for what was observed."""
        ...
