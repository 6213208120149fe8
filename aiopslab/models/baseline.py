"""What agents that understand nothing score: one row an incident, agent and seed, and the table."""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model
from aiopslab.models.task import Task


class Baseline(Model):
    """One agent on all tasks of one incident with one seed; a line of ``docs/baselines.jsonl``."""

    incident: str
    agent: str
    seed: int
    environment: str = "sim"
    """``sim``, or what the cluster was called: ``kind``, ``kubeconfig``."""
    digest: str
    """Of the incident's file when this was measured."""
    scoring_version: str
    passed: dict[Task, bool | None]
    """None: the lab failed."""
    quiet: list[Task] = Field(default_factory=list)
    """Tasks in which nothing was wrong: the twin, or an incident without a fault."""

    @property
    def complete(self) -> bool:
        """Whether the lab brought every trial to its end."""
        return None not in self.passed.values()


class Score(Model):
    """What one agent scored on one task, with and without a fault; trials the lab lost are out."""

    passed: int
    n: int
    """Trials with a fault."""
    quiet_passed: int
    quiet_n: int
    """Trials in which nothing was wrong."""

    @property
    def share(self) -> float | None:
        """Share passed of the trials with a fault; None where there are none."""
        return self.passed / self.n if self.n else None

    @property
    def quiet_share(self) -> float | None:
        """Share passed of the trials in which nothing was wrong; None where there are none."""
        return self.quiet_passed / self.quiet_n if self.quiet_n else None

    @property
    def balanced(self) -> float | None:
        """Mean of both shares; None where one side is missing."""
        if self.share is None or self.quiet_share is None:
            return None
        return (self.share + self.quiet_share) / 2
