"""What grading again changed in one trial, check by check and score by score.

Not here: the grade itself (``models.grade``), how changes are found (``grading.changes``).
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model
from aiopslab.models.trial import Outcome


class CheckChange(Model):
    """A check that passes, fails or gates otherwise than before; None: there was, or is, none."""

    id: str
    before: bool | None
    """Whether it passed."""
    after: bool | None
    gated: bool | None
    """Whether it decided about the verdict before."""
    gates: bool | None
    """Whether it does now."""
    reason: str
    """In the words of the new grade; of the old one where the check is gone."""


class ScoreChange(Model):
    """A score that has another value than before; None is unknown."""

    score: str
    before: float | None
    after: float | None


class GradeChange(Model):
    """What changed in one trial, and why."""

    trial: str
    before: Outcome
    after: Outcome
    had_grade: bool
    """False where the record held none: then there is nothing to hold the new one against."""
    checks: list[CheckChange] = Field(default_factory=list)
    scores: list[ScoreChange] = Field(default_factory=list)
