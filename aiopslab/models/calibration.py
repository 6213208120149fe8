"""How far stated confidence can be trusted: the figures of a group of answers, and its bins.

Each answer is a pair: the stated probability that it is right, and whether it was. Not here: how
they are computed (``grading.reliability``, ``grading.discrimination``, ``grading.abstention``).
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model


class Bin(Model):
    """Answers of nearly one confidence: a point of the reliability diagram."""

    low: float
    high: float
    """Bounds of the confidence; ``high`` belongs to the next bin, except in the last."""
    n: int
    confidence: float
    """Mean stated confidence."""
    right: float
    """Share that was right."""


class Floor(Model):
    """What a perfectly calibrated agent that states these confidences would show by chance."""

    mean: float
    p95: float
    """95th percentile: a larger figure is hard to explain by chance."""
    p_value: float
    """Share of such agents that show as much as was observed, or more; the observed one counts
    among them, so it is never 0."""


class BinnedError(Model):
    """An expected calibration error beside its noise floor."""

    value: float
    bins: int
    floor: Floor

    @property
    def beyond_chance(self) -> bool:
        """Whether it is larger than 95 % of perfectly calibrated agents would show."""
        return self.value > self.floor.p95


class Calibration(Model):
    """Figures of answers that stated a confidence; None is unknown, never 0."""

    n: int
    """Answers."""
    brier: float
    reliability: float
    """Murphy's decomposition over ``bins``: Brier is reliability - resolution + uncertainty, up to
    the spread of confidence within a bin."""
    resolution: float
    uncertainty: float
    skill: float | None = None
    """1 - Brier / uncertainty; None where all answers were right, or all wrong."""
    log_loss: float
    """Natural logarithm, confidence clipped to [0.001, 0.999]."""
    ece_width: BinnedError
    """Bins of equal width."""
    ece_mass: BinnedError
    """Bins of equally many answers."""
    debiased: float | None = None
    """Root of the mean squared error of the bins of ``ece_mass``, less what chance adds; None with
    a bin of one."""
    overconfidence: float
    """Mean confidence minus share right."""
    overconfidence_low: float | None = None
    overconfidence_high: float | None = None
    """Its 95 % interval, resampled by incident; None with a single one."""
    auroc: float | None = None
    """Chance that a right answer was stated with more confidence than a wrong one; None where there
    are no two to compare."""
    aurc: float
    """Mean share wrong over all coverages, most confident answers first."""
    aurc_excess: float
    """``aurc`` minus that of the best order of the same answers."""
    utility: dict[str, float] = Field(default_factory=dict)
    """Cost of a wrong answer, where handing over costs 1, to the mean gain per answer of acting on
    the stated confidence, against handing everything over."""
    bins: list[Bin] = Field(default_factory=list)
    """Of equal width, empty ones left out."""
    risk_coverage: list[tuple[float, float]] = Field(default_factory=list)
    """(coverage, share wrong), most confident answers first; at most a hundred points. Ties count
    in proportion."""
