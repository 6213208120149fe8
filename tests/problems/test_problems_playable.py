"""Where incidents can be played: what their faults, distractors and app say of it."""

from __future__ import annotations

import pytest

from aiopslab.faults import registry
from aiopslab.models.support import ENVIRONMENTS, Support, everywhere, simulated
from aiopslab.orchestrator.lock import incident_digest, of_incident
from aiopslab.problems import catalogue, distractors
from aiopslab.problems.playable import count, obstacles, playable, playing

AT_LEAST_ON_KIND = 35
FAMILIES_ON_KIND = {
    "cache", "certificate", "config", "database", "kubernetes", "network", "partner", "pod",
    "queue", "quota", "release", "resources", "scheduling", "service", "traffic", "workload",
}  # fmt: skip


def supports() -> dict[str, Support]:
    faults = {kind: cls.support for kind, cls in registry.KINDS.items()}
    return faults | {kind: cls.support for kind, cls in distractors.KINDS.items()}


@pytest.mark.parametrize("kind", sorted(supports()))
def test_every_kind_exists_in_the_simulated_world_and_says_why_if_nowhere_else(kind: str) -> None:
    support = supports()[kind]
    assert support.on("sim")
    assert set(support.environments) <= set(ENVIRONMENTS)
    assert support.on("kind") or support.note


def test_enough_kinds_of_all_families_that_kubernetes_knows_run_on_a_cluster() -> None:
    there = [kind for kind, cls in registry.KINDS.items() if cls.support.on("kind")]
    assert len(there) >= AT_LEAST_ON_KIND
    assert {kind.partition("/")[0] for kind in there} >= FAMILIES_ON_KIND


def test_every_incident_is_playable_in_the_simulated_world() -> None:
    specs = catalogue.incidents().values()
    assert count(specs)["sim"] == len(specs)


def test_an_incident_is_playable_where_all_it_is_made_of_exists_and_it_can_show() -> None:
    for spec in catalogue.incidents().values():
        kinds = [f.kind for f in spec.faults] + [d.kind for d in spec.distractors]
        there = all(supports()[kind].on("kind") for kind in kinds) and not spec.simulated_only
        assert playable(spec, "kind") is (there and spec.app != "llmserve")
        assert playing(spec)[0] == "sim"


def test_obstacles_name_the_kind_and_the_reason() -> None:
    found = obstacles(catalogue.load_incident("node-noisy-neighbour"), "kind")
    assert [reason.partition(":")[0] for reason in found] == ["node/noisy-neighbour"]
    assert registry.find("node/noisy-neighbour").support.note in found[0]


def test_an_incident_that_would_not_show_there_says_why() -> None:
    spec = catalogue.load_incident("release-query-regression")
    assert obstacles(spec, "sim") == []
    assert obstacles(spec, "kind") == [f"its symptom: {spec.simulated_only}"]


def test_where_an_incident_can_be_played_does_not_make_it_another_one() -> None:
    spec = catalogue.load_incident("release-query-regression")
    anywhere = spec.model_copy(update={"simulated_only": ""})
    assert of_incident(anywhere) == of_incident(spec)
    assert incident_digest(anywhere) == incident_digest(spec)


def test_an_app_that_is_tied_to_machines_of_its_own_stays_in_the_simulated_world() -> None:
    calm = next(s for s in catalogue.incidents().values() if s.app == "llmserve" and not s.faults)
    assert any(reason.startswith("llmserve") for reason in obstacles(calm, "kind"))


def test_what_is_modelled_is_said_where_it_is_modelled() -> None:
    assert everywhere("the defect").on("kind")
    assert everywhere("the defect").note == "the defect"
    assert not simulated("no such thing").on("kind")
