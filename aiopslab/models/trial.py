"""One agent on one problem once: its identity, outcome, phases, steps and usage."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from aiopslab.models.base import Model
from aiopslab.models.context_profile import Delivery, Profile
from aiopslab.models.observation import Effect
from aiopslab.models.task import Task

Outcome = Literal["passed", "failed", "infra_error", "agent_error", "limit"]


class Usage(Model):
    """What the trial consumed; None where nobody counted."""

    steps: int = 0
    reads: int = 0
    writes: int = 0
    tool_errors: int = 0
    repeated_calls: int = 0
    format_violations: int = 0
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    virtual_s: float = 0.0
    """From hand-over to the end of the agent's part, on the world's clock."""


class Step(Model):
    """One line of ``steps.jsonl``: a tool call and its observation."""

    n: int
    id: str
    tool: str
    effect: Effect
    arguments: dict[str, Any]
    thought: str = ""
    ok: bool
    text: str
    start: float
    """Unix seconds of the world."""
    end: float
    before: Any = None
    """For writes: the object before."""
    after: Any = None


class Trial(Model):
    """``trial.json``. Wall-clock figures live under ``wall`` only, so records can be compared."""

    schema_: Literal["aiopslab/trial@1"] = Field(default="aiopslab/trial@1", alias="schema")
    id: str
    """Opaque; what the agent was told."""
    problem: str
    incident: str
    task: Task
    agent: str
    model: str | None
    attempt: int
    seed: int
    environment: str
    clock: str
    context_profile: Profile = "P4"
    context_delivery: Delivery = "pull"
    context_tokens: int | None = None
    """Estimate of the block that was pushed; None where none was."""
    outcome: Outcome
    termination: str
    """``submitted``, ``limit:steps``, ``stopped without submitting``, ``error: ...``."""
    twin: bool | None
    """Whether the fault was left out; None where the lab failed before that was drawn."""
    phases: dict[str, float] = Field(default_factory=dict)
    """Virtual seconds of each lifecycle stage."""
    usage: Usage = Field(default_factory=Usage)
    wall: dict[str, float | str] = Field(default_factory=dict)
    """Wall-clock seconds a phase; excluded from comparisons of records."""
    error: str | None = None
