"""Figures of groups of trials: balanced accuracy, restricted times, what it took, constants."""

from __future__ import annotations

from typing import Any

import pytest
from grading_cases import GEO, RATE, truth
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading import Counted, aggregate
from aiopslab.grading.figures import (
    balanced_accuracy,
    best_constant,
    fixed_given_diagnosis,
    restricted_time,
    spread,
)
from aiopslab.grading.statistics import balanced_bootstrap
from aiopslab.models.grade import Grade
from aiopslab.models.run import PlannedTrial
from aiopslab.models.task import Task
from aiopslab.models.trial import Usage
from aiopslab.models.truth import Truth


def trial(
    incident: str,
    task: Task,
    *,
    passed: bool,
    key: Truth | None = None,
    attempt: int = 1,
    usage: Usage | None = None,
    **scores: Any,
) -> Counted:
    plan = PlannedTrial(problem=f"{incident}-{task}", incident=incident, task=task, attempt=attempt)
    floors = scores.pop("floors", {})
    grade = Grade(
        scoring_version="2", task=task, passed=passed, checks=[], scores=scores, floors=floors
    )
    return Counted(plan, "passed" if passed else "failed", grade, usage, key)


def detection(incident: str, *, present: bool, passed: bool, time: float | None = None) -> Counted:
    scores = {"anomaly_present": float(present), "time_to_detect_s": time}
    return trial(incident, "detection", passed=passed, **scores)


def test_always_yes_has_a_balanced_accuracy_of_one_half() -> None:
    yes = [detection(f"i{i}", present=i < 9, passed=i < 9) for i in range(10)]
    found = balanced_accuracy(yes)
    assert found is not None
    assert (found.value, found.n) == (0.5, 10)
    assert balanced_accuracy(yes[:9]) is None, "of one side alone nothing is balanced"


def test_balanced_accuracy_weighs_both_sides_alike_and_has_an_interval() -> None:
    trials = [detection(f"p{i}", present=True, passed=i < 3) for i in range(4)]
    trials += [detection(f"q{i}", present=False, passed=i < 1) for i in range(2)]
    found = balanced_accuracy(trials)
    assert found is not None
    assert found.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found.low is not None
    assert found.high is not None
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert balanced_accuracy(trials[::-1]) == found
    sure = [detection(f"i{i}", present=i % 2 == 0, passed=True) for i in range(6)]
    whole = balanced_accuracy(sure)
    assert whole is not None
    assert (whole.value, whole.method) == (1.0, "wilson")


def test_one_cluster_or_one_side_has_no_bootstrap() -> None:
    assert balanced_bootstrap({"a": [(True, 1.0), (False, 0.0)]}, seed=1) is None
    assert balanced_bootstrap({"a": [(True, 1.0)], "b": [(True, 0.0)]}, seed=1) is None


def test_a_trial_that_never_gets_there_counts_as_the_budget() -> None:
    trials = [
        detection("a", present=True, passed=True, time=100.0),
        detection("b", present=True, passed=True, time=900.0),
        detection("c", present=True, passed=False),
        detection("d", present=False, passed=True),
    ]
    found = restricted_time("detection", trials, 600.0)
    assert found is not None
    assert found.mean_s == pytest.approx((100.0 + 600.0 + 600.0) / 3)
    assert (found.reached, found.n) == (pytest.approx(2 / 3), 3)
    assert restricted_time("detection", trials, None) is None
    assert restricted_time("localization", trials, 600.0) is None
    assert restricted_time("detection", trials[3:], 600.0) is None


@given(st.lists(st.none() | st.floats(0, 5000), min_size=1, max_size=6), st.floats(1, 3000))
def test_a_restricted_mean_is_within_the_budget_and_grows_with_it(
    times: list[float | None], budget: float
) -> None:
    trials = [
        detection(f"i{i}", present=True, passed=t is not None, time=t) for i, t in enumerate(times)
    ]
    found = restricted_time("detection", trials, budget)
    longer = restricted_time("detection", trials, 2 * budget)
    assert found is not None
    assert longer is not None
    assert 0.0 <= found.mean_s <= budget * (1 + 1e-9)
    assert found.mean_s <= longer.mean_s * (1 + 1e-9)


