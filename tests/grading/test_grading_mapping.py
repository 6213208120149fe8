"""Mappings of features to confidence: monotone, chosen fairly, tested on other incidents."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from aiopslab.grading.mapping import (
    FEWEST,
    ISOTONIC_FROM,
    Labelled,
    by_incident,
    fit,
    fit_grid,
    fit_isotonic,
    fit_logistic,
    held_out,
    split,
)
from aiopslab.models.confidence import Feature, uncalibrated
from aiopslab.models.mapping import Form, Grid, Isotonic, Logistic, terms

FULL: tuple[Feature, ...] = ("coe", "rce", "stated")
FITS = {"grid": fit_grid, "logistic": fit_logistic, "isotonic": fit_isotonic}
probability = st.floats(0, 1)


def answers(n: int, *, seed: int = 0, stated: float = 0.97, incidents: int = 20) -> list[Labelled]:
    """Answers of an overconfident agent that are right about as often as COE and RCE say."""
    chance = np.random.default_rng(seed)
    found = []
    for i in range(n):
        coe, rce = chance.random(2)
        right = bool(chance.random() < 0.15 + 0.7 * coe * rce)
        seen: dict[Feature, float] = {"coe": coe, "rce": rce, "stated": stated}
        found.append(Labelled(seen, stated, right, f"i{i % incidents}"))
    return found


@pytest.fixture(scope="module")
def forms() -> dict[str, Any]:
    told = answers(220, seed=1)
    return {name: make(told, FULL) for name, make in FITS.items()}


@pytest.mark.parametrize("name", FITS)
@given(st.tuples(probability, probability, probability), st.integers(0, 2), probability)
@settings(max_examples=80)
def test_more_of_a_feature_is_never_less_confidence(
    forms: dict[str, Any], name: str, at: tuple[float, float, float], axis: int, more: float
) -> None:
    seen = dict(zip(FULL, at, strict=True))
    higher = seen | {FULL[axis]: max(at[axis], more)}
    low, high = forms[name].confidence(seen), forms[name].confidence(higher)
    assert 0.0 <= low <= high <= 1.0


@pytest.mark.parametrize("name", FITS)
@given(st.lists(st.tuples(probability, probability, st.booleans()), min_size=2, max_size=40))
@settings(max_examples=25)
def test_any_labels_give_a_monotone_map(name: str, told: list[tuple[float, float, bool]]) -> None:
    labels = [
        Labelled({"coe": c, "rce": r, "stated": 0.5}, 0.5, right, str(i))
        for i, (c, r, right) in enumerate(told)
    ]
    form = FITS[name](labels, FULL)
    line = [
        form.confidence({"coe": x, "rce": x, "stated": x}) for x in np.linspace(0, 1, 21).tolist()
    ]
    assert line == sorted(line)
    assert line[0] > 0.0
    assert line[-1] < 1.0


@pytest.mark.parametrize("name", FITS)
def test_a_form_comes_back_from_its_file(forms: dict[str, Any], name: str) -> None:
    adapter: TypeAdapter[Form] = TypeAdapter(Form)
    again = adapter.validate_json(forms[name].model_dump_json())
    seen: dict[Feature, float] = {"coe": 0.61, "rce": 0.34, "stated": 0.97}
    assert again.confidence(seen) == forms[name].confidence(seen)
    assert again.kind == name


def test_cells_of_a_grid_are_laplaces_rule() -> None:
    told = [Labelled({"stated": 0.2}, 0.2, i < 1, str(i)) for i in range(4)]
    told += [Labelled({"stated": 0.9}, 0.9, i < 3, str(i)) for i in range(4)]
    grid = fit_grid(told, ["stated"])
    assert grid.confidence({"stated": 0.0}) == pytest.approx(2 / 6)
    assert grid.confidence({"stated": 1.0}) == pytest.approx(4 / 6)
    constant = [Labelled({"stated": 0.97}, 0.97, i < 5, str(i)) for i in range(8)]
    assert fit_grid(constant, ["stated"]).cells == [[pytest.approx(0.6)]]


def test_the_form_with_the_lowest_brier_score_is_taken_and_the_references_are_not() -> None:
    found = fit(answers(150, seed=2), FULL, folds=5, seed=0)
    scores = {s.name: s for s in found.scores}
    candidates = [s for s in found.scores if s.candidate]
    assert {s.name for s in candidates} == {"grid", "logistic"}
    assert found.form.kind == min(candidates, key=lambda s: s.brier).name
    assert set(scores) - {"grid", "logistic"} == {"base rate", "uncalibrated", "as stated"}
    assert scores[found.form.kind].brier < scores["as stated"].brier
    # A constant is perfectly calibrated; it is shown beside, since it must be beaten.
    assert math.isfinite(scores["base rate"].log_loss)


def test_an_isotonic_line_takes_200_labels() -> None:
    few = fit(answers(ISOTONIC_FROM - 1), FULL, folds=2, seed=0)
    many = fit(answers(ISOTONIC_FROM), FULL, folds=2, seed=0)
    assert "isotonic" not in {s.name for s in few.scores}
    assert "isotonic" in {s.name for s in many.scores}


def test_too_few_labels_or_a_single_incident_give_no_mapping() -> None:
    with pytest.raises(ValueError, match="49 labels; a mapping takes 50"):
        fit(answers(FEWEST - 1), FULL, folds=5, seed=0)
    with pytest.raises(ValueError, match="one incident"):
        fit(answers(60, incidents=1), FULL, folds=5, seed=0)


def test_no_incident_is_in_two_folds_and_the_seed_alone_draws_them() -> None:
    told = answers(90, incidents=11)
    parts = by_incident(told, 4, 7)
    homes = [{a.incident for a in part} for part in parts]
    assert sum(map(len, homes)) == len(set().union(*homes)) == 11
    assert sum(map(len, parts)) == 90
    assert parts == by_incident(told, 4, 7)
    assert parts != by_incident(told, 4, 8)
    assert len(by_incident(told[:3], 10, 0)) == 3


def test_a_split_shares_incidents_out_without_remainder() -> None:
    names = [f"i{i}" for i in range(7)]
    fitted, kept = split(names, Fraction(1, 2), 0)
    assert (len(fitted), len(kept)) == (4, 3)
    assert sorted([*fitted, *kept]) == names
    assert split(list(reversed(names)), Fraction(1, 2), 0) == (fitted, kept)
    assert split(names, Fraction(1, 2), 1) != (fitted, kept)


def test_the_brier_score_of_an_overconfident_agent_falls_on_held_out_incidents() -> None:
    found = fit(answers(150, seed=3), FULL, folds=5, seed=0)
    test = held_out(answers(150, seed=4), found.form, 0.3, left_out=9)
    rows = {row.name: row for row in test.rows}
    assert rows["mapped"].brier < rows["as stated"].brier - 0.2
    assert rows["as stated"].auroc == 0.5
    assert rows["mapped"].auroc is not None
    assert rows["mapped"].auroc > 0.6
    assert test.difference.value == pytest.approx(rows["mapped"].brier - rows["as stated"].brier)
    assert test.difference.high is not None
    assert test.difference.high < 0.0
    assert (test.n, test.n_incidents, test.n_left_out) == (150, 20, 9)


def test_a_map_cannot_help_an_agent_that_is_right_about_itself() -> None:
    told = [
        Labelled(a.seen, 0.15 + 0.7 * a.seen["coe"] * a.seen["rce"], a.right, a.incident)
        for a in answers(300, seed=5)
    ]
    half = fit([a for a in told if int(a.incident[1:]) < 10], FULL, folds=5, seed=0)
    test = held_out([a for a in told if int(a.incident[1:]) >= 10], half.form, 0.3, left_out=0)
    assert test.difference.high is not None
    assert test.difference.high > 0.0


def test_terms_are_logits_and_features_without_a_mapping_are_multiplied() -> None:
    seen: dict[Feature, float] = {"coe": 0.5, "rce": 0.8}
    assert terms(seen)["coe"] == 0.0
    assert terms(seen)["coe*rce"] == pytest.approx(math.log(0.4 / 0.6))
    assert terms({"stated": 1.0})["stated"] == pytest.approx(math.log(99))
    assert uncalibrated(seen) == pytest.approx(0.4)
    assert uncalibrated({"stated": 0.7}) == 0.7
    assert uncalibrated({"agreement": 0.6}) == 0.6


def test_a_file_that_is_not_monotone_or_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Logistic(intercept=0.0, weights={"coe": -0.1})
    with pytest.raises(ValidationError, match="row for each bin"):
        Grid(axes=["coe"], edges=[[0.5]], cells=[[0.1]])
    with pytest.raises(ValidationError, match="never fall"):
        Grid(axes=["coe"], edges=[[0.5]], cells=[[0.9], [0.1]])
    line = Logistic(intercept=0.0, weights={"coe": 1.0})
    with pytest.raises(ValidationError, match="never fall"):
        Isotonic(of=line, knots=[0.0, 1.0], values=[0.9, 0.1])
    with pytest.raises(ValidationError, match="never fall"):
        Isotonic(of=line, knots=[1.0, 0.0], values=[0.1, 0.9])
