"""What guessing scores: formulas against the known values, against enumeration, and per task."""

from __future__ import annotations

from itertools import permutations

import pytest
from grading_cases import GEO, RATE, SPACE, healthy, truth
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading import chance, grade, ranking
from aiopslab.models.answer import Candidate, Diagnosis, Hypothesis, Localization
from aiopslab.models.evidence import Evidence
from aiopslab.models.truth import RootCause

PLAIN = RATE.model_copy(update={"accepted": [], "aliases": []})


def test_nine_services_have_the_known_floor() -> None:
    assert round(chance.avg_at_k(9, [1]), 2) == 0.33
    assert [chance.ac_at_k(9, [1], k) for k in (1, 3, 9, 12)] == pytest.approx([1 / 9, 1 / 3, 1, 1])
    assert round(chance.ac_at_k(36, [1], 1), 3) == round(1 / 36, 3)


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, list[int]]:
    right = draw(st.lists(st.integers(0, 2), min_size=1, max_size=2))
    return draw(st.integers(max(1, sum(right)), 6)), right


@given(cases())
def test_the_floors_are_the_means_over_all_orders(case: tuple[int, list[int]]) -> None:
    n, right = case
    means = [i for i, e in enumerate(right) for _ in range(e)]
    labels = [*means, *[-1] * (n - len(means))]
    orders = list(permutations(range(n)))
    causes = len(right)

    def found(order: tuple[int, ...]) -> list[int]:
        rows = [[labels[c] == i for i in range(causes)] for c in order]
        return ranking.first_hits(rows, causes)

    every = [found(order) for order in orders]

    def mean(values: list[float]) -> float:
        return sum(values) / len(orders)

    for k in range(1, n + 1):
        expected = mean([ranking.ac_at_k(f, causes, k) for f in every])
        assert chance.ac_at_k(n, right, k) == pytest.approx(expected)
    first = [ranking.reciprocal_rank(f[: chance.RANKS]) for f in every]
    assert chance.reciprocal_rank(n, right) == pytest.approx(mean(first))
    whole = [float(ranking.all_first(f, causes)) for f in every]
    assert chance.all_first(n, right) == pytest.approx(mean(whole))


@given(st.integers(1, 60), st.integers(0, 3), st.integers(1, 8))
def test_more_ranks_and_more_right_candidates_never_lower_a_floor(n: int, e: int, k: int) -> None:
    e = min(e, n)
    floor = chance.ac_at_k(n, [e], k)
    assert 0.0 <= floor <= chance.ac_at_k(n, [e], k + 1) <= 1.0
    assert floor <= chance.ac_at_k(n, [min(e + 1, n)], k)
    assert chance.all_first(n, [e]) == pytest.approx(e / n)


def floors(task: str, *causes: RootCause, known: bool = True) -> dict[str, float | None]:
    key = truth(*causes, space=SPACE if known else None)
    return grade(task, None, key, Evidence(), []).floors  # type: ignore[arg-type]


def test_detection_is_guessed_by_a_coin() -> None:
    errors = {"false_alarm": 0.5, "missed": 0.5}
    assert floors("detection", RATE) == {"passed": 0.5, "brier": 0.25, **errors}


def test_mitigation_is_measured_against_doing_nothing() -> None:
    assert floors("mitigation", RATE)["passed"] == 0.0
    assert floors("mitigation")["passed"] == 1.0


def test_localization_is_guessed_among_all_components() -> None:
    found = floors("localization", PLAIN)
    assert (found["passed"], found["ac_at_1"], found["ac_at_3"]) == pytest.approx(
        (1 / 8, 1 / 8, 3 / 8)
    )
    accepted = floors("localization", RATE)
    assert accepted["ac_at_1"] == pytest.approx(3 / 8), "the database and the node are accepted"


def test_who_guesses_never_says_that_nothing_is_wrong() -> None:
    assert floors("localization") == {"brier": 0.25, "passed": 0.0, "specificity": 0.0}
    assert floors("diagnosis") == {"brier": 0.25, "passed": 0.0, "specificity": 0.0}


def test_a_root_cause_that_nobody_can_name_has_the_floor_zero() -> None:
    elsewhere = PLAIN.model_copy(update={"component": "moon"})
    assert floors("localization", elsewhere)["ac_at_3"] == 0.0


def test_diagnosis_is_guessed_among_all_pairs() -> None:
    found = floors("diagnosis", PLAIN)
    assert found["passed"] == pytest.approx(1 / (8 * 4))
    assert found["component_right"] == pytest.approx(1 / 8)
    assert found["cause_right"] == pytest.approx(1 / 4)
    assert found["family_right"] == pytest.approx(2 / 4)
    accepted = floors("diagnosis", RATE)
    # The pair, the one of the database, and any cause on the node.
    assert accepted["passed"] == pytest.approx((1 + 1 + 4) / 32)


@pytest.mark.parametrize("cause", [PLAIN, RATE, GEO])
def test_the_floor_of_partial_credit_is_its_mean_over_all_pairs(cause: RootCause) -> None:
    key = truth(cause, space=SPACE)
    credits = []
    for place in SPACE.components:
        for kind in SPACE.causes:
            said = Diagnosis(hypotheses=[Hypothesis(component=place, cause=kind, probability=0.5)])
            credits.append(grade("diagnosis", said, key, Evidence(), []).scores["partial_credit"])
    mean = sum(c for c in credits if c is not None) / len(credits)
    assert floors("diagnosis", cause)["partial_credit"] == pytest.approx(mean)


def test_records_without_a_search_space_have_unknown_floors_and_not_zero() -> None:
    assert floors("localization", RATE, known=False) == {"brier": 0.25}
    assert floors("diagnosis", RATE, known=False) == {"brier": 0.25}


@given(st.permutations(range(8)), st.integers(0, 5))
def test_no_verdict_and_no_old_score_depends_on_the_search_space(order: list[int], n: int) -> None:
    named = [SPACE.components[i] for i in order[:n]]
    answer = Localization(candidates=[Candidate(component=c, probability=0.2) for c in named])
    old = grade("localization", answer, truth(RATE), healthy(), [])
    new = grade("localization", answer, truth(RATE, space=SPACE), healthy(), [])
    assert (old.passed, old.checks, old.confidence) == (new.passed, new.checks, new.confidence)
    kept = {name: value for name, value in old.scores.items() if value is not None}
    assert {name: new.scores[name] for name in kept} == kept
