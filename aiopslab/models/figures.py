"""Figures of a group of trials beside shares and scores: spreads, restricted times, conditionals.

Parts of ``models.run.TaskResults`` and ``Results``. Not here: formulas (``grading.figures``).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aiopslab.models.base import Model


class Spread(Model):
    """How a count or an amount is spread over the trials that know it."""

    n: int = Field(ge=1)
    median: float
    p95: float
    total: float


class RestrictedTime(Model):
    """A time to something that not every trial reaches: its mean up to a budget, and who does."""

    score: str
    """``time_to_detect_s`` or ``time_to_mitigate_s``."""
    budget_s: float
    """A trial that does not reach it, or later, counts as this."""
    mean_s: float
    """Mean of ``min(time, budget)``."""
    low_s: float | None = None
    high_s: float | None = None
    """95 % interval by bootstrap over incidents; None where it would have no width."""
    reached: Annotated[float, Field(ge=0.0, le=1.0)]
    """Share of the trials that reach it at all."""
    n: int = Field(ge=1)
    """Completed trials with a fault."""


class FixedGivenDiagnosis(Model):
    """How often a draw was repaired, by whether its cause was diagnosed, in a trial of its own."""

    right: int = 0
    """Draws with a fault whose diagnosis passed."""
    right_fixed: int = 0
    wrong: int = 0
    wrong_fixed: int = 0
    """Repaired all the same: luck, or a repair that needs no diagnosis."""
