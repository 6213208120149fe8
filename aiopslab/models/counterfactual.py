"""What would have happened from the hand-over on, had the agent done nothing, or the right thing.

Both are the same world as the trial's, to the same instant. Not here: how they are played
(``orchestrator.counterfactual``), what follows for the agent (``grading.counterfactual``).
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model


class CoursePoint(Model):
    """One journey in one bucket of ten seconds, as its users saw it."""

    at: float
    """End of the bucket, seconds of the world's clock."""
    journey: str
    success: float | None
    """Share of requests; None where none was offered."""
    p95_ms: float | None


class Course(Model):
    """One way that the world could have gone."""

    until: float
    """Where it ends: where the trial's last settle window does."""
    slo_violation_s: float
    """Seconds from hand-over in which any SLO was broken, counted as in ``evidence.json``."""
    points: list[CoursePoint] = Field(default_factory=list)


class Counterfactual(Model):
    """Both courses beside a trial."""

    nothing: Course
    """Nobody acts."""
    reference: Course
    """The reference fix is applied at once, call by call, at the cost of its tools."""
