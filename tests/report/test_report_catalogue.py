"""The catalogue pages: every incident appears; a drawn value is given as what it comes from."""

from __future__ import annotations

from typing import Any

import pytest

from aiopslab.models.incident import IncidentSpec, SuiteSpec
from aiopslab.problems import catalogue
from aiopslab.report.catalogue import pages


def incident(**fields: Any) -> IncidentSpec:
    base: dict[str, Any] = {
        "schema": "aiopslab/incident@1",
        "name": "some-incident",
        "title": "Something | happens",
        "app": "shop",
        "faults": [],
        "difficulty": {"hops": 2, "signals": ["logs", "sql"], "trap": "it looks fine"},
    }
    return IncidentSpec.model_validate({**base, **fields})


def entry(**fields: Any) -> str:
    return pages({"some-incident": incident(**fields)}, {})["shop.md"]


def test_every_public_incident_has_its_heading_and_its_row() -> None:
    specs = catalogue.incidents()
    found = pages(specs, catalogue.suites())
    for name, spec in specs.items():
        assert f"\n## {name}\n" in found[f"{spec.app}.md"]
        assert f"({spec.app}.md#{name})" in found["README.md"]


def test_a_drawn_target_is_given_as_its_choices() -> None:
    text = entry(
        draw={"store": {"selector": {"name": ["orders-postgres", "payments-postgres"]}}},
        faults=[{"kind": "database/revoked-grant", "target": "$store", "after": 30}],
    )
    assert "at one of `orders-postgres`, `payments-postgres` after 30 s" in text
    assert "cause kind `database_permission_revoked`" in text


def test_a_range_is_given_by_its_bounds_whether_drawn_by_name_or_in_place() -> None:
    named = entry(
        draw={"n": {"range": [24, 32]}},
        faults=[{"kind": "queue/poison-message", "target": "invoice", "params": {"count": "$n"}}],
    )
    placed = entry(
        faults=[
            {"kind": "queue/poison-message", "target": "invoice", "params": {"count": [24, 32]}}
        ]
    )
    assert "with count 24-32" in named
    assert "with count 24-32" in placed


def test_an_incident_without_fault_says_so_and_has_no_hops() -> None:
    text = entry(load={"scale": 1.2})
    assert "everything is fine" in text
    assert "1.2 times the usual" in text
    assert "hops" not in text


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"alert": "PodRestarting"}, "alert `PodRestarting` fires"),
        ({"sli": {"journey": "browse", "success_below": 0.9}}, "`browse`: success below 0.9"),
        ({"promql": "up == 0 | x"}, "`up == 0 \\| x` has a result"),
    ],
)
def test_the_gate_is_given_in_words(condition: dict[str, Any], words: str) -> None:
    assert words in entry(symptom={"any": [condition], "within": 90})


def test_a_gate_of_all_clauses_says_and() -> None:
    clauses = [{"alert": "A"}, {"alert": "B"}]
    text = entry(symptom={"all": clauses, "within": 90})
    assert "alert `A` fires; and alert `B` fires, within 90 s" in text


def test_two_faults_are_both_named_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = incident(
        faults=[
            {"kind": "database/revoked-grant", "target": "orders-postgres"},
            {"kind": "queue/poison-message", "target": "invoice"},
        ]
    )
    suite = SuiteSpec.model_validate(
        {
            "schema": "aiopslab/suite@1",
            "name": "both",
            "version": "1",
            "title": "Two at once",
            "incidents": ["some-incident"],
        }
    )
    monkeypatch.setattr(catalogue, "incidents", lambda: {spec.name: spec})
    found = pages({spec.name: spec}, {"both@1": suite})
    assert found["shop.md"].count("- **Fault**") == 2
    assert "| `both@1` | Two at once | 1 | 0 | 1 | 0 |" in found["README.md"]
