from __future__ import annotations

from controllers_cluster import Cluster, deployment


def test_a_deployment_becomes_ready(cluster: Cluster) -> None:
    cluster.create(deployment())
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 3), limit=30)
