from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.kube import KubeError
from aiopslab.seeds import Streams
from aiopslab.world.kube.admission import quota_used
from aiopslab.world.kube.api import ApiServer

Build = Callable[..., dict[str, Any]]
CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"


def quota(**hard: str) -> dict[str, Any]:
    limits = {name.replace("__", "."): value for name, value in hard.items()}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "compute", "namespace": "shop"},
        "spec": {"hard": limits},
    }


def limit_range(**item: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "bounds", "namespace": "shop"},
        "spec": {"limits": [{"type": "Container", **item}]},
    }


def refused(api: ApiServer, obj: dict[str, Any]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        api.create(obj, actor=CONTROLLER)
    return caught.value


def test_a_pod_beyond_the_quota_is_refused_with_the_amounts(api: ApiServer, pod: Build) -> None:
    api.create(quota(requests__cpu="150m", pods="5"), actor="admin")
    api.create(pod("a"), actor=CONTROLLER)
    error = refused(api, pod("b"))
    assert error.code == 403
    assert error.message == (
        'pods "b" is forbidden: exceeded quota: compute, requested: requests.cpu=100m, '
        "used: requests.cpu=100m, limited: requests.cpu=150m"
    )


def test_finished_pods_free_their_quota(api: ApiServer, pod: Build) -> None:
    api.create(quota(pods="1"), actor="admin")
    api.create(pod("a"), actor=CONTROLLER)
    assert refused(api, pod("b")).code == 403
    api.update_status("Pod", "a", "shop", {"phase": "Succeeded"}, actor="system:node:n")
    assert api.create(pod("b"), actor=CONTROLLER)


def test_a_quota_on_limits_makes_limits_mandatory(api: ApiServer, pod: Build) -> None:
    api.create(quota(limits__memory="1Gi"), actor="admin")
    assert "failed quota: compute: must specify limits.memory for: web" in str(refused(api, pod()))


def test_objects_other_than_pods_are_counted_by_kind(api: ApiServer) -> None:
    api.create(quota(configmaps="1", **{"count/secrets": "0"}), actor="admin")
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop"}}
    api.create({**config, "metadata": {**config["metadata"], "name": "a"}}, actor="admin")
    error = refused(api, {**config, "metadata": {**config["metadata"], "name": "b"}})
    assert "requested: configmaps=1, used: configmaps=1, limited: configmaps=1" in error.message


@given(st.lists(st.integers(min_value=1, max_value=400), max_size=12))
def test_a_quota_is_never_exceeded(requests: list[int]) -> None:
    api = ApiServer(lambda: 0.0, Streams(1))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    api.create(namespace, actor=CONTROLLER)
    limit = api.create(quota(requests__cpu="1"), actor=CONTROLLER)
    admitted = 0
    for number, milli in enumerate(requests):
        resources = {"requests": {"cpu": f"{milli}m"}}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{number}", "namespace": "shop"},
            "spec": {"containers": [{"name": "c", "image": "i:1", "resources": resources}]},
        }
        if admitted + milli <= 1000:
            api.create(pod, actor=CONTROLLER)
            admitted += milli
        else:
            assert refused(api, pod).code == 403
    used = quota_used(limit, api.store)["requests.cpu"]
    assert used == (f"{admitted}m" if admitted % 1000 else str(admitted // 1000))


def test_a_limit_range_fills_in_what_a_container_leaves_out(api: ApiServer, pod: Build) -> None:
    api.create(
        limit_range(default={"memory": "256Mi"}, defaultRequest={"cpu": "50m"}), actor="admin"
    )
    spec = api.create(pod(), actor=CONTROLLER)["spec"]
    assert spec["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"memory": "256Mi"},
    }


def test_a_container_outside_the_bounds_is_refused(api: ApiServer, pod: Build) -> None:
    api.create(limit_range(max={"cpu": "1"}, min={"cpu": "200m"}), actor="admin")
    assert "minimum cpu usage per Container is 200m, but request is 100m" in str(
        refused(api, pod())
    )


def test_requests_left_out_equal_the_limits_and_decide_the_qos_class(
    api: ApiServer, pod: Build
) -> None:
    sent = pod()
    sent["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
    stored = api.create(sent, actor=CONTROLLER)
    assert stored["spec"]["containers"][0]["resources"]["requests"] == {
        "cpu": "1",
        "memory": "1Gi",
    }
    assert stored["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}


def test_a_pod_stays_five_minutes_on_a_lost_node(api: ApiServer, pod: Build) -> None:
    tolerations = api.create(pod(), actor=CONTROLLER)["spec"]["tolerations"]
    assert [(t["key"], t["tolerationSeconds"]) for t in tolerations] == [
        ("node.kubernetes.io/not-ready", 300),
        ("node.kubernetes.io/unreachable", 300),
    ]


def test_a_job_selects_its_own_pods_by_uid(api: ApiServer, pod_spec: dict[str, Any]) -> None:
    job = api.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "j", "namespace": "shop"},
            "spec": {"template": {"spec": {**pod_spec, "restartPolicy": "Never"}}},
        },
        actor="admin",
    )
    uid = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
    assert job["spec"]["selector"] == {"matchLabels": uid}
    assert uid.items() <= job["spec"]["template"]["metadata"]["labels"].items()


def test_an_address_that_is_taken_or_outside_is_refused(api: ApiServer) -> None:
    def service(name: str, address: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": address, "ports": [{"port": 80}]},
        }

    api.create(service("a", "198.18.0.10"), actor="admin")
    assert "provided IP is already allocated" in str(refused(api, service("b", "198.18.0.10")))
    assert "is not in the valid range" in str(refused(api, service("b", "10.0.0.1")))
    assert api.create(service("c", "None"), actor="admin")["spec"]["clusterIPs"] == ["None"]
