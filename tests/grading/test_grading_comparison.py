"""Pairs of trials to figures: tests against written sums, golden numbers, and properties."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading.comparison import (
    Pair,
    Played,
    differences,
    flips,
    score_differences,
    significant,
    undecided,
)
from aiopslab.grading.statistics import Z80, Z95, holm, mcnemar, minimum_detectable_difference
from aiopslab.models.comparison import TaskDifference
from aiopslab.models.task import TASKS, Task
from aiopslab.models.trial import Outcome

# n pairs: the difference that shows with 10, 20 and 30 % discordant.
GOLDEN_DETECTABLE = {
    45: (0.132, 0.187, 0.229),
    50: (0.125, 0.177, 0.217),
    68: (0.107, 0.152, 0.186),
    100: (0.089, 0.125, 0.153),
    200: (0.063, 0.089, 0.109),
    335: (0.048, 0.068, 0.084),
    656: (0.035, 0.049, 0.060),
    1000: (0.028, 0.040, 0.049),
}


def pair(
    incident: str,
    a: bool | Outcome,
    b: bool | Outcome,
    *,
    task: Task = "detection",
    seed: int = 0,
    scores: tuple[float | None, float | None] = (None, None),
) -> Pair:
    sides = [
        Played(("passed" if o else "failed") if isinstance(o, bool) else o, {"brier": score})
        for o, score in zip((a, b), scores, strict=True)
    ]
    return Pair(f"{incident}-{task}", incident, task, seed, *sides)


def mirrored(pairs: list[Pair]) -> list[Pair]:
    return [Pair(p.problem, p.incident, p.task, p.seed, p.b, p.a) for p in pairs]


draws = st.lists(
    st.tuples(
        st.integers(0, 4), st.sampled_from(TASKS), st.integers(0, 2),
        st.booleans(), st.booleans(), st.none() | st.floats(0, 1), st.none() | st.floats(0, 1),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda row: row[:3],
).map(
    lambda rows: [
        pair(f"i{i}", a, b, task=task, seed=seed, scores=(x, y))
        for i, task, seed, a, b, x, y in rows
    ]
)  # fmt: skip


# -- tests of plain numbers -----------------------------------------------------------------------


def chance_of(gained: int, n: int) -> Fraction:
    return Fraction(math.comb(n, gained), 2**n)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_sum_of_all_splits_that_are_no_likelier(gained: int, lost: int) -> None:
    n, seen = gained + lost, chance_of(gained, gained + lost)
    exact = sum(c for k in range(n + 1) if (c := chance_of(k, n)) <= seen)
    assert mcnemar(gained, lost) == pytest.approx(float(exact))
    assert mcnemar(gained, lost) == mcnemar(lost, gained)


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (1, 1, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (1, 7, 18 / 256), (0, 12, 2**-11)],
)
def test_mcnemar_of_known_tables(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p)


def test_mcnemar_holds_beyond_what_a_float_can_count() -> None:
    assert mcnemar(1000, 1000) == 1.0
    assert mcnemar(0, 2000) == 0.0
    assert 0.0 < mcnemar(900, 1100) < 1e-4


def test_holm_of_a_written_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1.0 for p, q in zip(p_values, adjusted, strict=True))
    m = len(p_values)
    # In order of their size, until the first is above its bound; none after it.
    ordered = sorted(p_values)
    bound = list(itertools.takewhile(lambda ip: ip[1] * (m - ip[0]) <= 0.05, enumerate(ordered)))
    assert sum(q <= 0.05 for q in adjusted) == len(bound)


@pytest.mark.parametrize("n", sorted(GOLDEN_DETECTABLE))
def test_the_minimum_detectable_difference_matches_the_table(n: int) -> None:
    found = [minimum_detectable_difference(n, discordant=share) for share in (0.1, 0.2, 0.3)]
    assert found == pytest.approx(GOLDEN_DETECTABLE[n], abs=6e-4)


# -- pairs ----------------------------------------------------------------------------------------


def row(pairs: list[Pair]) -> TaskDifference:
    return differences(pairs)[0]


@given(draws)
def test_a_side_against_itself_shows_nothing(pairs: list[Pair]) -> None:
    same = [Pair(p.problem, p.incident, p.task, p.seed, p.a, p.a) for p in pairs]
    overall, tasks = differences(same)
    for found in [overall, *tasks]:
        assert (found.gained, found.lost, found.difference.value) == (0, 0, 0.0)
        assert (found.p, found.p_holm) == (1.0, 1.0)
        assert found.difference.low is not None
        assert found.difference.high is not None
        assert found.difference.low == -found.difference.high < 0
    assert flips(same) == []
    assert significant(overall, tasks, worse=True) == []
    assert all(s.difference.value == 0.0 for s in score_differences(same))


@given(draws)
def test_the_other_way_round_is_the_mirror(pairs: list[Pair]) -> None:
    there, back = differences(pairs), differences(mirrored(pairs))
    for one, other in zip([there[0], *there[1]], [back[0], *back[1]], strict=True):
        assert (one.gained, one.lost) == (other.lost, other.gained)
        assert (one.n, one.both, one.neither) == (other.n, other.both, other.neither)
        assert (one.p, one.p_holm, one.detectable) == (other.p, other.p_holm, other.detectable)
        assert_mirrored(one.difference, other.difference)
    assert significant(*there, worse=True) == significant(*back, worse=False)
    assert {(f.problem, f.seed, f.gained) for f in flips(pairs)} == {
        (f.problem, f.seed, not f.gained) for f in flips(mirrored(pairs))
    }
    scores = zip(score_differences(pairs), score_differences(mirrored(pairs)), strict=True)
    for left, right in scores:
        assert (left.mean_a, left.mean_b) == (right.mean_b, right.mean_a)
        assert_mirrored(left.difference, right.difference)


def assert_mirrored(one, other) -> None:
    def close(value: float | None) -> object:
        return value if value is None else pytest.approx(-value, abs=1e-9)

    assert one.value == close(other.value)
    assert (one.low, one.high) == (close(other.high), close(other.low))
    assert one.method == other.method


@given(draws)
def test_counts_and_intervals_hold_together_in_any_order(pairs: list[Pair]) -> None:
    overall, tasks = differences(pairs)
    assert differences(pairs[::-1]) == (overall, tasks)
    assert sum(t.n for t in tasks) == overall.n == len(pairs)
    for found in [overall, *tasks]:
        assert found.both + found.gained + found.lost + found.neither == found.n
        estimate = found.difference
        assert estimate.value == pytest.approx(found.share_b - found.share_a)
        if estimate.low is not None:
            assert estimate.high is not None
            assert -1.0 <= estimate.low <= estimate.high <= 1.0
            assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9
        assert found.p <= found.p_holm


def test_of_one_task_the_row_of_all_is_no_further_test() -> None:
    pairs = [pair(f"i{i}", True, False) for i in range(6)]
    overall, (task,) = differences(pairs)
    assert overall == task.model_copy(update={"task": "all"})
    assert overall.p_holm == overall.p == 0.03125
    assert significant(overall, [task], worse=True) == ["detection"]
    assert significant(overall, [task], worse=False) == []


def test_correction_is_over_the_tasks_and_all_together() -> None:
    pairs = [pair(f"i{i}", True, False) for i in range(6)]
    pairs += [pair(f"i{i}", True, True, task="diagnosis") for i in range(6)]
    overall, tasks = differences(pairs)
    assert [t.p for t in tasks] == [0.03125, 1.0]
    # Three rows: 3 x 0.03125 is above the level, though one task alone would be below.
    assert tasks[0].p_holm == overall.p_holm == pytest.approx(0.09375)
    assert significant(overall, tasks, worse=True) == []


def test_where_everything_flips_the_interval_is_as_wide_as_the_incidents_are_few() -> None:
    few = row([pair(f"i{i}", False, True, seed=s) for i in range(3) for s in range(5)])
    many = row([pair(f"i{i}", False, True) for i in range(15)])
    assert few.difference.method == many.difference.method == "wilson"
    assert few.difference.low is not None
    assert many.difference.low is not None
    assert few.difference.low < 0 < many.difference.low < many.difference.high == 1.0


def test_incidents_that_all_gain_as_much_leave_the_difference_an_interval() -> None:
    gained = [pair(f"i{i}", False, True) for i in range(6)]
    found = row([*gained, *(pair(f"i{i}", False, False, seed=1) for i in range(6))]).difference
    assert (found.value, found.method) == (0.5, "wilson")
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high


def test_what_is_not_discordant_does_not_claim_to_see_everything() -> None:
    alike = row([pair(f"i{i}", True, True) for i in range(100)])
    # Wilson's upper bound of 0 in 100 is 0.037; a difference of that size needs z^2 / n = 0.078.
    assert alike.detectable == pytest.approx((Z95 + Z80) ** 2 / 100)
    mixed = row([pair(f"i{i}", i % 2 == 0, i % 4 < 2) for i in range(100)])
    assert mixed.detectable is not None
    assert mixed.detectable > minimum_detectable_difference(100, discordant=0.5)
    assert row([pair("i", True, True)]).detectable is None


def test_pairs_that_cannot_show_a_loss_leave_it_undecided() -> None:
    five = differences([pair(f"i{i}", True, True) for i in range(5)])[1]
    assert undecided(five, 1.0) == "5 pairs cannot show it, even if B failed in all"
    six = differences([pair(f"i{i}", True, True) for i in range(6)])[1]
    assert undecided(six, 1.0) == ""
    assert undecided(six, 0.95) == ""
    assert undecided(six, 0.9) == "only 90% of what both were asked could be paired"


def test_a_limit_and_an_agents_failure_are_not_passed() -> None:
    found = row([pair("i", "passed", "limit"), pair("j", "agent_error", "failed")])
    assert (found.lost, found.neither) == (1, 1)


def test_flips_name_what_is_lost_first() -> None:
    found = flips([pair("b", False, True), pair("a", False, True), pair("c", "passed", "limit")])
    assert [(f.problem, f.gained) for f in found] == [
        ("c-detection", False), ("a-detection", True), ("b-detection", True),
    ]  # fmt: skip
    assert (found[0].a, found[0].b) == ("passed", "limit")


def test_a_score_counts_only_where_both_have_it() -> None:
    pairs = [
        pair("a", True, True, scores=(0.1, 0.3)),
        pair("b", True, True, scores=(0.2, 0.2)),
        pair("c", True, True, scores=(None, 0.9)),
    ]
    (found,) = score_differences(pairs)
    assert (found.score, found.task, found.n) == ("brier", "detection", 2)
    assert (found.mean_a, found.mean_b) == (pytest.approx(0.15), pytest.approx(0.25))
    assert found.difference.value == pytest.approx(0.1)
    assert found.difference.method == "cluster-bootstrap"


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        differences([])
