"""Kubernetes manifests of data stores: StatefulSet, Services, Secrets, configuration.

How a store is told what it needs, here and in its image alike:

* each user has the Secret ``<store>-<user>`` (``username``, ``password``);
* PostgreSQL reads ``/etc/postgresql/postgresql.conf`` (ConfigMap ``<store>-config``) and, when the
  volume is empty, creates ``POSTGRES_DB`` and one role per variable ``ROLE_<USER>_PASSWORD``;
* Valkey reads its command line; the password comes from ``VALKEY_PASSWORD``;
* NATS reads ``/etc/nats/nats.conf`` and, when the volume is empty, creates the streams of
  ``/etc/nats/streams.json`` (both ConfigMap ``<store>-config``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from aiopslab.models.app import App
from aiopslab.models.store import Store
from aiopslab.services.config import as_text, prefix

Object = dict[str, Any]

_DATA = {"postgres": "/var/lib/postgresql/data", "valkey": "/data", "nats": "/data"}
_KIND = {"postgres": "database", "valkey": "cache", "nats": "queue"}
_CONFIG = {"postgres": "/etc/postgresql", "nats": "/etc/nats"}
"""Where the ConfigMap is mounted, of those that have one."""


def store_objects(app: App, name: str, password: Callable[[str], str]) -> list[Object]:
    """Render a store; ``password`` gives the password of a user."""
    store = app.stores[name]
    labels = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": app.name,
        "app.kubernetes.io/component": _KIND[store.kind],
    }
    meta = {"name": name, "namespace": app.namespace, "labels": labels}
    owned = meta | {"annotations": {"owner": store.owner, "description": store.summary}}
    objects = [_secret(meta, name, user, password(user)) for user in sorted(store.users)]
    if store.kind in _CONFIG:
        objects.append(_configuration(meta, store))
    selector = {"app.kubernetes.io/name": name}
    port = {"name": store.kind, "port": store.port, "targetPort": store.port}
    for service, extra in ((name, {}), (f"{name}-pods", {"clusterIP": "None"})):
        spec = extra | {"selector": selector, "ports": [port]}
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": owned | {"name": service},
                "spec": spec,
            }
        )
    objects.append(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": owned,
            "spec": _stateful_set(name, store, labels),
        }
    )
    return objects


def _secret(meta: Object, store: str, user: str, password: str) -> Object:
    data = {"username": user, "password": password}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta | {"name": f"{store}-{user}"},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def _configuration(meta: Object, store: Store) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta | {"name": f"{meta['name']}-config"},
        "data": store_files(store),
    }


def store_files(store: Store) -> dict[str, str]:
    """Return the configuration files of a database or a queue, by name."""
    return _nats_files(store) if store.kind == "nats" else _postgresql_files(store)


def _postgresql_files(store: Store) -> dict[str, str]:
    lines = [f"{key} = {as_text(value)}" for key, value in store.config.items()]
    text = "\n".join(["listen_addresses = '*'", f"port = {store.port}", *lines]) + "\n"
    return {"postgresql.conf": text}


def _nats_files(store: Store) -> dict[str, str]:
    inner = ("max_file_store", "max_memory_store")
    jetstream = [f"  {k}: {as_text(v)}" for k, v in store.config.items() if k in inner]
    outer = [f"{k}: {as_text(v)}" for k, v in store.config.items() if k not in inner]
    secret = ["authorization {", "  password: $NATS_PASSWORD", "}"] if store.users else []
    lines = [
        f"port: {store.port}", "http_port: 8222", *outer, *secret,
        "jetstream {", f'  store_dir: "{_DATA["nats"]}"', *jetstream, "}",
    ]  # fmt: skip
    streams = {name: stream.model_dump(mode="json") for name, stream in store.streams.items()}
    return {
        "nats.conf": "\n".join(lines) + "\n",
        "streams.json": json.dumps(streams, indent=2) + "\n",
    }


def _stateful_set(name: str, store: Store, labels: dict[str, str]) -> Object:
    container = _container(name, store)
    spec: Object = {"terminationGracePeriodSeconds": 30, "containers": [container]}
    if store.kind in _CONFIG:
        spec["volumes"] = [{"name": "config", "configMap": {"name": f"{name}-config"}}]
    return {
        "replicas": store.replicas,
        "serviceName": f"{name}-pods",
        "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "template": {
            "metadata": {
                "labels": labels | {"app.kubernetes.io/version": store.image.version},
                "annotations": {"owner": store.owner},
            },
            "spec": spec,
        },
        "volumeClaimTemplates": [
            {
                "metadata": {"name": "data"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": _quantity(store.volume)}},
                },
            }
        ],
    }


def _container(name: str, store: Store) -> Object:
    mounts = [{"name": "data", "mountPath": _DATA[store.kind]}]
    container: Object = {
        "name": store.kind,
        "image": store.image.ref,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": store.kind, "containerPort": store.port}],
        "volumeMounts": mounts,
        "readinessProbe": {
            "tcpSocket": {"port": store.port},
            "periodSeconds": 10,
            "failureThreshold": 3,
        },
        "resources": {
            key: dict(value)
            for key, value in (
                ("requests", store.resources.requests),
                ("limits", store.resources.limits),
            )
            if value
        },
    }
    if store.kind == "postgres":
        container["args"] = ["-c", "config_file=/etc/postgresql/postgresql.conf"]
        roles = [(f"ROLE_{prefix(user)}_PASSWORD", user) for user in sorted(store.users)]
        container["env"] = [
            {"name": "POSTGRES_DB", "value": store.database},
            *(_password(variable, name, user) for variable, user in roles),
        ]
    elif store.kind == "nats":
        container["args"] = ["--config", f"{_CONFIG['nats']}/nats.conf"]
        container["env"] = [_password("NATS_PASSWORD", name, user) for user in sorted(store.users)]
    else:
        container["args"] = _valkey_args(store)
        container["env"] = [
            _password("VALKEY_PASSWORD", name, user) for user in sorted(store.users)
        ]
    if store.kind in _CONFIG:
        mounts.append({"name": "config", "mountPath": _CONFIG[store.kind]})
    return container


def _valkey_args(store: Store) -> list[str]:
    args = ["valkey-server", "--port", str(store.port)]
    for key, value in store.config.items():
        args += [f"--{key}", as_text(value)]
    return args + (["--requirepass", "$(VALKEY_PASSWORD)"] if store.users else [])


def _password(variable: str, store: str, user: str) -> Object:
    reference = {"secretKeyRef": {"name": f"{store}-{user}", "key": "password"}}
    return {"name": variable, "valueFrom": reference}


def _quantity(size: int) -> str:
    """Write bytes in the largest binary unit that divides them."""
    for unit, suffix in ((2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")):
        if size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)
