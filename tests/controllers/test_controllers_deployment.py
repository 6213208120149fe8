"""Deployments and ReplicaSets, run by the real controllers, scheduler and kubelets."""

from __future__ import annotations

from typing import Any

import pytest
from controllers_cluster import Cluster, container, deployment

from aiopslab.world.kube import revisions
from aiopslab.world.kube.objects import Object, condition, is_true, name_of
from aiopslab.world.kube.options import DeleteOptions
from aiopslab.world.kube.revisions import Revision


def set_image(image: str) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}


def images(cluster: Cluster) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in cluster.pods("app=web")}


def progressing(cluster: Cluster) -> Object:
    return condition(cluster.get("Deployment", "web"), "Progressing") or {}


def settled(cluster: Cluster, count: int) -> bool:
    status = cluster.get("Deployment", "web").get("status") or {}
    fields = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return all(status.get(field, 0) == count for field in fields)


@pytest.fixture
def web(cluster: Cluster) -> Cluster:
    cluster.create(deployment())
    cluster.wait_for(lambda: settled(cluster, 3))
    return cluster


def test_pods_become_ready_and_the_conditions_say_so(web: Cluster) -> None:
    found = web.get("Deployment", "web")
    assert is_true(found, "Available")
    assert progressing(web)["reason"] == "NewReplicaSetAvailable"
    assert revisions.revision(found) == 1
    assert web.events("ScalingReplicaSet")[0].endswith("from 0 to 3")
    assert len({pod["spec"]["nodeName"] for pod in web.pods()}) == 3


def test_a_rollout_keeps_availability_and_surge_within_bounds(web: Cluster) -> None:
    web.patch("Deployment", "web", set_image("web:2"))
    while not (images(web) == {"web:2"} and settled(web, 3)):
        status = web.get("Deployment", "web")["status"]
        assert status.get("availableReplicas", 0) >= 3
        assert status["replicas"] <= 4
        web.wait(0.1)
    assert revisions.revision(web.get("Deployment", "web")) == 2


def test_a_rollout_to_a_missing_image_leaves_the_old_pods_serving(web: Cluster) -> None:
    web.patch("Deployment", "web", set_image("web:gone") | {})
    web.wait(60)
    status = web.get("Deployment", "web")["status"]
    assert status["readyReplicas"] == 3
    assert status["updatedReplicas"] == 1
    stuck = [p for p in web.pods() if p["spec"]["containers"][0]["image"] == "web:gone"]
    reason = web.state(name_of(stuck[0]))["state"]["waiting"]["reason"]
    assert reason in ("ErrImagePull", "ImagePullBackOff")


def test_a_stuck_rollout_exceeds_its_deadline(web: Cluster) -> None:
    web.patch("Deployment", "web", {"spec": {"progressDeadlineSeconds": 60}})
    web.patch("Deployment", "web", set_image("web:gone"))
    web.wait(58)
    assert progressing(web)["reason"] == "ReplicaSetUpdated"
    web.wait(15)
    assert progressing(web)["status"] == "False"
    assert progressing(web)["reason"] == "ProgressDeadlineExceeded"


def history(web: Cluster) -> list[Revision]:
    return revisions.history(web.get("Deployment", "web"), web.api.list("ReplicaSet", "shop"))


def test_undo_goes_back_and_renumbers_the_revision(web: Cluster) -> None:
    web.patch("Deployment", "web", set_image("web:2"))
    web.wait_for(lambda: images(web) == {"web:2"} and settled(web, 3))
    patch = revisions.undo_patch(history(web)[-2])
    web.patch("Deployment", "web", patch, type="json")
    web.wait_for(lambda: images(web) == {"web:1"} and settled(web, 3))
    assert [entry.number for entry in history(web)] == [2, 3]
    assert len(web.api.list("ReplicaSet", "shop")) == 2


def test_restart_replaces_every_pod(web: Cluster) -> None:
    before = {name_of(pod) for pod in web.pods()}
    web.patch("Deployment", "web", revisions.restart_patch(web.loop.time()))
    web.wait_for(lambda: not before & {name_of(p) for p in web.pods()} and settled(web, 3))


def test_recreate_ends_the_old_pods_before_it_starts_new_ones(cluster: Cluster) -> None:
    cluster.create(deployment(strategy={"type": "Recreate"}))
    cluster.wait_for(lambda: settled(cluster, 3))
    cluster.patch("Deployment", "web", set_image("web:2"))
    while not (images(cluster) == {"web:2"} and settled(cluster, 3)):
        assert len(images(cluster)) <= 1
        cluster.wait(0.1)


def test_a_paused_deployment_is_resized_but_not_rolled(web: Cluster) -> None:
    web.patch("Deployment", "web", {"spec": {"paused": True, "replicas": 5}})
    web.patch("Deployment", "web", set_image("web:2"))
    web.wait_for(lambda: len(web.pods()) == 5)
    web.wait(10)
    assert images(web) == {"web:1"}
    assert progressing(web)["reason"] == "DeploymentPaused"
    web.patch("Deployment", "web", {"spec": {"paused": False}})
    web.wait_for(lambda: images(web) == {"web:2"} and settled(web, 5))


