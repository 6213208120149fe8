"""The desired state of a namespace, for comparing one moment with another.

What people and pipelines declared, without what the cluster made of it: no status, no server-set
metadata, no allocated addresses, no objects that a controller owns. Two snapshots of a namespace
nobody has touched are equal.
"""

from __future__ import annotations

from aiopslab.world.kube import kinds
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object, Objects, clone, controller_of
from aiopslab.world.kube.revisions import REVISION
from aiopslab.world.kube.store import ObjectStore

_LEFT_OUT = (
    "Pod",
    "Endpoints",
    "EndpointSlice",
    "Event",
    "ReplicaSet",
    "Lease",
    "ControllerRevision",
)
_SERVER_SET = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
)
_BOOKKEEPING = (REVISION, "kubectl.kubernetes.io/last-applied-configuration")
"""Annotations in which the cluster or a client notes what it did, not what is wanted."""


def take(store: ObjectStore, namespace: str) -> Objects:
    """Return copies of a namespace's declared objects, by kind and name."""
    found = []
    for kind in declared_kinds():
        found += [declared(o) for o in store.list(kind.kind, namespace) if controller_of(o) is None]
    return found


def declared_kinds() -> list[Kind]:
    """Return the kinds whose objects people and pipelines declare in a namespace, by name."""
    every = (kinds.BY_KIND[name] for name in sorted(kinds.BY_KIND))
    return [kind for kind in every if kind.namespaced and kind.kind not in _LEFT_OUT]


def declared(obj: Object) -> Object:
    """Return a copy of one object without what the cluster set."""
    copy: Object = clone({k: v for k, v in obj.items() if k != "status"})
    metadata = copy["metadata"]
    for key in _SERVER_SET:
        metadata.pop(key, None)
    annotations = metadata.get("annotations", {})
    for key in _BOOKKEEPING:
        annotations.pop(key, None)
    if not annotations:
        metadata.pop("annotations", None)
    spec = copy.get("spec", {})
    if copy["kind"] == "Service" and spec.get("clusterIP") != "None":
        for key in ("clusterIP", "clusterIPs"):
            spec.pop(key, None)
    elif copy["kind"] == "PersistentVolumeClaim":
        spec.pop("volumeName", None)
    return copy
