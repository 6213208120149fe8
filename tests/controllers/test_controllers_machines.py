"""Machines that lose their power, and volumes that grow while they are used."""

from __future__ import annotations

import pytest
from controllers_cluster import GIB, Cluster, container, deployment, pod

from aiopslab.models.kube import KubeError
from aiopslab.services.protocols import ConnectTimeout, Request, RequestTimeout
from aiopslab.world.kube.objects import Object, is_true
from aiopslab.world.kube.options import DeleteOptions

NOW = DeleteOptions(grace_s=0)


def started(**spec: object) -> tuple[Cluster, str]:
    """Return a cluster with one ready pod ``a``, and the node it is on."""
    cluster = Cluster()
    cluster.create(pod("a", **spec))
    cluster.wait_for(lambda: is_true(cluster.get("Pod", "a"), "Ready"))
    return cluster, str(cluster.get("Pod", "a")["spec"]["nodeName"])


def test_a_machine_without_power_answers_nobody_and_tells_nobody() -> None:
    cluster, node = started()
    ip = cluster.get("Pod", "a")["status"]["podIP"]
    cluster.kubelets[node].power(on=False)
    assert is_true(cluster.get("Pod", "a"), "Ready")  # nobody has noticed yet

    async def call() -> None:
        with pytest.raises(ConnectTimeout):
            await cluster.client.connect(ip, 8080, timeout_s=2.0)

    cluster.loop.run_until_complete(call())
    with pytest.raises(KubeError, match="no route to host"):
        cluster.kubelets[node].logs("a", "shop")


def test_a_request_under_way_ends_by_its_deadline() -> None:
    cluster, node = started()
    ip = cluster.get("Pod", "a")["status"]["podIP"]

    async def call() -> None:
        connection = await cluster.client.connect(ip, 8080, timeout_s=2.0)
        cluster.kubelets[node].power(on=False)
        with pytest.raises(RequestTimeout):
            await connection.call(Request("GET", "/", {}), timeout_s=3.0)

    since = cluster.loop.time()
    cluster.loop.run_until_complete(call())
    assert cluster.loop.time() - since >= 3.0


def test_the_node_is_given_up_and_its_pods_are_unready() -> None:
    cluster, node = started()
    cluster.kubelets[node].power(on=False)
    cluster.wait_for(lambda: not is_true(cluster.get("Pod", "a"), "Ready"))
    assert not is_true(cluster.api.get("Node", node), "Ready")


def test_a_stateful_pod_is_replaced_only_after_it_was_given_up_by_force() -> None:
    cluster = Cluster()
    stateful = deployment("db", replicas=1, serviceName="db")
    cluster.create({**stateful, "kind": "StatefulSet"})
    cluster.wait_for(lambda: cluster.ready("StatefulSet", "db", 1))
    node = cluster.get("Pod", "db-0")["spec"]["nodeName"]
    cluster.kubelets[node].power(on=False)
    cluster.wait(400.0)  # evicted after five minutes, but nobody confirms that it ended
    assert cluster.get("Pod", "db-0")["metadata"]["deletionTimestamp"]
    cluster.api.delete("Pod", "db-0", "shop", actor="alice", options=NOW)
    cluster.wait_for(lambda: cluster.ready("StatefulSet", "db", 1))
    assert cluster.get("Pod", "db-0")["spec"]["nodeName"] != node


def test_a_machine_that_comes_back_runs_what_is_still_bound_to_it() -> None:
    cluster, node = started()
    cluster.kubelets[node].power(on=False)
    cluster.wait(60.0)
    cluster.kubelets[node].power(on=True)
    cluster.kubelets[node].power(on=True)  # it is on already
    cluster.wait_for(lambda: is_true(cluster.get("Pod", "a"), "Ready"))
    assert is_true(cluster.api.get("Node", node), "Ready")


# -- volumes --------------------------------------------------------------------------------------


def claim(size: str = "1Gi") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "shop"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
        },
    }


def with_volume() -> Cluster:
    cluster = Cluster()
    cluster.create(claim())
    mount = container(volumeMounts=[{"name": "v", "mountPath": "/data"}])
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    cluster.create(pod("a", mount, volumes=volumes))
    cluster.wait_for(lambda: is_true(cluster.get("Pod", "a"), "Ready"))
    return cluster


def ask(cluster: Cluster, size: str) -> None:
    spec = {"resources": {"requests": {"storage": size}}}
    cluster.patch("PersistentVolumeClaim", "data", {"spec": spec})
    cluster.wait(2.0)


def test_a_claim_that_asks_for_more_gets_it_while_it_is_in_use() -> None:
    cluster = with_volume()
    volume = cluster.claims["shop", "data"]
    assert volume.capacity == GIB
    ask(cluster, "3Gi")
    assert volume.capacity == 3 * GIB
    status = cluster.get("PersistentVolumeClaim", "data")["status"]
    assert status["capacity"]["storage"] == "3Gi"
    name = cluster.get("PersistentVolumeClaim", "data")["spec"]["volumeName"]
    assert cluster.api.get("PersistentVolume", name)["spec"]["capacity"]["storage"] == "3Gi"
    assert cluster.events("FileSystemResizeSuccessful")


def test_a_claim_that_goes_while_others_change_does_not_stop_the_machine() -> None:
    cluster = with_volume()
    other = claim()
    other["metadata"] = {**other["metadata"], "name": "other"}
    cluster.create(other)
    cluster.wait(2.0)
    gone = cluster.get("PersistentVolumeClaim", "data")
    cluster.api.store.remove(gone, gone)
    cluster.patch("PersistentVolumeClaim", "other", {"metadata": {"labels": {"a": "1"}}})
    cluster.wait(2.0)
    assert is_true(cluster.get("Pod", "a"), "Ready")


def test_a_claim_never_shrinks() -> None:
    cluster = with_volume()
    ask(cluster, "2Gi")
    with pytest.raises(KubeError, match=r"field can not be less than status\.capacity"):
        ask(cluster, "1Gi")
