"""How far an incident is from its gate: factors of single SLIs, and what many seeds show."""

from __future__ import annotations

from typing import Any

import pytest

from aiopslab.grading import margins
from aiopslab.models.margin import Margin, Reading, SliName


def reading(sli: SliName, seen: float | None, bound: float) -> Reading:
    return Reading(journey="browse", sli=sli, seen=seen, bound=bound)


def shares(*seen: float) -> list[Reading]:
    return [reading("success", share, 0.9) for share in seen]


def margin(
    seed: int, faulty: list[Reading] | None = None, twin: list[Reading] | None = None, **more: Any
) -> Margin:
    found: dict[str, Any] = {"opened_s": 20.0 + seed, "seen": "browse success", **more}
    return Margin(
        incident="one",
        seed=seed,
        digest="d",
        faulty=shares(0.5) if faulty is None else faulty,
        twin=shares(0.99) if twin is None else twin,
        **found,
    )


@pytest.mark.parametrize(
    ("sli", "seen", "bound", "factor", "holds"),
    [
        ("success", 0.8, 0.9, 2.0, True),
        ("success", 0.95, 0.9, 0.5, False),
        ("p95", 1200.0, 400.0, 3.0, True),
        ("p95", 100.0, 400.0, 0.25, False),
        ("p95", None, 400.0, None, False),
        ("success", 0.99, 1.0, None, True),
    ],
)
def test_a_factor_is_times_the_bound(
    sli: SliName, seen: float | None, bound: float, factor: float | None, holds: bool
) -> None:
    found = reading(sli, seen, bound)
    assert found.factor == (factor if factor is None else pytest.approx(factor))
    assert found.holds is holds


def test_the_worst_sli_speaks_for_the_fault_and_the_nearest_for_the_twin() -> None:
    found = margin(
        0,
        faulty=[reading("success", 0.95, 0.9), reading("p95", 1600.0, 400.0)],
        twin=[reading("success", 0.99, 0.9), reading("p95", 200.0, 400.0)],
    )
    assert margins.beyond(found) == pytest.approx(4.0)
    assert margins.short(found) == pytest.approx(2.0)


def test_an_incident_is_as_far_as_its_nearest_seed() -> None:
    (row,) = margins.rows(
        [margin(0), margin(1, faulty=shares(0.8)), margin(2, faulty=shares(0.0), twin=shares(0.95))]
    )
    assert (row.seeds, row.failures) == (3, 0)
    assert (row.opened_median_s, row.opened_max_s) == (21.0, 22.0)
    assert row.faulty_min == pytest.approx(2.0)
    assert row.faulty_median == pytest.approx(5.0)
    assert row.twin_min == pytest.approx(2.0)


def test_where_alerts_alone_open_the_gate_there_is_no_factor() -> None:
    (row,) = margins.rows([margin(0, faulty=[], twin=[], seen="alert PodCrashLooping")])
    assert (row.faulty_min, row.twin_min, row.failures) == (None, None, 0)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"opened_s": None, "seen": "not seen within 60 s", "faulty": [], "twin": []}, "not seen"),
        ({"twin_seen": "alert HighErrorRatio"}, "open in the twin: alert HighErrorRatio"),
        ({"opened_s": None, "error": "baseline: not healthy"}, "baseline: not healthy"),
    ],
)
def test_a_draw_that_cannot_be_told_apart_fails_and_says_why(
    found: dict[str, Any], words: str
) -> None:
    failed = margin(0, **found)
    assert failed.failed
    assert words in margins.reason(failed)
    assert margins.reason(margin(0)) == ""


def test_one_draw_in_two_hundred_may_fail() -> None:
    good = [margin(seed) for seed in range(199)]
    bad = margin(199, twin_seen="alert")
    assert margins.acceptable([*good, bad])
    assert not margins.acceptable([*good[1:], bad])
    assert margins.acceptable([])


def test_of_a_gate_of_all_the_clause_nearest_to_its_bound_counts() -> None:
    found = margin(0, [reading("p95", 1600.0, 400.0), reading("p95", 600.0, 400.0)])
    assert margins.beyond(found) == pytest.approx(4.0)
    every = found.model_copy(update={"every": True})
    assert margins.beyond(every) == pytest.approx(1.5)
    assert margins.beyond(margin(0, [], every=True)) is None
