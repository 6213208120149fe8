"""How agreement between the simulated world and a cluster is put into words."""

from __future__ import annotations

import pytest

from aiopslab.models.agreement import Agreement, Showing, alike
from aiopslab.report.fidelity import agreement_rows, differences, summary


def agreement(simulated: Showing, real: Showing) -> Agreement:
    """A row of one incident."""
    return Agreement(
        incident="release-errors", seed=0, digest="d", environment="kind", agent="statistical",
        simulated=simulated, real=real,
    )  # fmt: skip


SHOWN = Showing(
    broken=["search"], alerts={"HighErrorRate": 90.0}, watched_s=200.0, restored=True,
    answer=("rate", "errors_in_release"), opened_s=25.0,
)  # fmt: skip


def test_two_sides_that_show_the_same_agree_in_everything_and_need_no_words() -> None:
    found = [agreement(SHOWN, SHOWN)]
    _, rows = agreement_rows(found)
    assert rows == [["release-errors", "0", "25 / 25", "1.00", "1.00", "yes", "yes"]]
    assert differences(found) == []
    assert summary(found)[0] == "1 of 1 incidents came to the hand-over on both"
    assert all(line.endswith("1 of 1") for line in summary(found)[1:])


def test_what_one_side_alone_shows_is_named_with_the_side() -> None:
    other = SHOWN.model_copy(
        update={
            "alerts": {"PodRestarting": 130.0},
            "restored": False,
            "answer": None,
            "opened_s": 100.4,
        }
    )
    found = [agreement(SHOWN, other)]
    (line,) = differences(found)
    assert "alert HighErrorRate only simulated" in line
    assert "alert PodRestarting only on the cluster" in line
    assert "the fix does not restore it on the cluster" in line
    assert "answer rate / errors_in_release, on the cluster none" in line
    (row,) = agreement_rows(found)[1]
    assert row == ["release-errors", "0", "25 / 100", "1.00", "0.00", "no", "no"]


@pytest.mark.parametrize(("watched_s", "share"), [(149.0, 1.0), (150.0, 0.5)])
def test_an_alert_is_missed_only_where_it_was_watched_for_long_enough(
    watched_s: float, share: float
) -> None:
    late = SHOWN.model_copy(update={"alerts": {"HighErrorRate": 20.0, "HighLatency": 90.0}})
    brief = SHOWN.model_copy(update={"alerts": {"HighErrorRate": 89.0}, "watched_s": watched_s})
    assert agreement(late, brief).alerts == share
    assert agreement(brief, late).alerts == share
    assert bool(differences([agreement(late, brief)])) is (share < 1.0)


def test_an_incident_that_could_not_be_staged_counts_as_unknown_never_as_disagreement() -> None:
    found = [agreement(SHOWN, Showing(error="ready: pod geo-0 is not ready"))]
    assert agreement_rows(found)[1] == [["release-errors", "0", "25 / -", "-", "-", "-", "-"]]
    assert summary(found)[1] == "the same SLIs are broken: 0 of 0"
    (line,) = differences(found)
    assert "cluster: ready: pod geo-0 is not ready" in line


def test_two_empty_sets_are_alike() -> None:
    assert alike([], []) == 1.0
    assert alike(["a", "b"], ["b", "c"]) == 1 / 3
