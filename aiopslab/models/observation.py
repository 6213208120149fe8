"""What one tool call returned, with an id to cite; and the brief an agent starts from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from aiopslab.models.base import Model
from aiopslab.models.task import Task

Effect = Literal["read", "write", "submit"]


class ToolInfo(Model):
    """A tool as an agent sees it; ``parameters`` is a flat JSON schema of type object."""

    name: str
    description: str
    effect: Effect
    parameters: dict[str, Any]
    cost_s: float
    """Virtual seconds that a call takes under the stepped clock."""


class Observation(Model):
    """The result of one tool call."""

    id: str
    """``obs-N``, counted within the trial."""
    tool: str
    arguments: dict[str, Any]
    ok: bool
    text: str
    """What the agent reads: a table, JSON or log lines; an error says what to do next."""
    data: Any = None
    """The same, structured, for agents that compute; None where text is all there is."""
    truncated: bool = False
    total: int | None = None
    """Rows before truncation, where the tool counts rows."""
    cursor: str | None = None
    """Pass as ``cursor`` to get the next page."""
    time: str
    """RFC 3339, the world's clock when the call returned."""


class Budget(Model):
    """What is left to the agent; None means unlimited."""

    steps: int | None = None
    virtual_s: float | None = None
    wall_s: float | None = None
    tokens: int | None = None
    cost_usd: float | None = None


class Brief(Model):
    """All an agent is told at hand-over; nothing in it leads to the answer."""

    trial: str
    """Opaque trial id."""
    task: Task
    instructions: str
    """What to find out or to do, and how to answer."""
    app: str
    namespace: str
    app_summary: str
    now: str
    """RFC 3339, the world's clock at hand-over."""
    alert: str | None = None
    """The page that woke the on-call, where the task has one."""
    context: str | None = None
    """What is known about the app, where the run pushes its context instead of offering tools."""
    budget: Budget = Field(default_factory=Budget)
    answer_schema: dict[str, Any]
    """JSON schema of the arguments of ``submit``."""

    def text(self) -> str:
        """Return the brief in words, the same behind every door."""
        parts = [
            f"Application {self.app} (namespace {self.namespace}): {self.app_summary}",
            f"It is {self.now}.",
            f"Page: {self.alert}" if self.alert else "",
            f"Task ({self.task}): {self.instructions}",
            f"Context:\n{self.context}" if self.context else "",
        ]
        return "\n".join(filter(None, parts))
