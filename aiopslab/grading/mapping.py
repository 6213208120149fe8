"""Fitting a map from elicited features to confidence, choosing its form, testing it.

Three forms, all monotone: a grid of bins with Laplace smoothing, a logistic function with weights
of at least 0, and from 200 labels on an isotonic line on the logistic score. The form with the
lowest cross-validated Brier score is taken, never the one with the lowest calibration error, which
a constant brings to 0. Folds and tests are by incident: trials of one incident are not independent.
Not here: the mathematics (``monotone``), where labels come from (``orchestrator.calibrate``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from aiopslab.grading import reliability
from aiopslab.grading.calibration_figures import Stated, calibration
from aiopslab.grading.estimates import mean_by_incident
from aiopslab.grading.monotone import isotonic_grid, isotonic_line, nonnegative_logistic
from aiopslab.grading.ordering import Array
from aiopslab.models.confidence import Feature, uncalibrated
from aiopslab.models.mapping import (
    Form,
    FormName,
    FormScore,
    Grid,
    HeldOut,
    Isotonic,
    Logistic,
    Row,
    terms,
)
from aiopslab.models.run import Estimate
from aiopslab.seeds import derive

FEWEST = 50
"""With fewer labels there is no mapping: what it learns would be chance."""
ISOTONIC_FROM = 200
"""Labels that an isotonic line takes; with fewer it follows chance."""
_BINS = 3
_MORE_BINS = 4
_BOOTSTRAP_SEED = derive(0, "grading", "mapping", "bootstrap")

STATED = "as stated"
PRODUCT = "uncalibrated"
BASE_RATE = "base rate"


@dataclass(frozen=True, slots=True)
class Labelled:
    """One answer: what was elicited about it, what it stated, whether it was right."""

    seen: Mapping[Feature, float]
    stated: float
    right: bool
    incident: str


@dataclass(frozen=True, slots=True)
class Fitted:
    """The chosen form and what every form scored."""

    form: Form
    scores: list[FormScore]


Predict = Callable[[Labelled], float]


def fit(
    answers: Sequence[Labelled], features: Sequence[Feature], *, folds: int, seed: int
) -> Fitted:
    """Fit every form, take the one that predicts best what it was not fitted on.

    Args:
        answers: At least ``FEWEST``, each with all features.
        features: What the map may look at.
        folds: Parts of the cross-validation, at least 2; no more are made than incidents are there.
        seed: Draws the folds.

    Raises:
        ValueError: Too few answers, or all of one incident.
    """
    if len(answers) < FEWEST:
        raise ValueError(f"{len(answers)} labels; a mapping takes {FEWEST}")
    parts = by_incident(answers, folds, seed)
    if len(parts) < 2:
        raise ValueError("all labels are of one incident")
    names: list[FormName] = ["grid", "logistic"]
    if len(answers) >= ISOTONIC_FROM:
        names.append("isotonic")
    scores = [_cross_validated(name, parts, features) for name in names]
    chosen, _ = min(zip(names, scores, strict=True), key=lambda pair: pair[1].brier)
    return Fitted(_fit_form(chosen, answers, features), [*scores, *_references(parts)])


def by_incident(answers: Sequence[Labelled], folds: int, seed: int) -> list[list[Labelled]]:
    """Deal the incidents out to folds by chance; all answers of one are in one fold."""
    names = sorted({a.incident for a in answers})
    random.Random(derive(seed, "grading", "mapping", "folds")).shuffle(names)
    fold = {name: i % folds for i, name in enumerate(names)}
    parts: list[list[Labelled]] = [[] for _ in range(min(folds, len(names)))]
    for answer in answers:
        parts[fold[answer.incident]].append(answer)
    return parts


def split(incidents: Sequence[str], share: Fraction, seed: int) -> tuple[list[str], list[str]]:
    """Draw which incidents a map is fitted on and which it is tested on.

    Args:
        incidents: Names, each once.
        share: Of the incidents to fit on, between 0 and 1; rounded up to a whole number.
        seed: Draws them.
    """
    names = sorted(incidents)
    random.Random(derive(seed, "grading", "mapping", "split")).shuffle(names)
    taken = -(-len(names) * share.numerator // share.denominator)
    return sorted(names[:taken]), sorted(names[taken:])


def held_out(answers: Sequence[Labelled], form: Form, base_rate: float, left_out: int) -> HeldOut:
    """Test a form against doing without, on n > 0 answers that it was not fitted on.

    Args:
        answers: Of other incidents than those of the fit.
        form: The map.
        base_rate: Share right among the answers of the fit.
        left_out: Answers that could not be used since the map was fitted on their incidents.
    """
    ways: dict[str, Predict] = {
        STATED: lambda a: a.stated,
        PRODUCT: lambda a: uncalibrated(a.seen),
        BASE_RATE: lambda a: base_rate,
        "mapped": lambda a: form.confidence(a.seen),
    }
    return HeldOut(
        n=len(answers),
        n_right=sum(a.right for a in answers),
        n_incidents=len({a.incident for a in answers}),
        n_left_out=left_out,
        rows=[_row(name, answers, predict) for name, predict in ways.items()],
        difference=_difference(answers, ways[STATED], ways["mapped"]),
    )


# -- forms ----------------------------------------------------------------------------------------


def _fit_form(name: FormName, answers: Sequence[Labelled], features: Sequence[Feature]) -> Form:
    match name:
        case "grid":
            return fit_grid(answers, features)
        case "logistic":
            return fit_logistic(answers, features)
        case "isotonic":
            return fit_isotonic(answers, features)


def fit_grid(answers: Sequence[Labelled], features: Sequence[Feature]) -> Grid:
    """Fit bins of nearly equally many answers on the first two features, or on the only one."""
    axes = list(features[:2])
    bins = _BINS if len(answers) < ISOTONIC_FROM else _MORE_BINS
    edges = [_edges(np.array([a.seen[axis] for a in answers]), bins) for axis in axes]
    shape = [len(e) + 1 for e in edges]
    if len(axes) == 1:
        shape.append(1)
    n, right = np.zeros(shape), np.zeros(shape)
    for a in answers:
        at = [
            int(np.searchsorted(e, a.seen[x], side="right"))
            for x, e in zip(axes, edges, strict=True)
        ]
        cell = (at[0], at[1] if len(at) > 1 else 0)
        n[cell] += 1.0
        right[cell] += a.right
    # Laplace: two more answers in each cell, one right and one wrong.
    smoothed = isotonic_grid((right + 1.0) / (n + 2.0), n + 2.0)
    return Grid(axes=axes, edges=[e.tolist() for e in edges], cells=smoothed.tolist())


def fit_logistic(answers: Sequence[Labelled], features: Sequence[Feature]) -> Logistic:
    """Fit on logits, to Platt's targets: they keep a sample without mistakes from certainty."""
    rows = [terms({name: a.seen[name] for name in features}) for a in answers]
    names = list(rows[0])
    design = np.array([[row[name] for name in names] for row in rows])
    n_right = sum(a.right for a in answers)
    yes, no = (n_right + 1.0) / (n_right + 2.0), 1.0 / (len(answers) - n_right + 2.0)
    targets = np.array([yes if a.right else no for a in answers])
    intercept, weights = nonnegative_logistic(design, targets)
    found = dict(zip(names, weights.tolist(), strict=True))
    return Logistic(intercept=intercept, weights=found)


