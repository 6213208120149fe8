"""A fitted map from what was elicited about an answer to the probability that it is right.

``ConfidenceMapping`` is the JSON file that ``aiopslab calibrate fit`` writes and the agent ``pace``
reads. Every form is monotone: more of a feature never means less confidence. Evaluation is here and
needs no library; fitting and the choice among forms are in ``grading.mapping``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from aiopslab.models.answer import Probability
from aiopslab.models.base import Model
from aiopslab.models.confidence import Ablation, Feature, JudgeKind
from aiopslab.models.run import Estimate
from aiopslab.models.task import Task

CLIP = 0.01
"""A feature counts as no surer than this on the scale of logits."""
PRODUCT = "coe*rce"
FormName = Literal["grid", "logistic", "isotonic"]


def logit(p: float) -> float:
    """Return ``ln(p / (1 - p))`` of a probability clipped to [0.01, 0.99]."""
    clipped = min(1.0 - CLIP, max(CLIP, p))
    return math.log(clipped / (1.0 - clipped))


def terms(seen: Mapping[Feature, float]) -> dict[str, float]:
    """Return the terms of the logistic form: logits of the features and of COE times RCE."""
    found: dict[str, float] = {name: logit(value) for name, value in seen.items()}
    if "coe" in seen and "rce" in seen:
        found[PRODUCT] = logit(seen["coe"] * seen["rce"])
    return found


class Grid(Model):
    """Cells of one or two features, each with the smoothed share that was right."""

    kind: Literal["grid"] = "grid"
    axes: list[Feature] = Field(min_length=1, max_length=2)
    edges: list[list[float]]
    """For each axis the inner bounds of its bins, ascending; a bound belongs to the bin above."""
    cells: list[list[Probability]]
    """Rows follow the first axis, columns the second (a single column without one)."""

    @model_validator(mode="after")
    def _fits_together(self) -> Grid:
        rows, columns = [len(e) + 1 for e in [*self.edges, []]][:2]
        if len(self.edges) != len(self.axes) or len(self.cells) != rows:
            raise ValueError("a grid has bounds for each axis and a row for each bin")
        if any(len(row) != columns for row in self.cells):
            raise ValueError(f"a row of this grid has {columns} cells")
        lines = [*self.edges, *self.cells, *zip(*self.cells, strict=True)]
        if any(list(line) != sorted(line) for line in lines):
            raise ValueError("bounds and cells of a grid never fall")
        return self

    def confidence(self, seen: Mapping[Feature, float]) -> float:
        """Return the value of the cell."""
        at = [bisect_right(e, seen[axis]) for axis, e in zip(self.axes, self.edges, strict=True)]
        return self.cells[at[0]][at[1] if len(at) > 1 else 0]


class Logistic(Model):
    """A logistic function of logits, no weight of which is negative."""

    kind: Literal["logistic"] = "logistic"
    intercept: float
    weights: dict[str, Annotated[float, Field(ge=0.0)]]
    """By term, ``coe``, ``rce``, ``coe*rce``, ``stated`` or ``agreement``."""

    def score(self, seen: Mapping[Feature, float]) -> float:
        """Return the logit of the confidence."""
        known = terms(seen)
        return self.intercept + math.fsum(w * known[name] for name, w in self.weights.items())

    def confidence(self, seen: Mapping[Feature, float]) -> float:
        """Return the value of the function."""
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, self.score(seen)))))


class Isotonic(Model):
    """A rising line through knots on the score of a logistic form; flat beyond the outer ones."""

    kind: Literal["isotonic"] = "isotonic"
    of: Logistic
    knots: list[float] = Field(min_length=1)
    """Scores, ascending."""
    values: list[Probability]
    """Confidence at each knot, never falling."""

    @model_validator(mode="after")
    def _rises(self) -> Isotonic:
        if len(self.knots) != len(self.values):
            raise ValueError("a line has a value at each knot")
        if self.knots != sorted(set(self.knots)) or self.values != sorted(self.values):
            raise ValueError("knots rise, and their values never fall")
        return self

    def confidence(self, seen: Mapping[Feature, float]) -> float:
        """Return the value on the line."""
        x = self.of.score(seen)
        i = bisect_right(self.knots, x)
        if i in (0, len(self.knots)):
            return self.values[min(i, len(self.knots) - 1)]
        left, right = self.knots[i - 1], self.knots[i]
        share = (x - left) / (right - left)
        # Rounding must not take the line beyond its knots.
        return min(
            self.values[i],
            self.values[i - 1] + share * (self.values[i] - self.values[i - 1]),
        )


Form = Annotated[Grid | Logistic | Isotonic, Field(discriminator="kind")]


class FormScore(Model):
    """What a form, or a way of doing without one, scored on answers it was not fitted on."""

    name: str
    brier: float
    log_loss: float
    candidate: bool = True
    """False: shown for comparison only."""


class Row(Model):
    """One kind of confidence on answers that the mapping was not fitted on."""

    name: str
    brier: float
    log_loss: float
    overconfidence: float
    auroc: float | None = None
    ece: float
    ece_floor_p95: float
    """What 95 % of perfectly calibrated agents stay below."""


class HeldOut(Model):
    """A test on answers of incidents that the mapping was not fitted on."""

    n: int
    n_right: int
    n_incidents: int
    n_left_out: int = 0
    """Answers of incidents that the mapping was fitted on; they prove nothing."""
    rows: list[Row]
    difference: Estimate
    """Brier of the mapped minus Brier of the stated confidence, paired by trial; the interval
    resamples incidents."""


class FittedOn(Model):
    """Where the labels came from."""

    runs: list[str]
    """Names of the run directories."""
    labels: list[str]
    """Suites or targets of the runs."""
    inner: list[str]
    """Agents whose answers were labelled."""
    models: list[str] = Field(default_factory=list)
    environments: list[str]
    seeds: list[int]
    """Seeds of the trials."""
    scoring_versions: list[str]
    incidents: list[str]
    held_out: list[str] = Field(default_factory=list)
    """Incidents of the runs that were kept for a test."""


class ConfidenceMapping(Model):
    """The file."""

    schema_: Literal["aiopslab/confidence-mapping@1"] = Field(
        default="aiopslab/confidence-mapping@1", alias="schema"
    )
    ablation: Ablation
    judge: JudgeKind | None = None
    prompts: str = ""
    tasks: list[Task]
    """Tasks whose answers were labelled; it says nothing of others."""
    features: list[Feature]
    form: Form
    n: int
    """Labels."""
    n_right: int
    folds: int
    seed: int
    """Draws the folds and the split."""
    scores: list[FormScore]
    """Cross-validated; the candidate with the lowest Brier score was chosen."""
    fitted_on: FittedOn
    held_out: HeldOut | None = None

    def confidence(self, seen: Mapping[Feature, float]) -> float:
        """Return the probability that an answer with these features is right."""
        return min(1.0, max(0.0, self.form.confidence(seen)))
