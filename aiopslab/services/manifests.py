"""Kubernetes manifests of an app, as plain dicts in an order that applies cleanly.

The same objects go to every environment. Passwords are derived from a seed, so that they repeat
and yet differ between worlds. Not here: objects an app brings itself
(``services/<app>/manifests/*.yaml``, read by ``extra_objects``), the API server's checks.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from aiopslab.errors import ContentError
from aiopslab.models.app import App
from aiopslab.models.service import Service
from aiopslab.models.workload import Probe, Resources, Value
from aiopslab.services.catalogue import app_dir
from aiopslab.services.config import as_text, settings
from aiopslab.services.flags import map_name
from aiopslab.services.mounts import mount
from aiopslab.services.store_manifests import store_objects
from aiopslab.services.tls_manifests import tls_objects
from aiopslab.services.tokens import KEY, token_objects, token_secret, token_services
from aiopslab.services.validation import DEFAULT_USER

Object = dict[str, Any]


def manifests(app: App, seed: int, now: float = 0.0) -> list[Object]:
    """Render every object of an app: namespace, stores, services, jobs, the app's own files.

    Args:
        app: The app.
        seed: Passwords are derived from it.
        now: Unix seconds at which certificates are issued.
    """
    objects: list[Object] = [_namespace(app), *flag_objects(app), *tls_objects(app, now)]
    objects += token_objects(app, password(seed, "token", "key"))
    for store in sorted(app.stores):
        objects += store_objects(app, store, partial(password, seed, store))
    for service in sorted(app.services):
        objects += service_objects(app, service)
    objects += [job_object(app, job) for job in sorted(app.jobs)]
    return objects + extra_objects(app)


def password(seed: int, store: str, user: str) -> str:
    """Derive the password of a store's user; 24 URL-safe characters."""
    digest = hashlib.sha256(f"{seed}/password/{store}/{user}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:18]).decode()


def extra_objects(app: App) -> list[Object]:
    """Read the objects an app brings itself, files in sorted order.

    Raises:
        ContentError: A file is not YAML.
    """
    return [obj for path in sorted((app_dir(app.name) / "manifests").glob("*.yaml"))
            for obj in _documents(path, app.namespace)]  # fmt: skip


def service_objects(app: App, name: str) -> list[Object]:
    """Render ConfigMap, Service, Deployment and, with replicas to spare, a disruption budget."""
    service = app.services[name]
    labels = _labels(app, name, "service")
    meta = {"name": name, "namespace": app.namespace, "labels": labels}
    owned = meta | {"annotations": {"owner": service.owner, "description": service.summary}}
    objects: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta | {"name": f"{name}-config"},
            "data": settings(app, name),
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": owned,
            "spec": {
                "selector": {"app.kubernetes.io/name": name},
                "ports": [{"name": "http", "port": service.port, "targetPort": service.port}],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": owned,
            "spec": _deployment(app, name, service, labels),
        },
    ]
    if service.replicas > 1:
        objects.append(_disruption_budget(meta))
    return objects


def flag_objects(app: App) -> list[Object]:
    """Render the ConfigMap of the feature flags, if the app has any."""
    if not app.flags:
        return []
    name = map_name(app.name)
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": app.namespace,
                "labels": {"app.kubernetes.io/part-of": app.name},
                "annotations": {
                    f"description/{flag}": spec.description
                    for flag, spec in sorted(app.flags.items())
                },
            },
            "data": {flag: as_text(spec.default) for flag, spec in sorted(app.flags.items())},
        }
    ]


def _disruption_budget(meta: Object) -> Object:
    selector = {"matchLabels": {"app.kubernetes.io/name": meta["name"]}}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta,
        "spec": {"maxUnavailable": 1, "selector": selector},
    }


def _deployment(app: App, name: str, service: Service, labels: dict[str, str]) -> Object:
    template_labels = labels | {"app.kubernetes.io/version": service.image.version}
    return {
        "replicas": service.replicas,
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": {
            "metadata": {"labels": template_labels, "annotations": {"owner": service.owner}},
            "spec": _pod_spec(app, name, service),
        },
    }


def _pod_spec(app: App, name: str, service: Service) -> Object:
    spec: Object = {
        "terminationGracePeriodSeconds": service.grace_s,
        "containers": [_container(app, name, service)],
    }
    if service.node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": service.node}
        taints = next(n.taints for n in app.nodes if n.name == service.node)
        if taints:
            spec["tolerations"] = [
                {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}
                for key, value in sorted(taints.items())
            ]
    return mount(app, name, spec)