def fit_isotonic(answers: Sequence[Labelled], features: Sequence[Feature]) -> Isotonic:
    """Fit a rising line on the logistic score; never surer than Laplace's rule for all answers."""
    of = fit_logistic(answers, features)
    score = np.array([of.score(a.seen) for a in answers])
    knots, values = isotonic_line(score, np.array([float(a.right) for a in answers]))
    least = 1.0 / (len(answers) + 2.0)
    return Isotonic(
        of=of, knots=knots.tolist(), values=np.clip(values, least, 1.0 - least).tolist()
    )


def _edges(values: Array, bins: int) -> Array:
    """Return inner bounds of bins of nearly equally many values; fewer where values repeat."""
    inner = np.quantile(values, np.arange(1, bins) / bins)
    return np.unique(inner[inner > values.min()])


# -- scores ---------------------------------------------------------------------------------------


def _cross_validated(
    name: FormName, parts: Sequence[Sequence[Labelled]], features: Sequence[Feature]
) -> FormScore:
    told: list[tuple[float, bool]] = []
    for i, part in enumerate(parts):
        others = [a for j, other in enumerate(parts) if j != i for a in other]
        form = _fit_form(name, others, features)
        told += [(form.confidence(a.seen), a.right) for a in part]
    return _score(name, told, candidate=True)


def _references(parts: Sequence[Sequence[Labelled]]) -> list[FormScore]:
    """Score what needs no map, and the base rate of the other folds."""
    every = [a for part in parts for a in part]
    rates: list[tuple[float, bool]] = []
    for i, part in enumerate(parts):
        others = [a.right for j, other in enumerate(parts) if j != i for a in other]
        rate = (sum(others) + 1.0) / (len(others) + 2.0)
        rates += [(rate, a.right) for a in part]
    return [
        _score(BASE_RATE, rates),
        _score(PRODUCT, [(uncalibrated(a.seen), a.right) for a in every]),
        _score(STATED, [(a.stated, a.right) for a in every]),
    ]


def _score(name: str, told: Sequence[tuple[float, bool]], *, candidate: bool = False) -> FormScore:
    confidence, right = np.array([c for c, _ in told]), np.array([y for _, y in told])
    return FormScore(
        name=name,
        brier=reliability.brier_score(confidence, right),
        log_loss=reliability.log_loss(confidence, right),
        candidate=candidate,
    )


def _row(name: str, answers: Sequence[Labelled], predict: Predict) -> Row:
    found = calibration([Stated(predict(a), a.right, a.incident) for a in answers])
    assert found is not None, "there are answers"
    return Row(
        name=name, brier=found.brier, log_loss=found.log_loss, auroc=found.auroc,
        overconfidence=found.overconfidence, ece=found.ece_mass.value,
        ece_floor_p95=found.ece_mass.floor.p95,
    )  # fmt: skip


def _difference(answers: Sequence[Labelled], before: Predict, after: Predict) -> Estimate:
    """Estimate the mean difference of squared errors, pair by pair, resampling incidents."""
    gains = [(a.incident, (after(a) - a.right) ** 2 - (before(a) - a.right) ** 2) for a in answers]
    return mean_by_incident(gains, seed=_BOOTSTRAP_SEED)
