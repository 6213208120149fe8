"""Server-set metadata through the life of an object: creation, update, deletion.

Functions on copies the API server has made. Neighbour: ``api``, which calls them in order.
"""

from __future__ import annotations

import uuid

from aiopslab.models.kube import KubeError
from aiopslab.models.timestamps import rfc3339
from aiopslab.seeds import Streams
from aiopslab.world.kube.errors import bad_request, conflict
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object, deleting
from aiopslab.world.kube.options import DeleteOptions
from aiopslab.world.kube.patches import ownership

LONGEST_S = 2**63 // 10**9
"""Seconds that a ``time.Duration`` of Go can hold."""
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of generated names: no vowels, so no words."""
_CLIENTS_MAY_NOT_SET = (
    "managedFields",
    "selfLink",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_KEPT = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def stamp(kind: Kind, new: Object, now: float, streams: Streams) -> None:
    """Give a new object its name (if generated), uid, creation time and first generation.

    Raises:
        KubeError: 422, it has no name.
    """
    metadata = new["metadata"]
    for key in _CLIENTS_MAY_NOT_SET:
        metadata.pop(key, None)
    if not metadata.get("name") and metadata.get("generateName"):
        draw = streams("names")
        suffix = "".join(draw.choice(_SUFFIX_ALPHABET) for _ in range(5))
        metadata["name"] = metadata["generateName"][:58] + suffix
    if not metadata.get("name"):
        words = "metadata.name: Required value: name or generateName is required"
        raise KubeError(422, "Invalid", f'{kind.qualified} "" is invalid: {words}')
    metadata["uid"] = str(uuid.UUID(int=streams("uids").getrandbits(128), version=4))
    metadata["creationTimestamp"] = rfc3339(now)
    if "spec" in new:
        metadata["generation"] = 1


def carry_over(kind: Kind, old: Object, new: Object) -> None:
    """Keep what an update may not touch: server-set metadata, status, allocated addresses.

    Raises:
        KubeError: 409, the update was made from a stale copy; 400, it renames the object.
    """
    was, now = old["metadata"], new.setdefault("metadata", {})
    if now.get("name") != was["name"] or now.get("namespace") != was.get("namespace"):
        raise bad_request(
            f"the name of the object ({now.get('name')}) does not match the name on the URL "
            f"({was['name']})"
        )
    for key in ("resourceVersion", "uid"):
        if now.get(key) not in (None, "", was[key]):
            raise conflict(kind, was["name"])
    entries = ownership.settled(kind, old, now.pop("managedFields", None))
    if entries is not None:
        now["managedFields"] = entries
    for key in _KEPT:
        if key in was:
            now[key] = was[key]
        else:
            now.pop(key, None)
    new["apiVersion"], new["kind"] = kind.api_version, kind.kind
    if "status" in old:
        new["status"] = old["status"]
    else:
        new.pop("status", None)
    if kind.kind == "Service":
        _keep_address(old["spec"], new.setdefault("spec", {}))


def _keep_address(old: Object, new: Object) -> None:
    if new.get("clusterIP") or new.get("type") == "ExternalName":
        return
    for key in ("clusterIP", "clusterIPs"):
        if key in old:
            new[key] = old[key]


def check_preconditions(kind: Kind, obj: Object, options: DeleteOptions) -> None:
    """Hold a deletion to the incarnation and version its author had in mind.

    Raises:
        KubeError: 409, the object is another one.
    """
    metadata = obj["metadata"]
    for word, key, wanted in (
        ("UID", "uid", options.uid),
        ("ResourceVersion", "resourceVersion", options.resource_version),
    ):
        if wanted and wanted != metadata[key]:
            why = (
                f"the {word} in the precondition ({wanted}) does not match the {word} in record "
                f"({metadata[key]}). The object might have been deleted and then recreated"
            )
            raise conflict(kind, metadata["name"], why)


def mark_deleted(kind: Kind, obj: Object, now: float, options: DeleteOptions) -> None:
    """Set deletion timestamp, grace period and finalizers; a later, shorter grace wins."""
    metadata = obj["metadata"]
    first = not deleting(obj)
    grace = _grace(obj, options.grace_s) if kind.kind == "Pod" else 0
    if first or grace < metadata["deletionGracePeriodSeconds"]:
        metadata["deletionTimestamp"] = rfc3339(now + grace)
        metadata["deletionGracePeriodSeconds"] = grace
    if not first:
        return
    if "generation" in metadata:
        metadata["generation"] += 1
    finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.propagation)
    if finalizer:
        metadata["finalizers"] = [*(metadata.get("finalizers") or ()), finalizer]
    if kind.kind == "Namespace":
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}


def _grace(pod: Object, asked: int | None) -> int:
    """Return the grace period of a pod: 0 if it never ran on a node or has finished.

    A longer one than ``LONGEST_S`` would end on a date that cannot be written.
    """
    phase = (pod.get("status") or {}).get("phase")
    if not pod["spec"].get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if asked is not None:
        return min(max(asked, 0), LONGEST_S)
    seconds: int = pod["spec"].get("terminationGracePeriodSeconds", 30)
    return min(seconds, LONGEST_S)


def gone(kind: Kind, obj: Object) -> bool:
    """Whether an object marked as deleted has nothing left that holds it back."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if kind.kind == "Namespace":
        return not obj.get("spec", {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")
