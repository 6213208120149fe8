"""The scored result of one trial: checks with reasons and pointers, scores, one verdict."""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model
from aiopslab.models.task import Task


class Check(Model):
    """One graded assertion."""

    id: str
    passed: bool
    gating: bool
    """False for assertions that are reported but do not decide."""
    reason: str
    evidence: str
    """Pointer into the record: ``evidence.json#settle[0][1]``, ``answer.json#anomaly``."""


class Grade(Model):
    """What a trial is worth. ``passed`` is the conjunction of the gating checks."""

    scoring_version: str
    task: Task
    passed: bool
    checks: list[Check]
    scores: dict[str, float | None] = Field(default_factory=dict)
    """Named figures: ``ac_at_1``, ``brier``, ``time_to_mitigate_s``; None is unknown, never 0."""
    floors: dict[str, float | None] = Field(default_factory=dict)
    """What the scores of the same name are by chance, and ``passed``; None is unknown."""
    confidence: float | None = None
    """The stated probability that the verdict is ``passed``; None if none was stated."""
