from collections.abc import Callable
from typing import Any

import pytest

from aiopslab.models.kube import KubeError
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.describe.describe import describe
from aiopslab.world.kube.events import EventRecorder

Build = Callable[..., dict[str, Any]]
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n1"},
    "spec": {"taints": [{"key": "disk", "value": "full", "effect": "NoSchedule"}]},
    "status": {
        "allocatable": {"cpu": "4", "memory": "8Gi"},
        "capacity": {"cpu": "4", "memory": "8Gi"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        "nodeInfo": {"kubeletVersion": "v1.34.2"},
    },
}


def page(api: ApiServer, kind: str, name: str) -> list[str]:
    return describe(kind, name, "shop", api=api, now=api.now()).splitlines()


def test_a_pod_shows_its_containers_state_probes_and_events(
    api: ApiServer, clock: Any, pod: Build
) -> None:
    sent = pod()
    container = sent["spec"]["containers"][0]
    container["readinessProbe"] = {"httpGet": {"path": "/ready", "port": 8080}}
    secret = {"secretKeyRef": {"name": "db", "key": "password"}}
    container["env"].append({"name": "PASSWORD", "valueFrom": secret})
    stored = api.create(sent, actor="admin")
    ended = {
        "exitCode": 137,
        "reason": "OOMKilled",
        "startedAt": "2027-01-15T08:00:01Z",
        "finishedAt": "2027-01-15T08:00:09Z",
    }
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [
            {
                "name": "web",
                "ready": False,
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": ended},
            }
        ],
    }
    api.update_status("Pod", "web-1", "shop", status, actor="system:node:n1")
    recorder = EventRecorder(api)
    for _ in range(2):
        recorder.record_event(stored, "Warning", "BackOff", "Back-off restarting", "kubelet")
        clock.now += 30
    text = "\n".join(page(api, "po", "web-1"))
    for expected in (
        "Name:             web-1",
        "    State:          Waiting",
        "      Reason:       CrashLoopBackOff",
        "      Exit Code:    137",
        "      Finished:     Fri, 15 Jan 2027 08:00:09 +0000",
        "http-get http://:8080/ready delay=0s timeout=1s period=10s #success=1 #failure=3",
        "<set to the key 'password' of secret 'db'>  Optional: false",
        "30s (x2 over 60s)",
    ):
        assert expected in text


def test_a_deployment_shows_strategy_conditions_and_replica_sets(
    api: ApiServer, deployment: Build
) -> None:
    stored = api.create(deployment(replicas=3), actor="admin")
    reference = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "web",
        "uid": stored["metadata"]["uid"],
        "controller": True,
    }
    revision = {"deployment.kubernetes.io/revision": "1"}
    replica_set = deployment("web-6d4b75cb6d", replicas=3)
    replica_set["kind"] = "ReplicaSet"
    replica_set["metadata"] |= {"ownerReferences": [reference], "annotations": revision}
    api.create(replica_set, actor="system:deployment-controller")
    api.patch(
        "deploy", "web", {"metadata": {"annotations": revision}}, namespace="shop", actor="system:d"
    )
    condition = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
    status = {"replicas": 3, "updatedReplicas": 3, "conditions": [condition]}
    api.update_status("Deployment", "web", "shop", status, actor="system:d")
    lines = page(api, "deploy", "web")
    text = "\n".join(lines)
    assert "3 desired | 3 updated | 3 total | 0 available | 0 unavailable" in text
    assert "25% max unavailable, 25% max surge" in text
    assert "  Available  True    MinimumReplicasAvailable" in lines
    assert "web-6d4b75cb6d (0/3 replicas created)" in text
    assert lines[-1].split() == ["Events:", "<none>"]
    assert "Controlled By:  Deployment/web" in "\n".join(page(api, "rs", "web-6d4b75cb6d"))


def test_a_secret_shows_sizes_and_never_values(api: ApiServer) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": "shop"},
        "stringData": {"password": "hunter2"},
    }
    api.create(secret, actor="admin")
    text = "\n".join(page(api, "secret", "db"))
    assert "password:  7 bytes" in text
    assert "hunter2" not in text
    assert "aHVudGVyMg" not in text


