"""What trivial agents score: one row a trial, and the tables made of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model
from aiopslab.models.task import Task


class BaselineTrial(Model):
    """One agent on one task of one incident, with one seed."""

    incident: str
    agent: str
    task: Task
    seed: int
    quiet: bool
    """Nothing was wrong: the twin, or an incident without a fault."""
    passed: bool | None
    """None: the lab failed."""


class Baselines(Model):
    """All trials of a measurement; ``docs/baselines.json`` is one."""

    schema_: Literal["aiopslab/baselines@1"] = Field(default="aiopslab/baselines@1", alias="schema")
    scoring_version: str
    catalogue: str
    """Digest of the incident files that were measured."""
    trials: list[BaselineTrial]


class Score(Model):
    """What one agent scored on one task."""

    passed: int
    n: int
    """Trials that the lab brought to their end."""
    balanced: float | None = None
    """Detection: mean of the shares right with and without a fault; None where one is missing."""
