"""Small accessors for Kubernetes objects in their wire form (plain dicts).

Objects stored by the API server are shared, not copied: read them through these, and
:func:`clone` before changing anything. Not here: selectors, quantities, defaults, each with a
module of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiopslab.models.kube import Object as Object

Objects = list[Object]


def clone(value: Any) -> Any:
    """Copy a JSON tree. Several times faster than ``copy.deepcopy``: no memo, no types."""
    if isinstance(value, dict):
        return {k: clone(v) if isinstance(v, (dict, list)) else v for k, v in value.items()}
    if isinstance(value, list):
        return [clone(v) if isinstance(v, (dict, list)) else v for v in value]
    return value


def without_nulls(value: Any) -> Any:
    """Copy a JSON tree and drop the nulls in it: to the API, null means left out."""
    if isinstance(value, dict):
        return {
            k: without_nulls(v) if isinstance(v, (dict, list)) else v
            for k, v in value.items()
            if v is not None
        }
    if isinstance(value, list):
        return [
            without_nulls(v) if isinstance(v, (dict, list)) else v for v in value if v is not None
        ]
    return value


def name_of(obj: Object) -> str:
    """Return ``metadata.name``."""
    name: str = obj["metadata"].get("name", "")
    return name


def namespace_of(obj: Object) -> str:
    """Return ``metadata.namespace``; empty for cluster-scoped objects."""
    return obj["metadata"].get("namespace") or ""


def uid_of(obj: Object) -> str:
    """Return ``metadata.uid``; empty before creation."""
    return obj["metadata"].get("uid") or ""


def labels_of(obj: Object) -> dict[str, str]:
    """Return ``metadata.labels``, empty if there are none."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    """Return ``metadata.annotations``, empty if there are none."""
    return obj["metadata"].get("annotations") or {}


def deleting(obj: Object) -> bool:
    """Whether deletion has been asked for and is not finished."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def dig(obj: Any, *path: str | int, default: Any = None) -> Any:
    """Follow keys and list indexes; ``default`` as soon as one is missing or null."""
    for step in path:
        try:
            obj = obj[step]
        except (KeyError, IndexError, TypeError):
            return default
    return default if obj is None else obj


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference marked as controller, if any."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def owner_reference(owner: Object, *, controller: bool = True) -> Object:
    """Build the reference that makes ``owner`` own an object in its namespace."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": controller,
        "blockOwnerDeletion": controller,
    }


def condition(obj: Object, type_: str) -> Object | None:
    """Return a condition of ``status.conditions`` by its type."""
    for item in dig(obj, "status", "conditions", default=()):
        if item.get("type") == type_:
            return dict(item)
    return None


def is_true(obj: Object, type_: str) -> bool:
    """Whether a condition exists with status ``True``."""
    found = condition(obj, type_)
    return found is not None and found.get("status") == "True"


def set_condition(conditions: Iterable[Object], new: Object, now: str) -> list[Object]:
    """Return the conditions with one added or replaced.

    ``lastTransitionTime`` moves only when the status changes, as controllers do it.
    """
    result: list[Object] = []
    placed = False
    for old in conditions:
        if old.get("type") != new["type"]:
            result.append(old)
            continue
        since = old.get("lastTransitionTime", now) if old.get("status") == new["status"] else now
        result.append({**new, "lastTransitionTime": since})
        placed = True
    if not placed:
        result.append({**new, "lastTransitionTime": now})
    return result
