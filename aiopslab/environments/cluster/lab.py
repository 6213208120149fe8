"""The lab's own namespace on a cluster, which agents cannot see: users, partners, a quota.

Names that others rely on: Deployment and Service ``users`` (port 8080) and ``partner-<name>``,
whose container reads how it misbehaves from ``DISTURBANCE``. Not here: the observer (its
manifests are telemetry's), the app (``cluster.manifests``), agents' service accounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiopslab.environments.cluster.labels import labelled
from aiopslab.environments.cluster.manifests import NOBODY, Placement, confined
from aiopslab.environments.cluster.traffic import NAME, PORT
from aiopslab.load.plan import TOKEN_VARIABLE, LoadPlan
from aiopslab.models.app import App
from aiopslab.models.kube import Object

DISTURBANCE_DIR = "/run/partner"
DISTURBANCE = f"{DISTURBANCE_DIR}/disturbance.json"
"""How a partner misbehaves (``models.external.Disturbance``); no file: every day is good."""
_HIGH_PORT = 8443
"""Where partners listen: nobody may listen below 1024."""
_PYTHON = "/venv/bin/python"
_PLAN_DIR = "/etc/load"
_NAME = "app.kubernetes.io/name"
_QUOTA = {"pods": "40", "limits.cpu": "16", "limits.memory": "8Gi"}
"""What a lab may take of a cluster at most, whatever goes wrong."""


def partner_name(partner: str) -> str:
    """Name the Deployment and Service that stand for a party outside."""
    return f"partner-{partner}"


def namespace_objects(placement: Placement) -> list[Object]:
    """Return the lab's namespace and what bounds it."""
    quota = _object(placement, "v1", "ResourceQuota", "lab", spec={"hard": dict(_QUOTA)})
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": placement.lab}}
    return [labelled(space, placement.labels), quota]


def partner_services(app: App, placement: Placement) -> dict[str, Object]:
    """Return the Service of each partner's host name; made first, for the address it gets."""
    return {
        spec.host: _service(placement, partner_name(name), "partner", spec.port, _HIGH_PORT)
        for name, spec in sorted(app.externals.items())
    }


def partner_deployments(app: App, placement: Placement) -> list[Object]:
    """Return what answers as the parties outside."""
    found = []
    for name in sorted(app.externals):
        container = {
            "name": "partner",
            "image": placement.images.partners(app),
            "imagePullPolicy": "IfNotPresent",
            "args": ["partner", app.name, name, "--port", str(_HIGH_PORT),
                     "--disturbance", DISTURBANCE],
            "ports": [{"name": "partner", "containerPort": _HIGH_PORT}],
            "readinessProbe": {"tcpSocket": {"port": _HIGH_PORT}, "periodSeconds": 2},
            "resources": _resources("10m", "48Mi", "500m", "128Mi"),
            "volumeMounts": [{"name": "conduct", "mountPath": DISTURBANCE_DIR}],
        }  # fmt: skip
        pod = {
            "securityContext": NOBODY,
            "containers": [confined(container)],
            "volumes": [{"name": "conduct", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        }
        found.append(_deployment(placement, partner_name(name), pod))
    return found


def users_objects(placement: Placement, plan: LoadPlan, token: str) -> list[Object]:
    """Return the load generator: its plan, who may control it, its pod, and its Service."""
    text = plan.model_dump_json(by_alias=True, exclude_none=True)
    settings = _object(placement, "v1", "ConfigMap", NAME, data={"plan.json": text})
    secret = _object(
        placement, "v1", "Secret", NAME, type="Opaque", stringData={"token": token}
    )  # fmt: skip
    known = {"secretKeyRef": {"name": NAME, "key": "token"}}
    container = {
        "name": NAME,
        "image": placement.images.lab,
        "imagePullPolicy": "IfNotPresent",
        "command": [_PYTHON, "-m", "aiopslab.load"],
        "args": ["users", f"{_PLAN_DIR}/plan.json", "--port", str(PORT)],
        "env": [{"name": TOKEN_VARIABLE, "valueFrom": known}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 2},
        "resources": _resources("100m", "96Mi", "1", "384Mi"),
        "volumeMounts": [{"name": "plan", "mountPath": _PLAN_DIR, "readOnly": True}],
    }
    pod = {
        "securityContext": NOBODY,
        "containers": [confined(container)],
        "volumes": [{"name": "plan", "configMap": {"name": NAME}}],
    }
    service = _service(placement, NAME, "http", PORT, PORT)
    return [settings, secret, _deployment(placement, NAME, pod), service]


def load_plan(app: App, seed: int, load: float) -> LoadPlan:
    """Return what the users of an app are told.

    Args:
        app: The app, as it is called on the cluster.
        seed: Arrivals are drawn from it.
        load: Factor on the journeys.
    """
    entries = sorted({journey.entry for journey in app.journeys.values()})
    urls = {name: f"http://{name}.{app.namespace}:{app.services[name].port}" for name in entries}
    scaled = app.load.model_copy(update={"scale": load})
    return LoadPlan(
        seed=seed, entries=urls, journeys=app.journeys, load=scaled, slos=app.slos
    )  # fmt: skip


def _deployment(placement: Placement, name: str, pod: Mapping[str, Any]) -> Object:
    labels = {_NAME: name}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        # Two of it would be two loads, or two minds of a partner.
        "strategy": {"type": "Recreate"},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"automountServiceAccountToken": False, "enableServiceLinks": False}
            | dict(pod),
        },
    }
    return _object(placement, "apps/v1", "Deployment", name, spec=spec)


def _service(placement: Placement, name: str, port_name: str, port: int, target: int) -> Object:
    ports = [{"name": port_name, "port": port, "targetPort": target}]
    return _object(
        placement, "v1", "Service", name, spec={"selector": {_NAME: name}, "ports": ports}
    )


def _object(placement: Placement, version: str, kind: str, name: str, **parts: Any) -> Object:
    metadata = {"name": name, "namespace": placement.lab}
    obj = {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}
    return labelled(obj, placement.labels)


def _resources(cpu: str, memory: str, most_cpu: str, most_memory: str) -> Object:
    return {
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"cpu": most_cpu, "memory": most_memory},
    }
