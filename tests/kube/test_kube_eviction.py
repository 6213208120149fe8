"""Eviction respects disruption budgets; their status is kept by a controller."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.kube import KubeError
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.controllers.disruption import _desired
from aiopslab.world.kube.eviction import evict
from aiopslab.world.kube.options import DeleteOptions

ACTOR = "alice"
NODE = "system:node:n"
Build = Callable[..., dict[str, Any]]
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


def budget(name: str = "web", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop"}
    spec = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": spec,
    }


def allow(api: ApiServer, disruptions: int, *, healthy: int = 2, desired: int = 2) -> None:
    status = {
        "disruptionsAllowed": disruptions,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": healthy,
        "observedGeneration": 1,
    }
    api.update_status("PodDisruptionBudget", "web", "shop", status, actor="system:test")


def running(api: ApiServer, pod: Build, name: str, *, ready: bool = True) -> None:
    api.create(pod(name), actor=ACTOR)
    api.bind(name, "shop", "n", actor="system:kube-scheduler")
    condition = {
        "type": "Ready",
        "status": str(ready),
        "lastTransitionTime": "2027-01-15T08:00:00Z",
    }
    status = {"phase": "Running", "conditions": [condition]}
    api.update_status("Pod", name, "shop", status, actor=NODE)


def refusal(call: Callable[[], Any]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        call()
    return caught.value


def is_going(api: ApiServer, name: str) -> bool:
    found = api.find("Pod", name, "shop")
    return found is None or "deletionTimestamp" in found["metadata"]


def test_a_pod_no_budget_covers_is_deleted_gracefully(api: ApiServer, pod: Build) -> None:
    running(api, pod, "web-1")
    evict(api, "web-1", "shop", actor=ACTOR)
    assert api.get("Pod", "web-1", "shop")["metadata"]["deletionGracePeriodSeconds"] == 30


def test_each_eviction_takes_one_disruption_and_the_last_is_refused(
    api: ApiServer, pod: Build
) -> None:
    for name in ("web-1", "web-2"):
        running(api, pod, name)
    api.create(budget(minAvailable=1), actor=ACTOR)
    allow(api, 1, desired=1)
    evict(api, "web-1", "shop", actor=ACTOR)
    assert is_going(api, "web-1")
    status = api.get("pdb", "web", "shop")["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["web-1"]
    error = refusal(lambda: evict(api, "web-2", "shop", actor=ACTOR))
    assert (error.code, error.reason, error.message) == (429, "TooManyRequests", REFUSED)
    why = "The disruption budget web needs 1 healthy pods and has 2 currently"
    assert error.details["causes"] == [{"reason": "DisruptionBudget", "message": why}]
    assert not is_going(api, "web-2")


def test_a_budget_nobody_looked_at_yet_asks_to_come_again(api: ApiServer, pod: Build) -> None:
    running(api, pod, "web-1")
    api.create(budget(minAvailable=1), actor=ACTOR)
    error = refusal(lambda: evict(api, "web-1", "shop", actor=ACTOR))
    assert error.code == 429
    assert error.details["retryAfterSeconds"] == 10
    assert "still being processed" in error.details["causes"][0]["message"]


def test_a_pod_under_two_budgets_cannot_be_evicted(api: ApiServer, pod: Build) -> None:
    running(api, pod, "web-1")
    for name in ("web", "other"):
        api.create(budget(name, minAvailable=1), actor=ACTOR)
    assert refusal(lambda: evict(api, "web-1", "shop", actor=ACTOR)).code == 500


def test_an_unready_pod_goes_only_while_enough_others_are_healthy(
    api: ApiServer, pod: Build
) -> None:
    for name in ("web-1", "web-2"):
        running(api, pod, name, ready=False)
    api.create(budget(minAvailable=2), actor=ACTOR)
    allow(api, 0, healthy=1, desired=2)
    assert refusal(lambda: evict(api, "web-1", "shop", actor=ACTOR)).code == 429
    allow(api, 0, healthy=2, desired=2)
    evict(api, "web-1", "shop", actor=ACTOR)
    assert is_going(api, "web-1")


def test_a_dry_run_and_a_failed_precondition_evict_nothing(api: ApiServer, pod: Build) -> None:
    running(api, pod, "web-1")
    api.create(budget(minAvailable=1), actor=ACTOR)
    allow(api, 1)
    evict(api, "web-1", "shop", actor=ACTOR, options=DeleteOptions(dry_run=True))
    error = refusal(
        lambda: evict(api, "web-1", "shop", actor=ACTOR, options=DeleteOptions(uid="other"))
    )
    assert error.code == 409
    assert not is_going(api, "web-1")
    assert api.get("pdb", "web", "shop")["status"]["disruptionsAllowed"] == 1


def test_an_eviction_needs_a_pod_and_the_right(api: ApiServer, pod: Build) -> None:
    assert refusal(lambda: evict(api, "nobody", "shop", actor=ACTOR)).code == 404
    running(api, pod, "web-1")
    api.allowed = lambda actor, verb, kind, namespace: False
    assert refusal(lambda: evict(api, "web-1", "shop", actor=ACTOR)).code == 403


@given(st.integers(0, 50), st.integers(0, 100))
def test_a_share_leaves_what_it_says(expected: int, percent: int) -> None:
    least = _desired({"minAvailable": f"{percent}%"}, expected)
    assert least * 100 >= percent * expected
    most = expected - _desired({"maxUnavailable": f"{percent}%"}, expected)
    assert most * 100 >= percent * expected
    assert _desired({"maxUnavailable": 3}, expected) == max(0, expected - 3)


def test_names_are_drawn_for_pods_that_have_only_a_prefix(api: ApiServer, pod: Build) -> None:
    made = []
    for _ in itertools.repeat(None, 3):
        sent = pod()
        del sent["metadata"]["name"]
        sent["metadata"]["generateName"] = "web-"
        made.append(api.create(sent, actor=ACTOR)["metadata"]["name"])
    assert len({*made}) == 3
    assert all(len(name) == len("web-") + 5 for name in made)
