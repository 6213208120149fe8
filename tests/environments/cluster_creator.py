"""A lab that creates its things one by one on a cluster, says each, and waits to be killed.

Run as a program: ``cluster_creator.py KUBECONFIG TRIAL``.
"""

from __future__ import annotations

import asyncio
import sys

from aiopslab.environments.cluster.connection import Connection, Reach
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.labels import labelled, ours
from aiopslab.models.kube import Object

SPACE = "lab-x7k2p"
RBAC = "rbac.authorization.k8s.io/v1"


def of(version: str, kind: str, name: str, namespace: str = "", **more: object) -> Object:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place}, **more}


def things() -> list[Object]:
    pod = {"metadata": {"labels": {"app": "load"}},
           "spec": {"containers": [{"name": "load", "image": "hotel-geo:1"}]}}  # fmt: skip
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "load"}}, "template": pod}
    hook = {"name": "x.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"],
                       "resources": ["jobs"]}]}  # fmt: skip
    return [
        of("v1", "Namespace", SPACE),
        of("v1", "ConfigMap", "settings", SPACE, data={"a": "1"}),
        of("v1", "Secret", "keys", "hotel", stringData={"a": "1"}),
        of("apps/v1", "Deployment", "load", SPACE, spec=spec),
        of("v1", "Service", "load", SPACE, spec={"ports": [{"port": 80}]}),
        of(RBAC, "ClusterRole", "reader-x7k2p", rules=[]),
        of("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "hook-x7k2p",
           webhooks=[hook]),
        of("v1", "ConfigMap", "settings", "hotel"),
    ]  # fmt: skip


async def create(kubeconfig: str, trial: str) -> None:
    connection = Connection(Reach(kubeconfig))
    kube = ClusterKube(connection, now=lambda: 0.0)
    for thing in things():
        await kube.create(labelled(thing, ours(trial)), actor="lab")
        sys.stdout.write(f"{thing['kind']}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
    await connection.aclose()


if __name__ == "__main__":
    asyncio.run(create(*sys.argv[1:]))
