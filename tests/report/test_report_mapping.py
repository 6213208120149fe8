"""A mapping in words: what is chosen, what it is compared with, what its test shows."""

from __future__ import annotations

from typing import Any

import pytest

from aiopslab.models.mapping import ConfidenceMapping, HeldOut
from aiopslab.models.run import Estimate
from aiopslab.report.mapping import heading, heldout_lines, map_note, map_rows, score_rows


def mapping(base_rate: float = 0.2, **changed: Any) -> ConfidenceMapping:
    told = {
        "ablation": "none", "judge": "model", "prompts": "pace/v1", "tasks": ["diagnosis"],
        "features": ["coe", "rce", "stated"], "n": 60, "n_right": 30, "folds": 5, "seed": 0,
        "form": {"kind": "logistic", "intercept": 0.0, "weights": {"rce": 1.0}},
        "scores": [
            {"name": "grid", "brier": 0.19, "log_loss": 0.5},
            {"name": "logistic", "brier": 0.18, "log_loss": 0.5},
            {"name": "base rate", "brier": base_rate, "log_loss": 0.6, "candidate": False},
        ],
        "fitted_on": {
            "runs": ["a", "b"], "labels": ["core@1.0"], "inner": ["react"], "models": ["gpt-x"],
            "environments": ["sim"], "seeds": [0], "scoring_versions": ["1"],
            "incidents": ["one", "two"], "held_out": ["three"],
        },
    }  # fmt: skip
    return ConfidenceMapping.model_validate(told | changed)


def test_where_a_mapping_is_from_is_told() -> None:
    first, second, third = heading(mapping())
    expected = "logistic on coe, rce, stated    ablation none, judge model, pace/v1, gpt-x"
    assert first == expected
    assert second == "fitted on 60 answers of react, 30 right: diagnosis"
    assert third == "from a, b: core@1.0, sim, seed 0, 2 incidents, 1 kept for a test"


def test_the_chosen_form_is_marked_and_held_against_the_base_rate() -> None:
    columns, rows = score_rows(mapping())
    assert columns[:2] == ["form", "Brier"]
    assert [row[-1] for row in rows] == ["", "chosen", "for comparison"]
    _, worse = score_rows(mapping(base_rate=0.15))
    assert worse[1][-1] == "chosen, but no better than the base rate"


def test_the_map_is_shown_on_a_grid_or_along_its_only_feature() -> None:
    columns, rows = map_rows(mapping())
    assert columns == ["COE \\ RCE", "0.1", "0.3", "0.5", "0.7", "0.9"]
    assert rows[0] == ["0.1", "0.10", "0.30", "0.50", "0.70", "0.90"]
    assert len(rows) == 5
    assert map_note(mapping()) == "at a stated confidence of 0.9"
    form = {"kind": "grid", "axes": ["agreement"], "edges": [[0.6]], "cells": [[0.2], [0.8]]}
    alone = mapping(ablation="self-consistency", judge=None, features=["agreement"], form=form)
    assert map_rows(alone) == (
        ["agreement", "0.1", "0.3", "0.5", "0.7", "0.9"],
        [["confidence", "0.20", "0.20", "0.20", "0.80", "0.80"]],
    )
    assert map_note(alone) == ""


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.3, -0.1, "the mapping lowers the Brier score"),
        (0.1, 0.3, "the mapping raises the Brier score: leave it out"),
        (-0.1, 0.1, "not shown to lower the Brier score: the interval holds 0"),
        (None, None, "one incident: no interval"),
    ],
)
def test_a_test_says_what_it_shows_and_no_more(
    low: float | None, high: float | None, said: str
) -> None:
    difference = Estimate(value=-0.2, low=low, high=high, n=40)
    test = HeldOut(n=40, n_right=10, n_incidents=8, n_left_out=3, rows=[], difference=difference)
    first, second, last = heldout_lines(test)
    assert "tested on 40 answers of 8 other incidents, 10 right; 3 answers" in first
    assert second.startswith("Brier, mapped minus as stated: -0.200")
    assert last == said