def _container(app: App, name: str, service: Service) -> Object:
    container: Object = {
        "name": name,
        "image": service.image.ref,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": service.port}],
        "envFrom": [{"configMapRef": {"name": f"{name}-config"}}],
        "env": environment(app, name, service.env),
        "resources": resources(service.resources),
    }
    if not container["env"]:
        del container["env"]
    if service.readiness:
        container["readinessProbe"] = _probe(service.readiness, service)
    if service.liveness:
        container["livenessProbe"] = _probe(service.liveness, service)
    return container


def environment(app: App, name: str, plain: Mapping[str, Value]) -> list[Object]:
    """Return the credentials of a service by reference, then plain variables."""
    service = app.services[name]
    env: list[Object] = []
    if db := service.uses.get("db"):
        env += [_secret(var, f"{db}-{name}", key)
                for var, key in (("DB_USER", "username"), ("DB_PASSWORD", "password"))]  # fmt: skip
    if cache := service.uses.get("cache"):
        env.append(_secret("CACHE_PASSWORD", f"{cache}-{DEFAULT_USER}", "password"))
    if queue := service.uses.get("queue"):
        env.append(_secret("QUEUE_PASSWORD", f"{queue}-{DEFAULT_USER}", "password"))
    if name in token_services(app):
        env.append(_secret(KEY, token_secret(app.name), "key"))
    return env + [{"name": key, "value": as_text(value)} for key, value in plain.items()]


def job_object(app: App, name: str) -> Object:
    """Render the CronJob of a job: its pods run the service's image with ``job NAME``."""
    job = app.jobs[name]
    labels = _labels(app, name, "job")
    work = {"restartPolicy": job.restart, "containers": [_job_container(app, name)]}
    pod = {
        "metadata": {"labels": labels, "annotations": {"owner": job.owner}},
        "spec": mount(app, job.service, work),
    }
    run: Object = {"backoffLimit": job.backoff_limit, "template": pod}
    if job.parallelism > 1:
        run |= {"parallelism": job.parallelism, "completions": job.parallelism}
    if job.deadline is not None:
        run["activeDeadlineSeconds"] = round(job.deadline)
    spec: Object = {
        "schedule": job.schedule,
        "concurrencyPolicy": job.overlap,
        "suspend": job.suspend,
        "jobTemplate": {"metadata": {"labels": labels}, "spec": run},
    }
    if job.start_within is not None:
        spec["startingDeadlineSeconds"] = round(job.start_within)
    annotations = {"owner": job.owner, "description": job.summary}
    meta = {
        "name": name, "namespace": app.namespace, "labels": labels, "annotations": annotations,
    }  # fmt: skip
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "spec": spec}


def _job_container(app: App, name: str) -> Object:
    job = app.jobs[name]
    service = app.services[job.service]
    plain = {"JOB_ROUNDS": job.rounds, "JOB_CONCURRENCY": job.concurrency, **job.env}
    return {
        "name": name,
        "image": service.image.ref,
        "imagePullPolicy": "IfNotPresent",
        "args": ["job", name],
        "envFrom": [{"configMapRef": {"name": f"{job.service}-config"}}],
        "env": environment(app, job.service, plain),
        "resources": resources(job.resources),
    }


def _secret(variable: str, secret: str, key: str) -> Object:
    reference = {"secretKeyRef": {"name": secret, "key": key}}
    return {"name": variable, "valueFrom": reference}


def _probe(probe: Probe, service: Service) -> Object:
    port = probe.port or service.port
    scheme = "HTTPS" if service.tls else "HTTP"
    action: Object = {"tcpSocket": {"port": port}}
    if probe.path is not None:
        action = {"httpGet": {"path": probe.path, "port": port, "scheme": scheme}}
    return action | {
        "initialDelaySeconds": probe.initial_delay_s,
        "periodSeconds": probe.period_s,
        "timeoutSeconds": probe.timeout_s,
        "failureThreshold": probe.failure_threshold,
    }


def resources(spec: Resources) -> Object:
    """Render requests and limits, leaving out what is empty."""
    both = {"requests": dict(spec.requests), "limits": dict(spec.limits)}
    return {key: value for key, value in both.items() if value}


def _namespace(app: App) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": app.namespace,
            "labels": {"app.kubernetes.io/part-of": app.name},
        },
    }


def _labels(app: App, name: str, component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": app.name,
        "app.kubernetes.io/component": component,
    }


def _documents(path: Path, namespace: str) -> list[Object]:
    """Read a multi-document file; objects without a namespace get the app's."""
    try:
        documents = [d for d in yaml.safe_load_all(path.read_text(encoding="utf-8")) if d]
    except yaml.YAMLError as error:
        raise ContentError(str(path), f"not valid YAML: {error}") from error
    for document in documents:
        document["metadata"].setdefault("namespace", namespace)
    return documents
