"""What an update may not change, by kind, in the API server's words.

Neighbours: ``rules`` (what any version of an object must satisfy).
"""

from __future__ import annotations

import json
from typing import Any

from aiopslab.world.kube import quantity
from aiopslab.world.kube.errors import Cause
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object, clone, dig

_FIXED: dict[str, tuple[tuple[str, ...], ...]] = {
    "Deployment": (("spec", "selector"),),
    "ReplicaSet": (("spec", "selector"),),
    "DaemonSet": (("spec", "selector"),),
    "Job": (
        ("spec", "completions"),
        ("spec", "selector"),
        ("spec", "template"),
        ("spec", "completionMode"),
    ),
    "PriorityClass": (("value",),),
    "Secret": (("type",),),
}
"""Single fields that never change."""

_STATEFUL_SET_MAY = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_STATEFUL_SET_WORDS = (
    "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', "
    "'template', 'updateStrategy', 'revisionHistoryLimit', "
    "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_POD_WORDS = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)
_CLAIM_WORDS = (
    "Forbidden: spec is immutable after creation except resources.requests and "
    "volumeAttributesClassName for bound claims"
)
_SHRUNK_WORDS = "Forbidden: field can not be less than status.capacity"
_IMMUTABLE_DATA = "Forbidden: field is immutable when `immutable` is set"


def check(kind: Kind, old: Object, new: Object) -> list[Cause]:
    """Return every forbidden change between two versions of an object."""
    causes = [
        Cause(".".join(path), f"Invalid value: {_json(dig(new, *path))}: field is immutable")
        for path in _FIXED.get(kind.kind, ())
        if dig(old, *path) != dig(new, *path)
    ]
    if kind.kind in ("RoleBinding", "ClusterRoleBinding"):
        if old.get("roleRef") != new.get("roleRef"):
            value = _json(new.get("roleRef"))
            causes.append(Cause("roleRef", f"Invalid value: {value}: cannot change roleRef"))
    elif kind.kind == "StatefulSet":
        if _without(old["spec"], _STATEFUL_SET_MAY) != _without(new["spec"], _STATEFUL_SET_MAY):
            causes.append(Cause("spec", _STATEFUL_SET_WORDS))
    elif kind.kind == "Pod":
        causes += _pod(old["spec"], new["spec"])
    elif kind.kind == "Service":
        causes += _service(old["spec"], new["spec"])
    elif kind.kind == "PersistentVolumeClaim":
        causes += _claim(old, new)
    elif kind.kind in ("ConfigMap", "Secret") and old.get("immutable"):
        causes += [
            Cause(name, _IMMUTABLE_DATA)
            for name in ("immutable", "data", "binaryData")
            if old.get(name) != new.get(name)
        ]
    return causes


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _without(spec: Object, names: tuple[str, ...]) -> Object:
    return {k: v for k, v in spec.items() if k not in names}


def _pod(old: Object, new: Object) -> list[Cause]:
    if _pod_core(old) != _pod_core(new):
        return [Cause("spec", _POD_WORDS)]
    kept = new.get("tolerations") or []
    if any(toleration not in kept for toleration in old.get("tolerations") or ()):
        words = "Forbidden: existing toleration can not be modified except its tolerationSeconds"
        return [Cause("spec.tolerations", words)]
    return []


def _pod_core(spec: Object) -> Object:
    """Return the part of a pod's spec that may not change."""
    core: Object = clone(_without(spec, ("activeDeadlineSeconds", "tolerations")))
    for name in ("containers", "initContainers"):
        for container in core.get(name, ()):
            container.pop("image", None)
    return core


def _service(old: Object, new: Object) -> list[Cause]:
    was, now = old.get("clusterIP"), new.get("clusterIP")
    if was and was != now and new.get("type") != "ExternalName":
        value = _json([now] if now else [])
        return [Cause("spec.clusterIPs[0]", f"Invalid value: {value}: may not change once set")]
    return []


def _claim(old: Object, new: Object) -> list[Cause]:
    def core(obj: Object) -> Object:
        return _without(obj["spec"], ("resources", "volumeName", "volumeAttributesClassName"))

    asked = dig(new, "spec", "resources", "requests", "storage", default="0")
    has = dig(old, "status", "capacity", "storage", default="0")
    if quantity.parse(asked) < quantity.parse(has):
        return [Cause("spec.resources.requests.storage", _SHRUNK_WORDS)]
    moved = old["spec"].get("volumeName") not in (None, new["spec"].get("volumeName"))
    if core(old) != core(new) or moved:
        return [Cause("spec", _CLAIM_WORDS)]
    return []