def test_a_spread_has_the_median_the_95th_percentile_and_the_sum() -> None:
    found = spread([float(i) for i in range(101)])
    assert (found.n, found.median, found.p95, found.total) == (101, 50.0, 95.0, 5050.0)


def test_what_trials_took_is_over_those_that_know_it() -> None:
    known = trial("a", "diagnosis", passed=True, usage=Usage(steps=4, tokens_in=10))
    blind = trial("b", "diagnosis", passed=True, usage=Usage(steps=8))
    _, (task,) = aggregate([known, blind, trial("c", "diagnosis", passed=True)])
    assert (task.process["steps"].n, task.process["steps"].median) == (2, 6.0)
    assert (task.process["tokens_in"].n, task.process["tokens_in"].total) == (1, 10.0)
    assert "cost_usd" not in task.process


def test_repair_is_told_apart_by_whether_the_same_draw_was_diagnosed() -> None:
    trials = []
    for name, diagnosed, fixed in (("a", True, True), ("b", True, False), ("c", False, True)):
        trials.append(trial(name, "diagnosis", passed=diagnosed, key=truth(RATE)))
        trials.append(trial(name, "mitigation", passed=fixed, key=truth(RATE)))
    trials.append(trial("d", "mitigation", passed=True, key=truth(RATE)))
    trials += [trial("q", t, passed=True, key=truth()) for t in ("diagnosis", "mitigation")]
    found = fixed_given_diagnosis(trials)
    assert found is not None
    assert (found.right, found.right_fixed, found.wrong, found.wrong_fixed) == (2, 1, 1, 1)
    assert fixed_given_diagnosis(trials[6:7]) is None


def test_the_best_constant_answer_is_the_most_frequent_right_one() -> None:
    keys = [truth(RATE), truth(RATE), truth(GEO), truth()]
    located = [trial(f"i{i}", "localization", passed=False, key=k) for i, k in enumerate(keys)]
    assert best_constant(located) == 0.5
    repaired = [trial(f"i{i}", "mitigation", passed=False, key=k) for i, k in enumerate(keys)]
    assert best_constant(repaired) == 0.25, "to do nothing"
    assert best_constant([*located, *repaired]) == pytest.approx(3 / 8)
    assert best_constant([*located, trial("x", "localization", passed=True)]) is None
    assert best_constant([]) is None


def test_a_floor_stands_beside_a_score_only_if_both_are_of_the_same_trials() -> None:
    floors = {"passed": 0.1, "mrr": 0.2, "ac_at_3": 0.3}
    first = trial("a", "localization", passed=True, mrr=1.0, ac_at_3=1.0, floors=floors)
    quiet = trial("b", "localization", passed=True, floors={"passed": 0.0})
    old = trial("c", "localization", passed=True, mrr=0.5, floors={"passed": 0.2})
    _, (task,) = aggregate([first, quiet, old])
    assert task.floors == {"ac_at_3": 0.3, "passed": pytest.approx(0.1)}
    overall, _ = aggregate([first, trial("d", "mitigation", passed=True)])
    assert overall.floors == {}, "of the other trial no floor is known"


def test_at_least_one_of_k_tries_stands_beside_all_of_them() -> None:
    trials = [
        trial(p, "diagnosis", passed=passed, attempt=k)
        for p, row in (("a", (True, False)), ("b", (True, True)), ("c", (False, False)))
        for k, passed in enumerate(row, start=1)
    ]
    _, (task,) = aggregate(trials)
    assert task.pass_at_k == {"1": pytest.approx(0.5), "2": pytest.approx(2 / 3)}
    assert task.pass_hat_k == {"1": pytest.approx(0.5), "2": pytest.approx(1 / 3)}
