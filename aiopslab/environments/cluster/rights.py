"""Rights of an app's own programs on the Kubernetes API: who renews certificates, who scales.

In the simulated world their service accounts exist in name only. Not here: the rights of agents
(``cluster.access``).
"""

from __future__ import annotations

from collections.abc import Iterator

from aiopslab.models.app import App
from aiopslab.models.kube import Object
from aiopslab.services.tls_manifests import authority_name, requests_name

RENEWER = "cert-renewer"
"""The service account of the job that renews certificates."""
_RBAC = "rbac.authorization.k8s.io"
_STEERING: dict[str, list[Object]] = {
    "llm-autoscaler": [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ],
    "llm-platform-agent": [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]},
    ],
}
"""Program to what it asks of the API server."""
_OF_CLUSTER = {"llm-platform-agent"}


def rights(app: App) -> list[Object]:
    """Return the service accounts, roles and bindings of an app's programs."""
    return [*_renewal(app), *_steering(app)]


def _renewal(app: App) -> Iterator[Object]:
    if app.tls is None:
        return
    names = {"Secret": [authority_name(app.name)], "ConfigMap": [requests_name(app.name)]}
    rules: list[Object] = [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": names["ConfigMap"],
         "verbs": ["get"]},
        # A Secret that somebody deleted is made again: creation cannot be bound to names.
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "patch"]},
    ]  # fmt: skip
    yield _object(app, "v1", "ServiceAccount", RENEWER)
    yield _object(app, f"{_RBAC}/v1", "Role", RENEWER) | {"rules": rules}
    yield _binding(app, "Role", RENEWER, RENEWER)


def _steering(app: App) -> Iterator[Object]:
    """Render what the default account of the namespace may do: these pods name no other."""
    for name, service in sorted(app.services.items()):
        rules = _STEERING.get(service.program or "")
        if rules is None:
            continue
        if service.program in _OF_CLUSTER:
            name = f"{app.namespace}-{name}"
            yield _object(app, f"{_RBAC}/v1", "ClusterRole", name) | {"rules": rules}
            yield _binding(app, "ClusterRole", name, "default")
        else:
            yield _object(app, f"{_RBAC}/v1", "Role", name) | {"rules": rules}
            yield _binding(app, "Role", name, "default")


def _binding(app: App, role: str, name: str, account: str) -> Object:
    subject = {"kind": "ServiceAccount", "name": account, "namespace": app.namespace}
    return _object(app, f"{_RBAC}/v1", f"{role}Binding", name) | {
        "subjects": [subject],
        "roleRef": {"apiGroup": _RBAC, "kind": role, "name": name},
    }


def _object(app: App, version: str, kind: str, name: str) -> Object:
    metadata: Object = {"name": name, "labels": {"app.kubernetes.io/part-of": app.name}}
    if not kind.startswith("ClusterRole"):
        metadata["namespace"] = app.namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
