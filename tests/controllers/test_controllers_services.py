"""From Services to connections: endpoints, slices, the proxy's tables and names."""

from __future__ import annotations

from typing import Any

import pytest
from controllers_cluster import Cluster, container, deployment, pod

from aiopslab.models.kube import KubeError
from aiopslab.services.protocols import ConnectionRefused, NoSuchHost, Request
from aiopslab.world.kube.objects import Object, name_of, owner_reference
from aiopslab.world.resolver import of_namespace


def service(name: str = "web", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
            **spec,
        },
    }


def ask(cluster: Cluster, host: str = "web.shop.svc.cluster.local", port: int = 80) -> int:
    async def call() -> int:
        connection = await cluster.client.connect(host, port, timeout_s=1.0)
        reply = await connection.call(Request("GET", "/"), timeout_s=1.0)
        connection.close()
        return int(reply.status)

    return cluster.loop.run_until_complete(call())


def addresses(cluster: Cluster, *, ready: bool = True) -> set[str]:
    key = "addresses" if ready else "notReadyAddresses"
    subsets = cluster.get("Endpoints", "web").get("subsets") or []
    return {item["ip"] for subset in subsets for item in subset.get(key) or ()}


@pytest.fixture
def web(cluster: Cluster) -> Cluster:
    cluster.create(service())
    cluster.create(deployment())
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 3))
    cluster.wait(1)
    return cluster


def test_a_service_leads_to_its_ready_pods(web: Cluster) -> None:
    assert addresses(web) == {pod["status"]["podIP"] for pod in web.pods()}
    slices = web.api.list("EndpointSlice", "shop", labels="kubernetes.io/service-name=web")
    assert len(slices) == 1
    assert len(slices[0]["endpoints"]) == 3
    assert ask(web) == 200


def test_no_ready_pod_means_refused(cluster: Cluster) -> None:
    cluster.create(service())
    broken = container(env=[{"name": "STATUS", "value": "500"}])
    cluster.create(deployment(pod={"containers": [broken]}))
    cluster.wait(20)
    assert len(addresses(cluster, ready=False)) == 3
    with pytest.raises(ConnectionRefused):
        ask(cluster)


def test_a_wrong_target_port_refuses_although_endpoints_are_there(web: Cluster) -> None:
    patch = {"spec": {"ports": [{"port": 80, "targetPort": 9999}]}}
    web.patch("Service", "web", patch)
    web.wait(1)
    assert addresses(web)
    with pytest.raises(ConnectionRefused):
        ask(web)


def test_a_selector_that_matches_nothing_empties_the_endpoints(web: Cluster) -> None:
    web.patch("Service", "web", {"spec": {"selector": {"app": "typo"}}})
    web.wait(1)
    assert not addresses(web)
    with pytest.raises(ConnectionRefused):
        ask(web)
    web.patch("Service", "web", {"spec": {"selector": {"app": "web"}}})
    web.wait(1)
    assert ask(web) == 200


def test_a_deleted_service_loses_its_name(web: Cluster) -> None:
    web.api.delete("Service", "web", "shop", actor="alice")
    web.wait(6)
    with pytest.raises(NoSuchHost):
        ask(web)
    web.create(service())
    web.wait(1)
    assert ask(web) == 200


def test_a_named_port_is_resolved_for_each_pod(cluster: Cluster) -> None:
    cluster.create(service(ports=[{"port": 80, "targetPort": "http"}]))
    named = container(ports=[{"name": "http", "containerPort": 8080}])
    cluster.create(deployment(pod={"containers": [named]}))
    cluster.wait_for(lambda: cluster.ready("Deployment", "web", 3))
    cluster.wait(1)
    assert ask(cluster) == 200


def test_a_terminating_pod_leaves_the_endpoints_at_once(web: Cluster) -> None:
    victim = web.pods()[0]
    web.api.delete("Pod", name_of(victim), "shop", actor="alice")
    web.wait(0.5)
    assert victim["status"]["podIP"] not in addresses(web)


def test_a_headless_service_resolves_to_pods_and_their_hostnames(cluster: Cluster) -> None:
    cluster.create(service("db", clusterIP="None"))
    cluster.create(stateful())
    cluster.wait_for(lambda: cluster.ready("StatefulSet", "db", 2))
    cluster.wait(1)
    assert ask(cluster, "db-1.db.shop.svc.cluster.local", 8080) == 200
    found = cluster.network.dns.resolve("db.shop.svc.cluster.local", of_namespace("shop"))
    assert len(found) == 2


def test_a_network_policy_cuts_what_it_does_not_allow(web: Cluster) -> None:
    from aiopslab.services.protocols import ConnectTimeout

    web.create(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "closed", "namespace": "shop"},
            "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
        }
    )
    web.wait(1)
    with pytest.raises(ConnectTimeout):
        ask(web)
    assert web.ready("Deployment", "web", 3)
    web.api.delete("NetworkPolicy", "closed", "shop", actor="alice")
    web.wait(1)
    assert ask(web) == 200


# -- StatefulSets ---------------------------------------------------------------------------------


