"""Kubernetes manifests of mutual TLS: authority, trust bundle, certificates, and their renewal.

* Secret ``<app>-authority``: certificate and key of the app's own authority;
* ConfigMap ``<app>-trust`` (``ca.crt``): what services trust, mounted at ``/etc/ca``;
* ConfigMap ``<app>-certificates``: the names each certificate is to cover, ``validity_s``;
* Secret ``<service>-tls`` (``kubernetes.io/tls``), mounted at ``/etc/tls``;
* CronJob ``certificates``: reads the former, writes the latter.

Not here: what the job does (``world.images.renewer``), handshakes (``world.tls``).
"""

from __future__ import annotations

import base64
from typing import Any

from aiopslab.models.app import App
from aiopslab.services.certificates import KeyPair, authority, issue

Object = dict[str, Any]

CERTIFICATE_FILE = "/etc/tls/tls.crt"
AUTHORITIES_FILE = "/etc/ca/ca.crt"
VALIDITY = "validity_s"
"""Key of ``<app>-certificates`` that is no service: how long certificates hold, in seconds."""
RENEWAL = "certificates"
"""Name of the CronJob."""


def authority_name(app: str) -> str:
    """Name the Secret of an app's authority."""
    return f"{app}-authority"


def trust_name(app: str) -> str:
    """Name the ConfigMap of an app's trust bundle."""
    return f"{app}-trust"


def requests_name(app: str) -> str:
    """Name the ConfigMap that says what certificates cover."""
    return f"{app}-certificates"


def secret_name(service: str) -> str:
    """Name the Secret of a service's certificate."""
    return f"{service}-tls"


def members(app: App) -> list[str]:
    """Name the services that have a certificate: those that serve TLS, and their callers."""
    serving = {name for name, service in app.services.items() if service.tls}
    calling = {n for n, service in app.services.items() if serving & set(service.depends_on())}
    return sorted(serving | calling)


def names_of(app: App, service: str) -> list[str]:
    """Return the DNS names that a service's certificate covers."""
    full = f"{service}.{app.namespace}"
    return [service, full, f"{full}.svc", f"{full}.svc.cluster.local"]


def tls_objects(app: App, now: float) -> list[Object]:
    """Render everything, certificates issued at ``now`` (unix seconds); nothing without TLS."""
    if app.tls is None:
        return []
    signer = authority(app.tls.authority)
    requests = {name: ",".join(names_of(app, name)) for name in members(app)}
    requests[VALIDITY] = f"{app.tls.validity:.0f}"
    objects = [
        _secret(app, authority_name(app.name), signer),
        _object(app, "ConfigMap", trust_name(app.name), data={"ca.crt": signer.certificate}),
        _object(app, "ConfigMap", requests_name(app.name), data=requests),
    ]  # fmt: skip
    for name in members(app):
        pair = issue(signer, name, names_of(app, name), now, now + app.tls.validity)
        objects.append(certificate_object(app, name, pair))
    return [*objects, _renewal(app)]


def certificate_object(app: App, service: str, pair: KeyPair) -> Object:
    """Render the Secret of a service's certificate."""
    return _secret(app, secret_name(service), pair)


def _secret(app: App, name: str, pair: KeyPair) -> Object:
    return _object(app, "Secret", name, type="kubernetes.io/tls", data=tls_data(pair))


def _object(app: App, kind: str, name: str, **parts: Any) -> Object:
    labels = {"app.kubernetes.io/part-of": app.name}
    meta = {"name": name, "namespace": app.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": kind, "metadata": meta, **parts}


def tls_data(pair: KeyPair) -> dict[str, str]:
    """Return the data of a Secret of type ``kubernetes.io/tls``."""
    texts = {"tls.crt": pair.certificate, "tls.key": pair.key}
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}


def _renewal(app: App) -> Object:
    assert app.tls is not None, "asked by tls_objects"
    labels = {"app.kubernetes.io/part-of": app.name, "app.kubernetes.io/component": "job"}
    container = {
        "name": "renew",
        "image": app.tls.image.ref,
        "imagePullPolicy": "IfNotPresent",
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "200m", "memory": "64Mi"},
        },
    }
    pod = {"restartPolicy": "Never", "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": RENEWAL,
            "namespace": app.namespace,
            "labels": labels,
            "annotations": {
                "owner": app.tls.owner,
                "description": "Renews the certificates of services before they end.",
            },
        },
        "spec": {
            "schedule": f"*/{app.tls.renew_every_min} * * * *",
            "concurrencyPolicy": "Forbid",
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 2,
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                }
            },
        },
    }
