"""Figures of stated confidence, against scikit-learn, by properties and by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.calibration import calibration_curve

from aiopslab.grading.abstention import COSTS, gain, threshold
from aiopslab.grading.calibration_figures import CURVE_POINTS, Stated, calibration
from aiopslab.grading.discrimination import aurc, auroc, curve, least_aurc, risks
from aiopslab.grading.ordering import Array
from aiopslab.grading.reliability import (
    CLIP,
    MANY,
    bin_count,
    brier_score,
    calibration_error,
    debiased_error,
    equal_mass,
    equal_width,
    log_loss,
    murphy,
)
from aiopslab.grading.statistics import wilson
from aiopslab.models.calibration import Calibration

EXACT = 1e-12
Outcomes = NDArray[np.bool_]

spoken = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0])
pairs = st.lists(st.tuples(st.one_of(st.floats(0, 1), spoken), st.booleans()), min_size=1)
tied = st.lists(st.tuples(spoken, st.booleans()), min_size=1)


def arrays(answers: Sequence[tuple[float, bool]]) -> tuple[Array, Outcomes]:
    """Confidence in ascending order, and what was right."""
    ordered = sorted(answers)
    return np.array([c for c, _ in ordered]), np.array([y for _, y in ordered])


def drawn(seed: int, n: int) -> tuple[Array, Outcomes]:
    """An agent that is calibrated: no two confidences alike, in ascending order."""
    chance = np.random.default_rng(seed)
    confidence = np.sort(chance.beta(2, 2, n))
    return confidence, chance.random(n) < confidence


def stated(answers: Sequence[tuple[float, bool]], *, incidents: int = 7) -> list[Stated]:
    return [Stated(c, y, f"i{i % incidents}") for i, (c, y) in enumerate(answers)]


def known(answers: Sequence[tuple[float, bool]], *, incidents: int = 7) -> Calibration:
    found = calibration(stated(answers, incidents=incidents))
    assert found is not None
    return found


# -- against scikit-learn -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_scores_agree_with_scikit_learn(seed: int) -> None:
    confidence, right = drawn(seed, 157)
    rounded = np.round(confidence, 1)
    for c in (confidence, rounded):
        clipped = np.clip(c, CLIP, 1 - CLIP)
        assert brier_score(c, right) == pytest.approx(metrics.brier_score_loss(right, c), abs=EXACT)
        assert log_loss(c, right) == pytest.approx(metrics.log_loss(right, clipped), abs=EXACT)
        assert auroc(c, right) == pytest.approx(metrics.roc_auc_score(right, c), abs=EXACT)


@pytest.mark.parametrize("bins", [5, 10, 15])
@pytest.mark.parametrize("seed", range(10))
def test_bins_agree_with_scikit_learn(seed: int, bins: int) -> None:
    # A multiple of the bins, with no two alike: where its quantiles are our chunks.
    confidence, right = drawn(seed, 60 * bins)
    for ours, strategy in ((equal_width, "uniform"), (equal_mass, "quantile")):
        cut = ours(confidence, bins)
        true, promised = calibration_curve(right, confidence, n_bins=bins, strategy=strategy)
        filled = cut.sizes > 0
        weights = cut.sizes[filled]
        assert cut.right(right)[filled] / weights == pytest.approx(true, abs=EXACT)
        assert cut.stated[filled] / weights == pytest.approx(promised, abs=EXACT)
        error = np.average(np.abs(true - promised), weights=weights)
        assert calibration_error(cut, right) == pytest.approx(error, abs=EXACT)


# -- by hand --------------------------------------------------------------------------------------


def test_a_confidence_on_an_edge_is_in_the_upper_bin_and_certainty_in_the_last() -> None:
    for bins in (5, 10):
        edges = np.arange(bins + 1) / bins
        sizes = equal_width(edges, bins).sizes.tolist()
        assert sizes == [1] * (bins - 1) + [2]


def test_bins_of_equal_mass_are_nearly_equal_and_may_be_empty() -> None:
    assert equal_mass(np.linspace(0, 1, 13), 5).sizes.tolist() == [3, 3, 3, 2, 2]
    assert equal_mass(np.array([0.2, 0.3]), 5).sizes.tolist() == [1, 1, 0, 0, 0]


def test_one_confidence_has_one_error_however_many_bins() -> None:
    confidence, right = np.full(40, 0.9), np.arange(40) < 20
    for cut in (equal_width(confidence, 10), equal_mass(confidence, 10), equal_mass(confidence, 3)):
        assert calibration_error(cut, right) == pytest.approx(0.4)


def test_the_debiased_error_takes_chance_away_and_is_unknown_for_single_answers() -> None:
    confidence, right = np.full(5, 0.8), np.array([True, True, True, False, False])
    expected = (0.8 - 0.6) ** 2 - 0.6 * 0.4 / 4
    assert expected < 0
    assert debiased_error(equal_mass(confidence, 1), right) == 0.0
    wrong = np.zeros(5, dtype=bool)
    assert debiased_error(equal_mass(confidence, 1), wrong) == pytest.approx(0.8)
    assert debiased_error(equal_mass(confidence, 5), right) is None


def test_certainty_that_is_wrong_has_a_finite_log_loss() -> None:
    loss = log_loss(np.array([1.0]), np.array([False]))
    assert loss == pytest.approx(-math.log(CLIP))


def test_a_tie_counts_half_and_one_outcome_has_no_auroc() -> None:
    assert auroc(np.array([0.5, 0.5, 0.9]), np.array([True, False, True])) == 0.75
    assert auroc(np.array([0.5, 0.9]), np.array([True, True])) is None
    assert auroc(np.array([0.5, 0.9]), np.array([False, False])) is None


def test_risk_and_coverage_of_four_answers() -> None:
    confidence = np.array([0.6, 0.7, 0.8, 0.9])
    risk = risks(confidence, np.array([False, True, False, True]))
    assert risk == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert aurc(risk) == pytest.approx(1 / 3)
    assert least_aurc(np.array([False, True, False, True])) == pytest.approx((1 / 3 + 1 / 2) / 4)


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.9]), st.booleans()), min_size=1, max_size=6))
def test_risk_in_a_tie_is_the_mean_over_all_its_orders(answers: list[tuple[float, bool]]) -> None:
    n = len(answers)
    totals, orders = [Fraction(0)] * n, 0
    for order in permutations(answers):
        if all(a[0] >= b[0] for a, b in pairwise(order)):
            orders += 1
            for k in range(n):
                totals[k] += Fraction(sum(not y for _, y in order[: k + 1]), k + 1)
    assert risks(*arrays(answers)) == pytest.approx([float(t / orders) for t in totals])


def test_a_long_curve_is_thinned_to_its_end() -> None:
    _, right = drawn(1, 257)
    risk = risks(np.linspace(0, 1, 257), right)
    points = curve(risk, points=CURVE_POINTS)
    assert len(points) == CURVE_POINTS
    assert points == sorted(points)
    assert points[-1] == (1.0, risk[-1])
    assert curve(risk[:3], points=CURVE_POINTS) == [
        (pytest.approx((i + 1) / 3), risk[i]) for i in range(3)
    ]


def test_who_is_sure_enough_acts_and_the_rest_is_handed_over() -> None:
    confidence = np.array([0.5, 0.8, 0.9, 0.95])
    right = np.array([False, True, False, True])
    # L = 1: everything is acted on. L = 5: from 0.8 on. L = 20: 0.95 alone.
    assert [threshold(c) for c in COSTS] == pytest.approx([0.0, 0.8, 0.95])
    assert [gain(confidence, right, c) for c in COSTS] == [2 / 4, (1 - 4 + 1) / 4, 1 / 4]


def test_a_sum_of_decimals_is_not_handed_over_for_its_rounding() -> None:
    assert 0.7 + 0.1 < 0.8
    assert gain(np.array([0.7 + 0.1]), np.array([True]), 5) == 1.0


# -- properties -----------------------------------------------------------------------------------


@given(pairs, st.randoms(use_true_random=False))
def test_no_figure_depends_on_the_order_of_answers(answers, random) -> None:
    shuffled = stated(answers)
    random.shuffle(shuffled)
    assert calibration(shuffled) == calibration(stated(answers))


@given(tied, st.data())
def test_no_figure_but_the_interval_depends_on_what_incidents_are_called(answers, data) -> None:
    names = data.draw(st.permutations([f"i{i}" for i in range(7)]))
    renamed = [Stated(a.confidence, a.right, names[int(a.incident[1:])]) for a in stated(answers)]
    unnamed = {"overconfidence_low": None, "overconfidence_high": None}
    found = calibration(renamed)
    assert found is not None
    assert found.model_copy(update=unnamed) == known(answers).model_copy(update=unnamed)


@given(pairs)
def test_figures_are_within_their_bounds(answers: list[tuple[float, bool]]) -> None:
    found = known(answers)
    shares = [found.brier, found.reliability, found.resolution, found.aurc, found.aurc_excess]
    shares += [e.value for e in (found.ece_width, found.ece_mass)]
    shares += [e.floor.p_value for e in (found.ece_width, found.ece_mass)]
    shares += [found.auroc] if found.auroc is not None else []
    assert all(-EXACT <= s <= 1 + EXACT for s in shares)
    assert 0 <= found.uncertainty <= 0.25
    assert found.resolution <= found.uncertainty + EXACT
    assert found.aurc_excess <= found.aurc
    assert 0 <= found.log_loss <= -math.log(CLIP) + EXACT
    share = sum(y for _, y in answers) / len(answers)
    for cost in COSTS:
        assert (1 - cost) - EXACT <= found.utility[str(cost)] <= share + EXACT
    assert found.utility["1"] == pytest.approx(share)


@given(pairs)
def test_bins_and_curve_account_for_every_answer(answers: list[tuple[float, bool]]) -> None:
    found = known(answers)
    share = sum(y for _, y in answers) / len(answers)
    assert sum(b.n for b in found.bins) == found.n == len(answers)
    assert sum(b.n * b.right for b in found.bins) == pytest.approx(share * found.n)
    for b in found.bins:
        assert b.low <= b.confidence + EXACT
        assert b.confidence <= b.high + EXACT
    assert found.risk_coverage[-1] == (1.0, pytest.approx(1 - share))
    assert len(found.risk_coverage) == min(found.n, CURVE_POINTS)
    error = sum(b.n * abs(b.right - b.confidence) for b in found.bins) / found.n
    assert found.ece_width.value == pytest.approx(error)


@given(pairs)
def test_both_errors_are_at_least_the_overconfidence(answers: list[tuple[float, bool]]) -> None:
    found = known(answers)
    assert found.ece_width.value >= abs(found.overconfidence) - EXACT
    assert found.ece_mass.value >= abs(found.overconfidence) - EXACT


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans()), min_size=1))
def test_bins_of_one_confidence_each_decompose_the_brier_score(answers) -> None:
    confidence, right = arrays(answers)
    parts = murphy(equal_width(confidence, 5), right)
    whole = parts.reliability - parts.resolution + parts.uncertainty
    assert whole == pytest.approx(brier_score(confidence, right), abs=EXACT)


@given(pairs)
def test_what_wide_bins_leave_of_the_brier_score_is_the_spread_within(answers) -> None:
    confidence, right = arrays(answers)
    cut = equal_width(confidence, 5)
    parts = murphy(cut, right)
    means = np.repeat(cut.stated / np.maximum(cut.sizes, 1), cut.sizes)
    shares = np.repeat(cut.right(right) / np.maximum(cut.sizes, 1), cut.sizes)
    spread = np.mean((confidence - means) ** 2)
    together = 2 * np.mean((confidence - means) * (right - shares))
    whole = parts.reliability - parts.resolution + parts.uncertainty + spread - together
    assert whole == pytest.approx(brier_score(confidence, right), abs=EXACT)


@given(pairs)
def test_auroc_is_the_share_of_pairs_in_order(answers: list[tuple[float, bool]]) -> None:
    rights = [c for c, y in answers if y]
    wrongs = [c for c, y in answers if not y]
    wins = sum((r > w) + (r == w) / 2 for r in rights for w in wrongs)
    total = len(rights) * len(wrongs)
    found = auroc(*arrays(answers))
    assert found == (pytest.approx(wins / total) if total else None)


@given(pairs)
def test_order_is_all_that_auroc_and_aurc_look_at(answers: list[tuple[float, bool]]) -> None:
    ranks = {c: i for i, c in enumerate(sorted({c for c, _ in answers}))}
    ranked = [(ranks[c] / len(ranks), y) for c, y in answers]
    assert auroc(*arrays(ranked)) == auroc(*arrays(answers))
    assert risks(*arrays(ranked)).tolist() == risks(*arrays(answers)).tolist()


@given(st.lists(st.booleans(), min_size=1))
def test_the_best_order_has_no_excess_and_no_order_is_better(outcomes: list[bool]) -> None:
    right = np.array(outcomes)
    best = aurc(risks(right.astype(float), right))
    assert best == pytest.approx(least_aurc(right))
    worst = aurc(risks(1.0 - right, right))
    blind = aurc(risks(np.full(len(right), 0.5), right))
    assert best - EXACT <= blind <= worst + EXACT
    assert blind == pytest.approx(1 - right.mean())


@given(st.floats(0, 1), st.floats(1, 100))
def test_acting_from_the_threshold_on_is_the_best_a_calibrated_agent_can_do(
    belief: float, cost: float
) -> None:
    acting = belief * 1.0 + (1 - belief) * (1.0 - cost)
    confidence = np.array([belief])
    expected = belief * gain(confidence, np.array([True]), cost)
    expected += (1 - belief) * gain(confidence, np.array([False]), cost)
    assert expected == pytest.approx(max(0.0, acting), abs=1e-6)


# -- the group ------------------------------------------------------------------------------------


def test_without_answers_nothing_is_known() -> None:
    assert calibration([]) is None


def test_a_confidence_beyond_certainty_is_refused() -> None:
    for wrong in (1.5, -0.1, math.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            calibration([Stated(0.5, True, "a"), Stated(wrong, True, "b")])


def test_where_all_were_right_or_wrong_skill_and_auroc_are_unknown() -> None:
    for right in (True, False):
        found = known([(0.9, right)] * 8)
        assert (found.skill, found.auroc, found.uncertainty) == (None, None, 0.0)


def test_the_base_rate_has_no_skill_and_a_sharper_agent_has() -> None:
    blind = known([(0.75, i % 4 != 0) for i in range(40)])
    assert blind.skill == pytest.approx(0.0)
    assert blind.auroc == 0.5
    assert blind.ece_mass.value == pytest.approx(0.0)
    sharp = known([(0.95 if i % 4 else 0.05, i % 4 != 0) for i in range(40)])
    assert sharp.skill is not None
    assert sharp.skill > 0.9


def test_ten_bins_from_three_hundred_answers_on() -> None:
    assert (bin_count(MANY - 1), bin_count(MANY)) == (5, 10)
    few = known([(0.5, True)])
    many = known([(0.5, True)] * MANY)
    assert (few.ece_width.bins, few.ece_mass.bins) == (5, 5)
    assert (many.ece_width.bins, many.ece_mass.bins) == (10, 10)


def test_repeats_of_one_incident_do_not_narrow_the_interval_of_overconfidence() -> None:
    once = [(0.9, i % 2 == 0) for i in range(10)]
    few, many = known(once, incidents=10), known(once * 20, incidents=10)
    assert (few.overconfidence_low, few.overconfidence_high) == pytest.approx(
        (many.overconfidence_low, many.overconfidence_high)
    )
    assert few.overconfidence_low is not None
    assert few.overconfidence_high is not None
    assert few.overconfidence_low < few.overconfidence < few.overconfidence_high


def test_incidents_that_are_all_alike_do_not_prove_certainty() -> None:
    # Half right of each: resampling would find half right for certain.
    for incidents in (1, 5):
        found = known([(0.9, i < incidents) for i in range(2 * incidents)], incidents=incidents)
        assert found.overconfidence == pytest.approx(0.4)
        bounds = wilson(incidents / 2, incidents)
        assert bounds is not None
        assert found.overconfidence_low == pytest.approx(0.9 - bounds[1])
        assert found.overconfidence_high == pytest.approx(0.9 - bounds[0])


def test_a_perfect_score_of_ten_incidents_does_not_prove_underconfidence() -> None:
    found = known([(0.9, True)] * 10, incidents=10)
    assert found.overconfidence == pytest.approx(-0.1)
    assert found.overconfidence_low == pytest.approx(-0.1)
    # Wilson: 10 of 10 leaves the share right down to 0.72.
    assert found.overconfidence_high == pytest.approx(0.9 - 0.7225, abs=1e-4)