def stateful(replicas: int = 2, **spec: Any) -> Object:
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    mounted = container(volumeMounts=[{"name": "data", "mountPath": "/data"}])
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {
            "serviceName": "db",
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [mounted]},
            },
            "volumeClaimTemplates": [claim],
            **spec,
        },
    }


def names(cluster: Cluster) -> list[str]:
    return [name_of(pod) for pod in cluster.pods("app=db")]


def test_pods_of_a_stateful_set_come_in_order_with_their_claims(cluster: Cluster) -> None:
    cluster.create(stateful(3))
    seen: list[list[str]] = []
    while not cluster.ready("StatefulSet", "db", 3):
        cluster.wait(0.25)
        if not seen or seen[-1] != names(cluster):
            seen.append(names(cluster))
    assert seen[-3:] == [["db-0"], ["db-0", "db-1"], ["db-0", "db-1", "db-2"]]
    claims = cluster.api.list("PersistentVolumeClaim", "shop")
    assert [name_of(item) for item in claims] == ["data-db-0", "data-db-1", "data-db-2"]
    assert {item["status"]["phase"] for item in claims} == {"Bound"}


def test_a_stateful_pod_comes_back_with_its_name_and_data(cluster: Cluster) -> None:
    cluster.create(stateful(1))
    cluster.wait_for(lambda: cluster.ready("StatefulSet", "db", 1))
    box = next(box for kubelet in cluster.kubelets.values() for _, box in kubelet.boxes())
    box.volumes["/data"].write("table", 4096)
    before = cluster.get("Pod", "db-0")["metadata"]["uid"]
    cluster.api.delete("Pod", "db-0", "shop", actor="alice")
    cluster.wait_for(
        lambda: (
            names(cluster) == ["db-0"]
            and cluster.get("Pod", "db-0")["metadata"]["uid"] != before
            and cluster.ready("StatefulSet", "db", 1)
        )
    )
    box = next(box for kubelet in cluster.kubelets.values() for _, box in kubelet.boxes())
    assert box.volumes["/data"].size("table") == 4096


def test_scaling_down_goes_from_the_top_and_keeps_the_claims(cluster: Cluster) -> None:
    cluster.create(stateful(3))
    cluster.wait_for(lambda: cluster.ready("StatefulSet", "db", 3))
    cluster.patch("StatefulSet", "db", {"spec": {"replicas": 1}})
    cluster.wait_for(lambda: names(cluster) == ["db-0"])
    assert len(cluster.api.list("PersistentVolumeClaim", "shop")) == 3


def test_a_stateful_rollout_replaces_from_the_highest_ordinal(cluster: Cluster) -> None:
    cluster.create(stateful(2))
    cluster.wait_for(lambda: cluster.ready("StatefulSet", "db", 2))
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "web:2"}]}}}}
    cluster.patch("StatefulSet", "db", image)

    def of(name: str) -> str:
        return str(cluster.get("Pod", name)["spec"]["containers"][0]["image"])

    cluster.wait_for(lambda: names(cluster) == ["db-0", "db-1"] and of("db-1") == "web:2")
    assert of("db-0") == "web:1"
    cluster.wait_for(lambda: "db-0" in names(cluster) and of("db-0") == "web:2")
    cluster.wait_for(lambda: cluster.ready("StatefulSet", "db", 2))
    status = cluster.get("StatefulSet", "db")["status"]
    assert status["currentRevision"] == status["updateRevision"]


def test_an_unknown_storage_class_keeps_everything_pending(cluster: Cluster) -> None:
    found = stateful(1)
    found["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] = "gold"
    cluster.create(found)
    cluster.wait(5)
    assert 'storageclass.storage.k8s.io "gold" not found' in cluster.events("ProvisioningFailed")
    text = cluster.events("FailedScheduling")[0]
    assert "pod has unbound immediate PersistentVolumeClaims" in text


def test_a_pod_that_only_names_a_stateful_set_as_its_owner_is_none_of_its_pods(
    cluster: Cluster,
) -> None:
    owner = cluster.create(stateful(1))
    stray = pod("stray")
    stray["metadata"]["ownerReferences"] = [owner_reference(owner)]
    cluster.create(stray)
    cluster.wait_for(lambda: cluster.ready("StatefulSet", "db", 1))
    assert cluster.get("StatefulSet", "db")["status"]["replicas"] == 1


def node_ports(*numbers: int | None, name: str = "web") -> Object:
    ports = [
        {"name": f"p{index}", "port": 80 + index, **({"nodePort": number} if number else {})}
        for index, number in enumerate(numbers)
    ]
    metadata = {"name": name, "namespace": "shop"}
    spec = {"type": "NodePort", "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((-5,), "not in the valid range. The range of valid ports is 30000-32767"),
        ((30080,), "provided port is already allocated"),
        ((30081, 30081), "provided port is already allocated"),
        ((None,) * 2768, "range is full"),
    ],
)
def test_a_node_port_is_free_and_in_range_or_refused(
    cluster: Cluster, numbers: tuple[int | None, ...], words: str
) -> None:
    cluster.create(node_ports(30080, None, name="first"))
    with pytest.raises(KubeError) as refused:
        cluster.create(node_ports(*numbers))
    assert words in refused.value.message