def test_scaling_to_zero_and_back(web: Cluster) -> None:
    scale = {"spec": {"replicas": 0}}
    web.patch("Deployment", "web", scale, type="merge", subresource="scale")
    web.wait_for(lambda: not web.pods())
    assert is_true(web.get("Deployment", "web"), "Available")
    web.patch("Deployment", "web", {"spec": {"replicas": 2}})
    web.wait_for(lambda: settled(web, 2))


def test_resizing_in_the_middle_of_a_rollout_ends_with_the_new_size(web: Cluster) -> None:
    web.patch("Deployment", "web", set_image("web:2"))
    web.wait(2)
    web.patch("Deployment", "web", {"spec": {"replicas": 6}})
    web.wait_for(lambda: images(web) == {"web:2"} and settled(web, 6))


def test_scale_down_takes_the_pod_that_is_not_ready(web: Cluster) -> None:
    web.patch("Deployment", "web", set_image("web:gone"))
    web.wait(5)
    patch = revisions.undo_patch(history(web)[-2])
    before = {name_of(p) for p in web.pods() if p["spec"]["containers"][0]["image"] == "web:1"}
    web.patch("Deployment", "web", patch, type="json")
    web.wait_for(lambda: {name_of(pod) for pod in web.pods()} == before)


def test_a_deleted_pod_is_replaced(web: Cluster) -> None:
    victim = name_of(web.pods()[0])
    web.api.delete("Pod", victim, "shop", actor="alice")
    web.wait_for(lambda: victim not in {name_of(pod) for pod in web.pods()} and settled(web, 3))


def test_deleting_a_deployment_takes_everything_with_it(web: Cluster) -> None:
    web.api.delete("Deployment", "web", "shop", actor="alice")
    web.wait_for(lambda: not web.pods() and not web.api.list("ReplicaSet", "shop"))


def test_orphaned_pods_stay_and_are_adopted_again(web: Cluster) -> None:
    before = {name_of(pod) for pod in web.pods()}
    web.api.delete(
        "Deployment", "web", "shop", actor="alice", options=DeleteOptions(propagation="Orphan")
    )
    web.wait(5)
    assert not web.api.list("Deployment", "shop")
    assert {name_of(pod) for pod in web.pods()} == before


def test_foreground_deletion_waits_for_the_pods(web: Cluster) -> None:
    web.api.delete(
        "Deployment", "web", "shop", actor="alice", options=DeleteOptions(propagation="Foreground")
    )
    web.wait(0.01)
    assert web.get("Deployment", "web")
    web.wait_for(lambda: not web.api.list("Deployment", "shop"))
    assert not web.pods()


def test_a_quota_shows_as_a_condition_and_an_event(web: Cluster) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team", "namespace": "shop"},
        "spec": {"hard": {"pods": "3"}},
    }
    web.create(quota)
    web.patch("Deployment", "web", {"spec": {"replicas": 5}})
    web.wait(5)
    assert "exceeded quota: team" in web.events("FailedCreate")[0]
    assert is_true(web.get("Deployment", "web"), "ReplicaFailure")
    web.api.delete("ResourceQuota", "team", "shop", actor="alice")
    web.wait_for(lambda: settled(web, 5), limit=200)
    assert not is_true(web.get("Deployment", "web"), "ReplicaFailure")


def test_what_is_refused_is_tried_again_ever_more_slowly(web: Cluster) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team", "namespace": "shop"},
        "spec": {"hard": {"pods": "3"}},
    }
    web.create(quota)
    web.patch("Deployment", "web", {"spec": {"replicas": 5}})
    web.wait(5)
    first = condition(web.get("Deployment", "web"), "ReplicaFailure")
    web.wait(55)
    assert condition(web.get("Deployment", "web"), "ReplicaFailure") == first
    assert 5 < len(web.events("FailedCreate")) < 25


def test_min_ready_seconds_slow_a_rollout_down(cluster: Cluster) -> None:
    cluster.create(deployment(replicas=1, minReadySeconds=20))
    took = cluster.wait_for(lambda: settled(cluster, 1))
    assert 20 < took < 30


def test_old_replica_sets_go_beyond_the_history_limit(cluster: Cluster) -> None:
    cluster.create(deployment(replicas=1, revisionHistoryLimit=1))
    for version in range(2, 5):
        cluster.wait_for(lambda: settled(cluster, 1))
        cluster.patch("Deployment", "web", set_image(f"web:{version}"))
        cluster.wait(0.5)
    cluster.wait_for(lambda: settled(cluster, 1) and images(cluster) == {"web:4"})
    cluster.wait_for(lambda: len(cluster.api.list("ReplicaSet", "shop")) == 2)


def test_readiness_that_never_comes_blocks_a_rollout(web: Cluster) -> None:
    broken = container(readinessProbe={"httpGet": {"path": "/", "port": 9}, "periodSeconds": 2})
    web.patch("Deployment", "web", {"spec": {"template": {"spec": {"containers": [broken]}}}})
    web.wait(60)
    assert web.get("Deployment", "web")["status"]["readyReplicas"] == 3
    text = next(item for item in web.events("Unhealthy") if "Readiness" in item)
    assert text.endswith("connect: connection refused")
