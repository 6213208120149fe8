"""What is mounted into the pods of a service: flags, settings, its certificate, the trust bundle.

The same for pods that serve and pods that do a job of the service. Not here: the objects that hold
the content (``manifests``, ``tls_manifests``).
"""

from __future__ import annotations

import posixpath
from typing import Any

from aiopslab.models.app import App
from aiopslab.services.config import CONFIG_DIR
from aiopslab.services.flags import DIRECTORY, map_name
from aiopslab.services.tls_manifests import (
    AUTHORITIES_FILE,
    CERTIFICATE_FILE,
    members,
    secret_name,
    trust_name,
)

Object = dict[str, Any]


def mount(app: App, service: str, pod: Object) -> Object:
    """Return a pod spec with the volumes of a service, mounted in its first container."""
    found: list[tuple[str, Object, str]] = []
    if app.flags_of(service):
        found.append(("flags", {"configMap": {"name": map_name(app.name)}}, DIRECTORY))
    if app.services[service].program:
        # Programs that are told to read their settings again find them here.
        found.append(("config", {"configMap": {"name": f"{service}-config"}}, CONFIG_DIR))
    if app.tls is not None and service in members(app):
        secret = {"secret": {"secretName": secret_name(service)}}
        found.append(("certificate", secret, posixpath.dirname(CERTIFICATE_FILE)))
        bundle = {"configMap": {"name": trust_name(app.name)}}
        found.append(("authorities", bundle, posixpath.dirname(AUTHORITIES_FILE)))
    if not found:
        return pod
    first, *others = pod["containers"]
    mounts = [{"name": n, "mountPath": path, "readOnly": True} for n, _, path in found]
    volumes = [{"name": name} | source for name, source, _ in found]
    return pod | {"containers": [first | {"volumeMounts": mounts}, *others], "volumes": volumes}
