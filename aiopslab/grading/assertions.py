"""Small builders of checks that all graders use. Not here: what any task asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiopslab.models.answer import Answer
from aiopslab.models.grade import Check, Grade
from aiopslab.models.task import Task

SCORING_VERSION = "3"
"""Raised by every change that can move a score; scores of two versions are not comparable.

A score that is new moves none that was there, and leaves it.
"""


def check(id: str, passed: bool, reason: str, evidence: str, *, gating: bool = True) -> Check:
    """Build a check."""
    return Check(id=id, passed=passed, gating=gating, reason=reason, evidence=evidence)


def answered(answer: Answer | None) -> list[Check]:
    """Build the checks that an answer is there and takes a position."""
    if answer is None:
        return [check("answered", False, "no answer was submitted", "answer.json")]
    checks = [check("answered", True, "an answer was submitted", "answer.json")]
    if answer.escalate:
        reason = "escalated: the agent left the decision to somebody else"
        checks.append(check("not_escalated", False, reason, "answer.json#escalate"))
    return checks


def verdict(
    task: Task,
    checks: Sequence[Check],
    scores: dict[str, float | None],
    confidence: float | None,
    floors: Mapping[str, float | None],
) -> Grade:
    """Build the grade: passed is the conjunction of the gating checks."""
    return Grade(
        scoring_version=SCORING_VERSION,
        task=task,
        passed=all(c.passed for c in checks if c.gating),
        checks=list(checks),
        scores=scores,
        floors=dict(floors),
        confidence=confidence,
    )
