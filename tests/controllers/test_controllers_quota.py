"""The status of a ResourceQuota follows what exists."""

from __future__ import annotations

from controllers_cluster import Cluster, deployment


def test_a_quota_says_what_is_used_of_it(cluster: Cluster) -> None:
    cluster.create(deployment())
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 3))
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team", "namespace": "shop"},
        "spec": {"hard": {"pods": "10", "requests.cpu": "2"}},
    }
    cluster.create(quota)
    cluster.wait(1)
    assert cluster.get("quota", "team")["status"] == {
        "hard": {"pods": "10", "requests.cpu": "2"},
        "used": {"pods": "3", "requests.cpu": "300m"},
    }
    cluster.patch("Deployment", "web", {"spec": {"replicas": 4}})
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 4))
    assert cluster.get("quota", "team")["status"]["used"]["pods"] == "4"
    steady = cluster.get("quota", "team")["metadata"]["resourceVersion"]
    cluster.wait(700)
    assert cluster.get("quota", "team")["metadata"]["resourceVersion"] == steady
