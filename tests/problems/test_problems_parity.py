"""The counterparts of AIOpsLab's fault families: all of them, and the suite is made of them."""

from __future__ import annotations

from aiopslab.problems import catalogue
from aiopslab.problems.parity import counterparts


def test_all_26_distinct_families_are_listed_once() -> None:
    families = [entry.family for entry in counterparts()]
    assert len(families) == len(set(families)) == 26
    assert "pod_kill" not in families, "it injects what pod_failure does"


def test_no_incident_stands_for_two_families() -> None:
    incidents = [entry.incident for entry in counterparts()]
    assert len(incidents) == len(set(incidents))


def test_every_counterpart_is_in_the_catalogue() -> None:
    named = {entry.incident for entry in counterparts()}
    assert named <= set(catalogue.incidents())


def test_the_suite_holds_the_counterparts_and_nothing_else() -> None:
    suite = next(s for s in catalogue.suites().values() if s.name == "aiopslab-parity")
    assert set(suite.incidents) == {e.incident for e in counterparts()}


def test_a_counterpart_that_differs_says_how() -> None:
    for entry in counterparts():
        assert not entry.differs or entry.differs.endswith("."), entry.family
