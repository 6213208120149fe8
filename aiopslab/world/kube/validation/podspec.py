"""Reading pods: states, resources, ports, tolerations; what controllers and kubelet share.

Pure functions of wire-form dicts, which are never changed here. Not here: accessors of any object
(``objects``), defaults (``defaults``), the environment of containers (``kubelet.config``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiopslab.models.timestamps import unix
from aiopslab.world.kube.objects import Object, condition, deleting, dig, is_true
from aiopslab.world.kube.quantity import amount

_SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of generated names: no vowels, so no words (k8s.io/apimachinery/pkg/util/rand)."""


def safe_encode(text: str) -> str:
    """Map hex digits to the alphabet of generated names."""
    return "".join(_SAFE_ALPHABET[ord(c) % len(_SAFE_ALPHABET)] for c in text)


def content_hash(value: object, *, length: int = 10) -> str:
    """Hash a JSON value into a name-safe text, stable across processes."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return safe_encode(hashlib.sha256(canonical.encode()).hexdigest()[:length])


def whole(text: object, default: int) -> int:
    """Read a whole number that anybody may have written, an annotation for instance."""
    try:
        return int(str(text))
    except ValueError:
        return default


def created(obj: Object) -> float:
    """Creation time in unix seconds."""
    return unix(obj["metadata"]["creationTimestamp"])


# -- pods -----------------------------------------------------------------------------------------


def phase(pod: Object) -> str:
    """Phase; ``Pending`` before the kubelet reported."""
    return str(dig(pod, "status", "phase", default="Pending"))


def is_finished(pod: Object) -> bool:
    """Every container ended for good."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Neither finished nor being deleted: counts towards replicas."""
    return not is_finished(pod) and not deleting(pod)


def is_ready(pod: Object) -> bool:
    """The Ready condition is True."""
    return is_true(pod, "Ready")


def ready_since(pod: Object) -> float | None:
    """Unix seconds since which the pod is ready, None if it is not."""
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    return unix(ready["lastTransitionTime"])


def is_available(pod: Object, min_ready_s: float, now: float) -> bool:
    """Ready for at least ``min_ready_s``."""
    since = ready_since(pod)
    return since is not None and (min_ready_s == 0 or since + min_ready_s <= now)


def restarts(pod: Object) -> int:
    """Restarts of all containers."""
    statuses = dig(pod, "status", "containerStatuses", default=())
    return sum(int(status.get("restartCount", 0)) for status in statuses)


def resource_requests(spec: Object) -> dict[str, float]:
    """Sum what the scheduler reserves for a pod spec, in cores, bytes or counts.

    The larger of the sum over containers and the largest init container, as the scheduler does.
    """
    total: dict[str, float] = {}
    for container in spec.get("containers") or ():
        for resource, value in requests_of(container).items():
            total[resource] = total.get(resource, 0.0) + value
    for container in spec.get("initContainers") or ():
        for resource, value in requests_of(container).items():
            total[resource] = max(total.get(resource, 0.0), value)
    return total


def requests_of(container: Object) -> dict[str, float]:
    """Requests of one container, in cores, bytes or counts."""
    resources = container.get("resources") or {}
    # A limit without a request is a request of the same size.
    merged = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {key: amount(value) for key, value in merged.items()}


def qos_class(spec: Object) -> str:
    """``Guaranteed``, ``Burstable`` or ``BestEffort`` from requests and limits."""
    containers = spec.get("containers") or ()
    resources = [container.get("resources") or {} for container in containers]
    if not any(item.get("requests") or item.get("limits") for item in resources):
        return "BestEffort"
    for container, item in zip(containers, resources, strict=True):
        limits, requests = item.get("limits") or {}, requests_of(container)
        if any(key not in limits for key in ("cpu", "memory")):
            return "Burstable"
        if any(amount(limits[key]) != requests[key] for key in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def port_names(spec: Object) -> dict[str, int]:
    """Map the names of container ports to their numbers."""
    return {
        item["name"]: int(item["containerPort"])
        for container in spec.get("containers") or ()
        for item in container.get("ports") or ()
        if item.get("name")
    }


def named_port(spec: Object, port: int | str) -> int | None:
    """Resolve a port number or the name of a container port; None if no container has it."""
    if isinstance(port, int):
        return port
    return int(port) if port.isdecimal() else port_names(spec).get(port)


# -- taints ---------------------------------------------------------------------------------------


def tolerates(tolerations: Iterable[Mapping[str, Any]], taint: Mapping[str, Any]) -> bool:
    """Whether any toleration matches a taint (key, operator, value, effect)."""
    return any(_tolerated(item, taint) for item in tolerations)


def _tolerated(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")
