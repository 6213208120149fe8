"""What a repair did beside repairing: collateral changes, what it took back, what it asks for."""

from __future__ import annotations

from typing import Any

import pytest
from grading_cases import RATE, healthy, step, truth
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading.side_effects import added_requests, collateral, reverts, side_effects
from aiopslab.models.evidence import Evidence, ObjectChange, Requests
from aiopslab.models.trial import Step
from aiopslab.models.truth import FixStep


def deployment(name: str, replicas: int, **meta: Any) -> dict[str, Any]:
    return {
        "kind": "Deployment", "metadata": {"name": name, **meta}, "spec": {"replicas": replicas},
        "status": {"readyReplicas": replicas},
    }  # fmt: skip


def write(n: int, before: Any, after: Any, **fields: Any) -> Step:
    return step(n, "k8s_scale", effect="write", before=before, after=after, **fields)


def scaled(n: int, old: int, new: int, name: str = "geo") -> Step:
    before, after = deployment(name, old, resourceVersion=str(n)), deployment(name, new)
    return write(n, before, after)


def changed(ref: str) -> ObjectChange:
    return ObjectChange(ref=ref, change="spec.replicas: 2 -> 3")


def test_what_the_agent_changed_and_the_fix_did_not_need_is_collateral() -> None:
    left = healthy(changes=[changed(f"Deployment/hotel/{n}") for n in ("rate", "geo", "user")])
    steps = [scaled(1, 2, 3, "rate"), scaled(2, 2, 3, "geo")]
    assert collateral(truth(RATE), left, steps) == ["Deployment/hotel/geo"]
    assert collateral(truth(RATE), left, []) == [], "what changes by itself is nobody's"


def test_what_the_reference_fix_names_is_needed() -> None:
    fix = [FixStep(tool="k8s_scale", arguments={"kind": "Deployment", "name": "geo"})]
    left = healthy(changes=[changed("Deployment/hotel/geo")])
    assert collateral(truth(RATE, fix=fix), left, [scaled(1, 2, 3)]) == []


def test_a_change_that_was_taken_back_leaves_no_collateral_and_a_loss_always_does() -> None:
    assert collateral(truth(RATE), healthy(), [scaled(1, 2, 3), scaled(2, 3, 2)]) == []
    gone = healthy(losses=[ObjectChange(ref="table:rate-postgres/rates", change="rows: 9 -> 0")])
    assert collateral(truth(RATE), gone, []) == ["table:rate-postgres/rates"]


def test_what_an_end_that_nobody_measured_left_is_unknown() -> None:
    found = side_effects(truth(RATE), Evidence(), [scaled(1, 2, 5), scaled(2, 5, 2)])
    assert (found["collateral"], found["reverts"]) == (None, 1.0)


def test_a_write_that_brings_an_object_back_to_its_former_state_is_a_revert() -> None:
    assert reverts([scaled(1, 2, 5), scaled(2, 5, 2)]) == 1
    assert reverts([scaled(1, 2, 5), scaled(2, 5, 3), scaled(3, 3, 2)]) == 1
    assert reverts([scaled(1, 2, 5), scaled(2, 5, 7)]) == 0
    assert reverts([scaled(1, 2, 5, "geo"), scaled(2, 5, 2, "rate")]) == 0


def test_deleting_what_was_added_and_adding_what_was_deleted_are_reverts() -> None:
    made, gone = write(1, None, deployment("x", 1)), write(2, deployment("x", 1), None)
    assert reverts([made, gone]) == 1
    assert reverts([write(1, deployment("x", 1), None), write(2, None, deployment("x", 1))]) == 1


def test_refused_and_idle_writes_take_nothing_back() -> None:
    assert reverts([scaled(1, 2, 2), scaled(2, 2, 2)]) == 0
    refused = scaled(2, 5, 2).model_copy(update={"ok": False})
    assert reverts([scaled(1, 2, 5), refused]) == 0


@given(st.lists(st.integers(0, 3), max_size=8))
def test_there_are_never_more_reverts_than_writes_after_the_first(counts: list[int]) -> None:
    steps = [
        scaled(i, old, new)
        for i, (old, new) in enumerate(zip([2, *counts], counts, strict=False), 1)
    ]
    assert 0 <= reverts(steps) <= max(0, len(steps) - 1)


def test_what_workloads_ask_for_is_held_against_before_and_the_owners_budget() -> None:
    asked = {
        "requests_before": Requests(cpu=2.0, memory=1000.0, replicas=4),
        "requests_after": Requests(cpu=2.25, memory=900.0, replicas=5),
        "cpu_growth_allowed": 0.25,
    }
    assert added_requests(healthy(**asked)) == pytest.approx(
        {"cpu_added": 0.25, "memory_added": -100.0, "replicas_added": 1.0, "budget_used": 0.5}
    )
    none = added_requests(healthy(**asked | {"cpu_growth_allowed": 0.0}))
    assert none["budget_used"] is None
    assert set(added_requests(healthy()).values()) == {None}
