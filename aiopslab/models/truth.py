"""What really happened in a trial: kept by the orchestrator, never in an agent's reach."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aiopslab.models.base import Model
from aiopslab.models.cause import FaultType, SystemLevel
from aiopslab.models.search_space import SearchSpace


class RootCause(Model):
    """The labels of one injected fault."""

    component: str
    cause: str
    """Cause kind id."""
    system_level: SystemLevel
    fault_type: FaultType
    accepted: list[tuple[str, str]] = Field(default_factory=list)
    """Further (component, cause) pairs that are equally right; cause ``*`` accepts any."""
    aliases: list[str] = Field(default_factory=list)
    """Other names of the component: its pods' prefix, deployment, database, ..."""


class FixStep(Model):
    """One tool call of a reference fix, written with the tools the agent has."""

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Truth(Model):
    """The answer key of one trial."""

    incident: str
    twin: bool
    """True when the fault was left out: the right answer is that nothing is wrong."""
    seed: int
    draws: dict[str, Any]
    root_causes: list[RootCause]
    """Empty in a twin and in no-fault incidents."""
    fix: list[FixStep]
    injected_at: float | None
    """Unix seconds of the world; None without a fault."""
    symptom_at: float | None
    handover_at: float
    symptom: str = ""
    """Which clause of the gate was seen."""
    space: SearchSpace | None = None
    """What could have been named; None in records from before it was kept."""