def test_a_service_shows_the_endpoints_of_each_port(api: ApiServer) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    api.create(service, actor="admin")
    subset = {"addresses": [{"ip": "198.19.0.4"}], "ports": [{"port": 8080, "protocol": "TCP"}]}
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "web", "namespace": "shop"},
        "subsets": [subset],
    }
    api.create(endpoints, actor="system:endpoints-controller")
    lines = page(api, "svc", "web")
    assert [line.split() for line in lines if line.startswith("Endpoints")] == [
        ["Endpoints:", "198.19.0.4:8080"]
    ]
    assert any(line.split() == ["TargetPort:", "8080/TCP"] for line in lines)


def test_a_node_shows_taints_and_what_its_pods_request(api: ApiServer, pod: Build) -> None:
    api.create(NODE, actor="system:node:n1")
    api.create(pod(), actor="admin")
    api.bind("web-1", "shop", "n1", actor="system:kube-scheduler")
    lines = page(api, "node", "n1")
    text = "\n".join(lines)
    assert "disk=full:NoSchedule" in text
    assert "Non-terminated Pods:  (1 in total)" in text
    assert any(line.split()[:4] == ["cpu", "100m", "(2%)", "0"] for line in lines if line.strip())


def test_a_quota_shows_present_usage(api: ApiServer, pod: Build) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": "shop"},
        "spec": {"hard": {"pods": "4", "requests.cpu": "1"}},
    }
    api.create(quota, actor="admin")
    api.create(pod(), actor="admin")
    rows = [line.split() for line in page(api, "quota", "q")]
    assert ["pods", "1", "4"] in rows
    assert ["requests.cpu", "100m", "1"] in rows


def test_every_other_kind_has_a_page(api: ApiServer, pod_spec: dict[str, Any]) -> None:
    def workload(kind: str, api_version: str, **spec: Any) -> dict[str, Any]:
        labels = {"app": "x"}
        template = {"metadata": {"labels": labels}, "spec": {**pod_spec, **spec.pop("pod", {})}}
        selector = {} if kind == "Job" else {"selector": {"matchLabels": labels}}
        return {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": "x", "namespace": "shop"},
            "spec": {"template": template, **selector, **spec},
        }

    never = {"restartPolicy": "Never"}
    job = workload("Job", "batch/v1", pod=never)
    claim_spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}
    specs: dict[str, tuple[str, dict[str, Any]]] = {
        "CronJob": ("batch/v1", {"schedule": "* * * * *", "jobTemplate": {"spec": job["spec"]}}),
        "PersistentVolumeClaim": ("v1", claim_spec),
        "HorizontalPodAutoscaler": ("autoscaling/v2", {"maxReplicas": 3, "scaleTargetRef": target}),
        "NetworkPolicy": ("networking.k8s.io/v1", {"podSelector": {}, "ingress": []}),
        "LimitRange": ("v1", {"limits": [{"type": "Container", "max": {"cpu": "9"}}]}),
        "ConfigMap": ("v1", {}),
        "ServiceAccount": ("v1", {}),
    }
    objects = [
        job,
        workload("StatefulSet", "apps/v1", serviceName="x"),
        workload("DaemonSet", "apps/v1"),
    ]
    for kind, (version, spec) in specs.items():
        obj: dict[str, Any] = {"apiVersion": version, "kind": kind}
        obj |= {"metadata": {"name": "x", "namespace": "shop"}}
        objects.append(obj | ({"spec": spec} if spec else {}))
    for obj in objects:
        api.create(obj, actor="admin")
        lines = page(api, obj["kind"], "x")
        assert lines[0].split() == ["Name:", "x"]
        assert not any(line != line.rstrip() for line in lines)


def test_what_is_not_there_is_not_found(api: ApiServer) -> None:
    with pytest.raises(KubeError, match='pods "nope" not found'):
        describe("po", "nope", "shop", api=api, now=0.0)
