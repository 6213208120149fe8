"""Counting incidents: what is counted once, what twice, what not."""

from __future__ import annotations

from typing import Any

from aiopslab.models.incident import IncidentSpec
from aiopslab.problems import catalogue
from aiopslab.problems.census import census


def incident(name: str, *kinds: str, distractors: tuple[str, ...] = ()) -> IncidentSpec:
    raw: dict[str, Any] = {
        "schema": "aiopslab/incident@1", "name": name, "title": name, "app": "hotel",
        "faults": [{"kind": kind, "target": "geo"} for kind in kinds],
        "distractors": [{"kind": kind, "target": "geo"} for kind in distractors],
        "difficulty": {"hops": len(kinds), "signals": []},
    }  # fmt: skip
    return IncidentSpec.model_validate(raw)


def test_an_incident_with_two_faults_counts_in_both_families_and_once_overall() -> None:
    found = census([incident("a", "release/errors", "service/selector"), incident("b")])
    assert found.incidents == 2
    assert found.families == {"release": 1, "service": 1}
    assert (found.kinds, found.several_faults, found.without_fault) == (2, 1, 1)


def test_only_a_rollout_beside_a_fault_is_loud_and_innocent() -> None:
    rollout, config = "change/innocent-rollout", "change/innocent-config"
    found = census([
        incident("a", "release/errors", distractors=(rollout,)),
        incident("b", "release/errors", distractors=(config,)),
        incident("c", distractors=(rollout,)),
    ])  # fmt: skip
    assert (found.loud_and_innocent, found.with_distractors) == (1, 3)


def test_the_catalogue_is_counted_whole() -> None:
    found = census(catalogue.incidents().values())
    assert found.incidents == len(catalogue.incidents()) == sum(found.apps.values())
    assert found.causes <= found.kinds
