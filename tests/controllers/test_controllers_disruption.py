"""Disruption budgets over real rollouts: what they allow, and draining under them."""

from __future__ import annotations

from typing import Any

import pytest
from controllers_cluster import Cluster, deployment

from aiopslab.models.kube import KubeError
from aiopslab.world.kube.eviction import evict
from aiopslab.world.kube.objects import Object, is_true, name_of


def budget(name: str = "web", **spec: Any) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


@pytest.fixture
def web(cluster: Cluster) -> Cluster:
    cluster.create(deployment())
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 3))
    return cluster


def status(cluster: Cluster) -> Object:
    found: Object = cluster.get("pdb", "web").get("status") or {}
    return found


def evict_in_the_end(cluster: Cluster, name: str) -> list[int]:
    """Ask every second until a pod may go; returns the codes of the refusals."""
    refusals = []
    while True:
        assert sum(is_true(pod, "Ready") for pod in cluster.pods()) >= 2
        try:
            evict(cluster.api, name, "shop", actor="alice")
        except KubeError as error:
            refusals.append(error.code)
            cluster.wait(1)
        else:
            return refusals


@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [
        ({"minAvailable": 2}, 2, 1),
        ({"minAvailable": "50%"}, 2, 1),
        ({"maxUnavailable": 1}, 2, 1),
        ({"maxUnavailable": "34%"}, 1, 2),
        ({"minAvailable": 5}, 5, 0),
    ],
)
def test_a_budget_says_how_many_pods_may_go(
    web: Cluster, spec: Object, desired: int, allowed: int
) -> None:
    web.create(budget(**spec))
    web.wait(1)
    seen = status(web)
    assert (seen["currentHealthy"], seen["expectedPods"]) == (3, 3)
    assert (seen["desiredHealthy"], seen["disruptionsAllowed"]) == (desired, allowed)
    assert is_true(web.get("pdb", "web"), "DisruptionAllowed") is (allowed > 0)


def test_a_drain_goes_as_fast_as_replacements_become_ready(web: Cluster) -> None:
    web.create(budget(minAvailable=2))
    web.wait(1)
    old = [name_of(pod) for pod in web.pods()]
    refusals = [code for name in old for code in evict_in_the_end(web, name)]
    assert {*refusals} == {429}
    web.wait_for(lambda: not {name_of(pod) for pod in web.pods()} & set(old))
    web.wait_for(lambda: web.ready("Deployment", "web", 3))


def test_an_eviction_that_leads_nowhere_is_forgotten(web: Cluster) -> None:
    web.create(budget(minAvailable=2))
    web.wait(1)
    name = name_of(web.pods()[0])
    granted = {**status(web), "disruptionsAllowed": 0}
    granted["disruptedPods"] = {name: "2026-01-05T08:00:05Z"}
    web.api.update_status("PodDisruptionBudget", "web", "shop", granted, actor="system:test")
    web.wait(1)
    assert status(web)["disruptionsAllowed"] == 0
    web.wait(130)
    assert status(web)["disruptionsAllowed"] == 1
    assert "disruptedPods" not in status(web)


def test_a_pod_nobody_controls_has_no_share(web: Cluster) -> None:
    web.create(budget(maxUnavailable=1))
    stray = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stray", "namespace": "shop", "labels": {"app": "web", "x": "y"}},
        "spec": {"containers": [{"name": "main", "image": "web:1"}]},
    }
    web.create(stray)
    web.wait(2)
    # The Deployment's ReplicaSet does not adopt it: its hash label is missing.
    assert any("found no controllers" in text for text in web.events(
        "CalculateExpectedPodCountFailed"))  # fmt: skip
