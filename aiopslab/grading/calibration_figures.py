"""All figures of a group of stated confidences, composed from the modules of each.

Not here: formulas (``reliability``, ``noise_floor``, ``discrimination``, ``abstention``), nor which
trials form a group (``aggregate``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopslab.grading import abstention, discrimination, reliability
from aiopslab.grading.estimates import alike, mean_by_incident
from aiopslab.grading.noise_floor import noise_floor
from aiopslab.grading.ordering import Array
from aiopslab.grading.reliability import Bins
from aiopslab.grading.statistics import wilson
from aiopslab.models.calibration import Bin, BinnedError, Calibration
from aiopslab.seeds import derive

CURVE_POINTS = 100
_BOOTSTRAP_SEED = derive(0, "grading", "overconfidence")


@dataclass(frozen=True, slots=True, order=True)
class Stated:
    """One answer: with which confidence it was stated, whether it was right, and of what."""

    confidence: float
    right: bool
    incident: str
    """Answers of one incident are not independent; they are resampled together."""


def calibration(answers: Sequence[Stated]) -> Calibration | None:
    """Compute every figure; the order of the answers does not matter. None without answers.

    Raises:
        ValueError: A confidence is not in [0, 1].
    """
    if not answers:
        return None
    ordered = sorted(answers)
    confidence, right = _columns(ordered)
    brier = reliability.brier_score(confidence, right)
    bins = reliability.bin_count(len(ordered))
    width = reliability.equal_width(confidence, bins)
    mass = reliability.equal_mass(confidence, bins)
    parts = reliability.murphy(width, right)
    risk = discrimination.risks(confidence, right)
    low, high = _overconfidence_interval(ordered)
    return Calibration(
        n=len(ordered),
        brier=brier,
        reliability=parts.reliability,
        resolution=parts.resolution,
        uncertainty=parts.uncertainty,
        skill=1.0 - brier / parts.uncertainty if parts.uncertainty else None,
        log_loss=reliability.log_loss(confidence, right),
        ece_width=_binned_error(width, right),
        ece_mass=_binned_error(mass, right),
        debiased=reliability.debiased_error(mass, right),
        overconfidence=float(np.mean(confidence - right)),
        overconfidence_low=low,
        overconfidence_high=high,
        auroc=discrimination.auroc(confidence, right),
        aurc=discrimination.aurc(risk),
        # Rounding must not take the best order below itself.
        aurc_excess=max(0.0, discrimination.aurc(risk) - discrimination.least_aurc(right)),
        utility={str(c): abstention.gain(confidence, right, c) for c in abstention.COSTS},
        bins=_diagram(width, right),
        risk_coverage=discrimination.curve(risk, points=CURVE_POINTS),
    )


def _columns(answers: Sequence[Stated]) -> tuple[Array, NDArray[np.bool_]]:
    for a in answers:
        if not 0.0 <= a.confidence <= 1.0:
            raise ValueError(f"{a.confidence!r} ({a.incident}) is no confidence, from 0 to 1")
    return np.array([a.confidence for a in answers]), np.array([a.right for a in answers])


def _binned_error(bins: Bins, right: NDArray[np.bool_]) -> BinnedError:
    def error(outcomes: NDArray[np.bool_]) -> Array:
        return reliability.calibration_error(bins, outcomes)

    value = float(error(right))
    floor = noise_floor(bins.confidence, value, error)
    return BinnedError(value=value, bins=len(bins.sizes), floor=floor)


def _overconfidence_interval(answers: Sequence[Stated]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of mean confidence minus share right.

    By bootstrap over incidents. Where the same share is right of every incident, a bootstrap would
    see chance in the confidence alone; then that share has Wilson's interval over the incidents.
    """
    incidents = {a.incident for a in answers}
    share = sum(a.right for a in answers) / len(answers)
    if not alike((a.incident, float(a.right)) for a in answers):
        gaps = [(a.incident, a.confidence - a.right) for a in answers]
        found = mean_by_incident(gaps, seed=_BOOTSTRAP_SEED)
        return found.low, found.high
    bounds = wilson(share * len(incidents), len(incidents))
    stated = sum(a.confidence for a in answers) / len(answers)
    return (stated - bounds[1], stated - bounds[0]) if bounds else (None, None)


def _diagram(bins: Bins, right: NDArray[np.bool_]) -> list[Bin]:
    """Return the points of the reliability diagram, for bins of equal width."""
    count = len(bins.sizes)
    rows = zip(bins.sizes.tolist(), bins.stated.tolist(), bins.right(right).tolist(), strict=True)
    return [
        Bin(low=i / count, high=(i + 1) / count, n=n, confidence=stated / n, right=true / n)
        for i, (n, stated, true) in enumerate(rows)
        if n
    ]
