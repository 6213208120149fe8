"""Controllers, scheduler and kubelets live with whatever the API server lets clients write.

Random changes, right in their types and absurd in their values, of every object of a small
cluster, its status included. Nothing a client may store can break a component.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from controllers_cluster import Cluster, container, deployment
from drawn_objects import draw_message

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import kinds, schema
from aiopslab.world.kube.objects import Object, name_of, namespace_of
from aiopslab.world.kube.options import DeleteOptions, Subresource

ACTOR = "oncall"
_TEMPLATE = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [container()]}}


def build(api_version: str, kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def fill(cluster: Cluster) -> None:
    """Put one of everything into the cluster."""
    once = {"template": {"spec": {"containers": [{"name": "m", "image": "shell:1", "command": [
        "sleep", "1"]}], "restartPolicy": "Never"}}}  # fmt: skip
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    selector = {"matchLabels": {"app": "db"}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    for obj in (
        deployment(),
        build("apps/v1", "StatefulSet", "db", {
            "serviceName": "db", "replicas": 2, "selector": selector, "template": _TEMPLATE,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        }),
        build("apps/v1", "DaemonSet", "agent", {"selector": selector, "template": _TEMPLATE}),
        build("batch/v1", "Job", "once", once),
        build("batch/v1", "CronJob", "often", {
            "schedule": "* * * * *", "jobTemplate": {"spec": once}}),
        build("v1", "Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]}),
        build("autoscaling/v2", "HorizontalPodAutoscaler", "web", {
            "scaleTargetRef": target, "maxReplicas": 4}),
        build("policy/v1", "PodDisruptionBudget", "web", {
            "minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}),
        build("v1", "ResourceQuota", "team", {"hard": {"pods": "50"}}),
        build("v1", "LimitRange", "team", {"limits": []}),
        build("networking.k8s.io/v1", "NetworkPolicy", "open", {"ingress": [{}]}),
    ):  # fmt: skip
        cluster.create(obj)
    cluster.wait(20)


def hurt(cluster: Cluster, draw: random.Random) -> None:
    """Change or add one object of the cluster, if the API server allows it."""
    kind = draw.choice(kinds.KINDS)
    found = cluster.api.list(kind.kind, "shop" if kind.namespaced else None)
    if not found or draw.random() < 0.2:
        add(cluster, kind, draw)
        return
    obj = draw.choice(found)
    change = draw_message(schema.message(kind.schema), draw)
    for key in ("apiVersion", "kind", "metadata"):
        change.pop(key, None)
    part: Subresource = "status" if draw.random() < 0.5 else ""
    if part and "status" not in change:
        change["status"] = part_of(kind, draw)
    if draw.random() < 0.3:
        labels = {draw.choice(["app", "pod-template-hash", "job-name"]): draw.choice(["web", "q"])}
        change["metadata"] = draw.choice([
            {"labels": labels}, {"ownerReferences": None}, {"ownerReferences": [{
                "apiVersion": "v1", "kind": draw.choice(["Pod", "Widget", "Deployment", "Node"]),
                "name": "web", "uid": draw.choice(["", "u-1"]), "controller": True}]},
            {"finalizers": ["foregroundDeletion"]}, {"annotations": {
                "deployment.kubernetes.io/revision": draw.choice(["x", "-1", ""])}},
        ])  # fmt: skip
    cluster.api.patch(
        kind.kind, name_of(obj), change, namespace=namespace_of(obj) or None,
        type=draw.choice(["merge", "strategic"]), subresource=part, actor=ACTOR,
    )  # fmt: skip


def add(cluster: Cluster, kind: kinds.Kind, draw: random.Random) -> None:
    """Create an object of a kind, in the way of what is there."""
    obj = draw_message(schema.message(kind.schema), draw)
    labels = {"app": draw.choice(["web", "db"]), "kubernetes.io/service-name": "web"}
    name = draw.choice(["web", "db", "db-5", "x", "node-1"])
    obj["metadata"] = {"name": name, "namespace": "shop", "labels": labels}
    cluster.create(obj | {"apiVersion": kind.api_version, "kind": kind.kind})


def part_of(kind: kinds.Kind, draw: random.Random) -> Any:
    field = schema.message(kind.schema).fields.get("status")
    return draw_message(schema.message(field.ref), draw, 1) if field and field.ref else {}


@pytest.mark.parametrize("seed", range(4))
def test_nothing_a_client_may_store_breaks_a_component(seed: int) -> None:
    cluster, draw = Cluster(), random.Random(seed)
    fill(cluster)
    accepted = 0
    for _ in range(150):
        for _ in range(3):
            try:
                hurt(cluster, draw)
            except KubeError:
                continue
            accepted += 1
        cluster.wait(0.7)
        pods = cluster.pods()
        if pods and draw.random() < 0.1:
            how = DeleteOptions(grace_s=draw.choice([0, None]))
            victim = name_of(draw.choice(pods))
            cluster.api.delete("Pod", victim, "shop", actor=ACTOR, options=how)
    cluster.wait(120)
    assert accepted > 30
