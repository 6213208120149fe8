"""Intervals, reliability and aggregates, against golden numbers and by properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading import Counted, aggregate, headline
from aiopslab.grading.calibration import brier, overconfidence
from aiopslab.grading.ranking import ac_at_k, avg_at_k, first_hits, reciprocal_rank
from aiopslab.grading.statistics import (
    cluster_bootstrap,
    mean,
    mean_of_two,
    minimum_detectable_difference,
    pass_at_k,
    pass_hat_k,
    wilson,
    wilson_half_width,
)
from aiopslab.models.grade import Grade
from aiopslab.models.run import PlannedTrial
from aiopslab.models.trial import Outcome

# c of n = 8 trials passed: (pass@k, pass^k) for k = 1, 2, 4, 8
GOLDEN_PASS = {
    2: [(0.250, 0.250), (0.464, 0.036), (0.786, 0.000), (1, 0)],
    4: [(0.500, 0.500), (0.786, 0.214), (0.986, 0.014), (1, 0)],
    6: [(0.750, 0.750), (0.964, 0.536), (1, 0.214), (1, 0)],
    7: [(0.875, 0.875), (1, 0.750), (1, 0.500), (1, 0)],
    8: [(1, 1), (1, 1), (1, 1), (1, 1)],
}


@pytest.mark.parametrize("c", sorted(GOLDEN_PASS))
def test_pass_at_k_and_pass_hat_k_match_the_table(c: int) -> None:
    got = [(pass_at_k(8, c, k), pass_hat_k(8, c, k)) for k in (1, 2, 4, 8)]
    for (any_got, all_got), (any_want, all_want) in zip(got, GOLDEN_PASS[c], strict=True):
        assert any_got == pytest.approx(any_want, abs=5e-4)
        assert all_got == pytest.approx(all_want, abs=5e-4)


# n trials: half of Wilson's interval at a share of 0.5, 0.2, 0.9
GOLDEN_WILSON = {
    30: (0.168, 0.139, 0.111), 45: (0.140, 0.115, 0.090), 50: (0.134, 0.109, 0.085),
    68: (0.116, 0.094, 0.073), 100: (0.096, 0.078, 0.060), 200: (0.069, 0.055, 0.042),
    335: (0.053, 0.043, 0.032), 656: (0.038, 0.031, 0.023),
}  # fmt: skip


@pytest.mark.parametrize("n", sorted(GOLDEN_WILSON))
def test_wilson_half_widths_match_the_table(n: int) -> None:
    got = tuple(round(wilson_half_width(share, n), 3) for share in (0.5, 0.2, 0.9))
    assert got == GOLDEN_WILSON[n]


# n trials: unpaired at a share of 0.4; paired with 10, 20, 30 % discordant
GOLDEN_DETECTABLE = {
    45: (0.289, 0.132, 0.187, 0.229), 50: (0.274, 0.125, 0.177, 0.217),
    68: (0.235, 0.107, 0.152, 0.186), 100: (0.194, 0.089, 0.125, 0.153),
    200: (0.137, 0.063, 0.089, 0.109), 335: (0.106, 0.048, 0.068, 0.084),
    656: (0.076, 0.035, 0.049, 0.060), 1000: (0.061, 0.028, 0.040, 0.049),
}  # fmt: skip


@pytest.mark.parametrize("n", sorted(GOLDEN_DETECTABLE))
def test_detectable_differences_match_the_table(n: int) -> None:
    unpaired = minimum_detectable_difference(n, share=0.4)
    paired = [minimum_detectable_difference(n, discordant=d) for d in (0.1, 0.2, 0.3)]
    assert tuple(round(v, 3) for v in (unpaired, *paired)) == GOLDEN_DETECTABLE[n]


@given(st.integers(1, 10_000), st.floats(0.001, 0.999))
def test_four_times_the_trials_halve_what_can_be_told(n: int, share: float) -> None:
    for choice in ({"share": share}, {"discordant": share}):
        few = minimum_detectable_difference(n, **choice)
        assert minimum_detectable_difference(4 * n, **choice) == pytest.approx(few / 2)


@given(st.integers(2, 500).flatmap(lambda n: st.tuples(st.integers(1, n - 1), st.just(n))))
def test_wilsons_interval_is_two_half_widths_wide(pair: tuple[int, int]) -> None:
    bounds = wilson(*pair)
    assert bounds is not None
    width = 2 * wilson_half_width(pair[0] / pair[1], pair[1])
    assert bounds[1] - bounds[0] == pytest.approx(width)


def test_wilson_of_38_in_335() -> None:
    bounds = wilson(38, 335)
    assert bounds is not None
    assert bounds == pytest.approx((0.084, 0.152), abs=5e-4)
    assert wilson(0, 0) is None


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_proportion(pair: tuple[int, int]) -> None:
    c, n = pair
    bounds = wilson(c, n)
    assert bounds is not None
    assert 0.0 <= bounds[0] <= c / n <= bounds[1] <= 1.0


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_all_of_k_falls_and_any_of_k_rises_with_k(pair: tuple[int, int]) -> None:
    n, c = pair
    every = [pass_hat_k(n, c, k) for k in range(1, n + 1)]
    some = [pass_at_k(n, c, k) for k in range(1, n + 1)]
    assert every == sorted(every, reverse=True)
    assert some == sorted(some)
    assert every[0] == pytest.approx(some[0]) == pytest.approx(c / n)


def test_k_beyond_the_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="k = 3"):
        pass_hat_k(2, 2, 3)


def test_the_bootstrap_is_seeded_and_blind_to_order() -> None:
    clusters = {"a": [1.0, 1.0], "b": [0.0, 1.0], "c": [0.0, 0.0]}
    backwards = dict(reversed(clusters.items()))
    first = cluster_bootstrap(clusters, seed=5)
    assert first == cluster_bootstrap(backwards, seed=5)
    assert first is not None
    assert first[0] <= 0.5 <= first[1]


def test_one_cluster_has_no_interval() -> None:
    assert cluster_bootstrap({"a": [1.0, 0.0]}, seed=1) is None
    assert mean([]) is None


def test_repeats_of_one_incident_do_not_narrow_the_interval() -> None:
    few = {str(i): [float(i % 2)] for i in range(10)}
    many = {k: v * 20 for k, v in few.items()}
    assert cluster_bootstrap(few, seed=3) == cluster_bootstrap(many, seed=3)


def test_brier_scores() -> None:
    assert brier(0.9, True) == pytest.approx(0.01)
    assert overconfidence([]) is None
    assert overconfidence([(0.9, False), (0.9, True)]) == pytest.approx(0.4)


@given(st.floats(0, 1), st.floats(0, 1))
def test_brier_is_proper(belief: float, stated: float) -> None:
    def expected(c: float) -> float:
        return belief * brier(c, True) + (1 - belief) * brier(c, False)

    assert expected(belief) <= expected(stated) + 1e-12


def test_ranking_of_two_root_causes() -> None:
    matches = [[True, False], [True, False], [False, True]]
    found = first_hits(matches, 2)
    assert found == [1, 0, 1]
    assert [ac_at_k(found, 2, k) for k in (1, 2, 3)] == [1.0, 0.5, 1.0]
    assert avg_at_k(found, 2, 3) == pytest.approx(2.5 / 3)
    assert reciprocal_rank([0, 0, 1]) == pytest.approx(1 / 3)
    assert reciprocal_rank([]) == 0.0


# -- aggregates -----------------------------------------------------------------------------------


def counted(
    incident: str, outcome: Outcome | None, *, attempt: int = 1, confidence: float | None = None
) -> Counted:
    plan = PlannedTrial(
        problem=f"{incident}-detection", incident=incident, task="detection", attempt=attempt
    )
    graded = outcome not in (None, "infra_error")
    passed = outcome == "passed"
    made = Grade(
        scoring_version="1",
        task="detection",
        passed=passed,
        checks=[],
        scores={"brier": None if confidence is None else brier(confidence, passed)},
        confidence=confidence,
    )
    return Counted(plan, outcome, made if graded else None)


def test_strict_counts_infra_as_nothing_and_completed_leaves_it_out() -> None:
    trials = [
        *(counted(f"i{i}", "passed") for i in range(38)),
        counted("j", "failed"),
        counted("k", "infra_error"),
    ]
    overall, tasks = aggregate(trials)
    assert (overall.n_planned, overall.n_completed, overall.n_infra) == (40, 39, 1)
    assert tasks[0].strict.value == pytest.approx(38 / 40)
    assert tasks[0].completed.value == pytest.approx(38 / 39)
    assert tasks[0].strict.method == "wilson"
    assert headline(overall).strict == pytest.approx(38 / 40)


def test_below_the_required_coverage_there_is_no_headline() -> None:
    trials = [counted("a", "passed"), counted("b", "infra_error"), counted("c", None)]
    overall, _ = aggregate(trials)
    assert overall.n_excluded == 1
    found = headline(overall)
    assert (found.strict, found.completed) == (None, None)
    assert found.coverage == pytest.approx(1 / 3)


def test_a_limit_and_an_agents_failure_are_completed_and_not_passed() -> None:
    trials = [counted("a", "limit"), counted("b", "agent_error"), counted("c", "passed")]
    overall, _ = aggregate(trials)
    assert (overall.n_completed, overall.completed.value) == (3, pytest.approx(1 / 3))
    assert overall.outcomes == {"agent_error": 1, "limit": 1, "passed": 1}


def test_pass_hat_k_is_a_mean_over_problems_with_enough_trials() -> None:
    trials = [
        counted("a", "passed", attempt=1),
        counted("a", "passed", attempt=2),
        counted("b", "passed", attempt=1),
        counted("b", "failed", attempt=2),
        counted("c", "passed", attempt=1),
        counted("c", "infra_error", attempt=2),
    ]
    _, (task,) = aggregate(trials)
    assert task.pass_hat_k == {"1": pytest.approx(2.5 / 3), "2": pytest.approx(0.5)}
    assert task.strict.method == "cluster-bootstrap"


def test_unknown_confidence_is_none_and_never_zero() -> None:
    _, (task,) = aggregate([counted("a", "passed"), counted("b", "failed")])
    assert (task.brier.value, task.overconfidence) == (None, None)
    _, (task,) = aggregate([counted("a", "passed", confidence=1.0), counted("b", "failed")])
    assert (task.brier.value, task.overconfidence) == (0.0, 0.0)


def test_calibration_is_of_graded_trials_that_state_a_confidence() -> None:
    trials = [
        counted("a", "passed", confidence=0.9),
        counted("b", "failed", confidence=0.8),
        counted("c", "failed"),
        counted("d", "infra_error", confidence=0.7),
        counted("e", None, confidence=0.7),
    ]
    overall, (task,) = aggregate(trials)
    found = task.calibration
    assert found is not None
    assert found.n == 2
    assert found.brier == pytest.approx(task.brier.value)
    assert found.overconfidence == pytest.approx(task.overconfidence)
    assert overall.calibration == found
    assert aggregate([counted("a", "passed")])[0].calibration is None


outcomes = st.sampled_from(["passed", "failed", "infra_error", "agent_error", "limit", None])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), outcomes), unique_by=lambda t: t[:2])
)
def test_aggregates_add_up_and_do_not_depend_on_order(
    rows: list[tuple[int, int, Outcome | None]],
) -> None:
    trials = [counted(f"i{i}", o, attempt=k, confidence=0.5) for i, k, o in rows]
    overall, tasks = aggregate(trials)
    assert overall.n_planned == len(rows)
    assert aggregate(list(reversed(trials))) == (overall, tasks)
    if overall.strict.value is not None and overall.completed.value is not None:
        assert overall.strict.value <= overall.completed.value
    for estimate in (overall.strict, overall.completed):
        if estimate.low is not None and estimate.high is not None and estimate.value is not None:
            assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_the_mean_of_two_shares_lies_in_its_interval_and_never_for_certain(
    a: int, n: int, b: int, m: int
) -> None:
    found = mean_of_two((min(a, n), n), (min(b, m), m))
    assert found is not None
    middle, (low, high) = found
    assert 0.0 <= low <= middle <= high <= 1.0
    assert low < high


def test_the_interval_of_a_mean_of_two_is_newcombes() -> None:
    found = mean_of_two((56, 70), (48, 80))
    assert found is not None
    # Newcombe 1998, table II, (a): the difference .2 has (.0524, .3339). The mean's is about half
    # as wide: lower and upper parts of the second side change places.
    middle, (low, high) = found
    assert middle == pytest.approx(0.7)
    assert high - low == pytest.approx((0.3339 - 0.0524) / 2, abs=2e-3)


def test_a_mean_of_two_needs_both() -> None:
    assert mean_of_two((1, 2), (0, 0)) is None
