"""Where pods go, and what the scheduler says when they go nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from controllers_cluster import Cluster, container, deployment, pod

from aiopslab.world.kube import scheduler
from aiopslab.world.kube.objects import Object, clone, condition, dig


def node_of(cluster: Cluster, name: str = "a") -> str:
    return str(cluster.get("Pod", name)["spec"].get("nodeName", ""))


def change_node(cluster: Cluster, name: str, **spec: Any) -> None:
    node = clone(cluster.api.get("Node", name))
    node["spec"].update(spec)
    cluster.api.replace(node, actor="alice")


def wanting(cpu: str) -> Object:
    return container(resources={"requests": {"cpu": cpu}})


def complaint(cluster: Cluster) -> str:
    return cluster.events("FailedScheduling")[-1]


@pytest.fixture
def cluster() -> Cluster:
    found = Cluster()
    found.wait(0.2)
    return found


def test_a_request_that_fits_nowhere_is_worded_as_by_the_real_scheduler(cluster: Cluster) -> None:
    cluster.create(pod("a", wanting("10")))
    cluster.wait(1)
    assert complaint(cluster) == (
        "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: "
        "3 No preemption victims found for incoming pod."
    )
    mark = condition(cluster.get("Pod", "a"), "PodScheduled") or {}
    assert (mark["status"], mark["reason"]) == ("False", "Unschedulable")


def test_reasons_of_several_nodes_are_counted(cluster: Cluster) -> None:
    taint = {"key": "team", "value": "data", "effect": "NoSchedule"}
    change_node(cluster, "node-1", taints=[taint])
    change_node(cluster, "node-2", unschedulable=True)
    cluster.create(pod("a", wanting("10")))
    cluster.wait(1)
    assert complaint(cluster) == (
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint "
        "{team: data}, 1 node(s) were unschedulable. preemption: 0/3 nodes are available: "
        "1 No preemption victims found for incoming pod, "
        "2 Preemption is not helpful for scheduling."
    )


def test_a_waiting_pod_is_placed_once_there_is_room(cluster: Cluster) -> None:
    cluster.create(pod("a", container(), nodeSelector={"disk": "ssd"}))
    cluster.wait(5)
    assert "3 node(s) didn't match Pod's node affinity/selector" in complaint(cluster)
    node = clone(cluster.api.get("Node", "node-2"))
    node["metadata"]["labels"]["disk"] = "ssd"
    cluster.api.replace(node, actor="alice")
    cluster.wait_for(lambda: node_of(cluster) == "node-2", limit=2)


def test_a_toleration_admits_to_a_tainted_node(cluster: Cluster) -> None:
    taint = {"key": "team", "value": "data", "effect": "NoSchedule"}
    for name in cluster.kubelets:
        change_node(cluster, name, taints=[taint])
    toleration = {"key": "team", "operator": "Equal", "value": "data", "effect": "NoSchedule"}
    cluster.create(pod("a", tolerations=[toleration]))
    cluster.create(pod("b"))
    cluster.wait(1)
    assert node_of(cluster)
    assert not node_of(cluster, "b")


def test_anti_affinity_admits_one_pod_a_node(cluster: Cluster) -> None:
    term = {
        "labelSelector": {"matchLabels": {"app": "web"}},
        "topologyKey": "kubernetes.io/hostname",
    }
    rule = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    spec = {"containers": [container()], "affinity": rule}
    cluster.create(deployment(replicas=4, pod=spec))
    cluster.wait(10)
    nodes = [p["spec"].get("nodeName") for p in cluster.pods()]
    assert sorted(filter(None, nodes)) == ["node-1", "node-2", "node-3"]
    assert "3 node(s) didn't match pod anti-affinity rules" in complaint(cluster)


def test_affinity_follows_another_pod(cluster: Cluster) -> None:
    cluster.create(pod("b"))
    cluster.wait(1)
    term = {
        "labelSelector": {"matchLabels": {"app": "b"}},
        "topologyKey": "kubernetes.io/hostname",
    }
    rule = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    cluster.create(pod("a", affinity=rule))
    cluster.wait(1)
    assert node_of(cluster) == node_of(cluster, "b")


def test_a_missing_claim_is_named(cluster: Cluster) -> None:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "none"}}
    cluster.create(pod("a", volumes=[volume]))
    cluster.wait(1)
    assert 'persistentvolumeclaim "none" not found' in complaint(cluster)


def test_a_pod_of_higher_priority_displaces_one_of_lower(cluster: Cluster) -> None:
    cluster.create(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "high"},
            "value": 1000,
        }
    )
    for name in ("a", "b", "c"):
        cluster.create(pod(name, wanting("3")))
    cluster.wait(10)
    cluster.create(pod("d", wanting("3"), priorityClassName="high"))
    cluster.wait_for(lambda: bool(node_of(cluster, "d")))
    assert "Preempted by pod" in cluster.events("Preempted")[0]
    assert len(cluster.pods()) == 3


def test_backoff_between_attempts_grows_to_ten_seconds() -> None:
    assert [scheduler.backoff(n) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


# -- nodes that fall silent -----------------------------------------------------------------------


def test_a_silent_node_is_tainted_and_emptied_after_five_minutes(cluster: Cluster) -> None:
    cluster.create(deployment(replicas=3))
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 3))
    cluster.kubelets["node-1"].silent = True
    cluster.wait(30)
    ready = condition(cluster.api.get("Node", "node-1"), "Ready") or {}
    assert ready["status"] == "True"
    cluster.wait(25)
    node = cluster.api.get("Node", "node-1")
    assert (condition(node, "Ready") or {})["status"] == "Unknown"
    keys = {taint["key"] for taint in dig(node, "spec", "taints", default=())}
    assert keys == {"node.kubernetes.io/unreachable"}
    assert cluster.ready("Deployment", "web", 2)
    cluster.wait(310)
    assert len([p for p in cluster.pods() if p["spec"].get("nodeName") != "node-1"]) == 3
    assert len(cluster.pods()) == 4  # the kubelet has not confirmed the end of the evicted one
    cluster.kubelets["node-1"].silent = False
    cluster.wait(20)
    assert not dig(cluster.api.get("Node", "node-1"), "spec", "taints")
    cluster.wait_for(lambda: len(cluster.pods()) == 3)


def test_pods_of_a_node_that_was_silent_for_a_minute_become_ready_again(cluster: Cluster) -> None:
    cluster.create(deployment(replicas=3))
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 3))
    cluster.kubelets["node-1"].silent = True
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 2))
    cluster.kubelets["node-1"].silent = False
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 3), limit=30)
    assert all(pod["status"]["containerStatuses"][0]["restartCount"] == 0 for pod in cluster.pods())


def test_a_no_execute_taint_evicts_what_does_not_tolerate_it(cluster: Cluster) -> None:
    cluster.create(pod("a"))
    cluster.wait(8)
    taint = {"key": "maintenance", "effect": "NoExecute"}
    change_node(cluster, node_of(cluster), taints=[taint])
    cluster.wait_for(lambda: not cluster.pods())
    assert cluster.events("TaintManagerEviction") == ["Marking for deletion Pod shop/a"]
