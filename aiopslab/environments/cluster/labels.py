"""The labels by which everything of ours on a cluster is known, and nothing else is.

Whatever the lab creates carries them, so that a crash at any moment leaves only things that can be
found again. Not here: finding and removing (``cluster.cleaning``).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiopslab.models.kube import Object
from aiopslab.world.kube.objects import labels_of, name_of

MANAGED_BY = "app.kubernetes.io/managed-by"
US = "aiopslab"
TRIAL = "aiopslab/trial"
PART = "aiopslab/part"
ACCESS = "access"
"""The ``PART`` of the objects that give an agent its rights."""
_ACCESS_KINDS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def ours(trial: str = "", *, part: str = "") -> dict[str, str]:
    """Return the labels of everything of ours, of one trial, or of one part of it."""
    labels = {MANAGED_BY: US}
    labels |= {TRIAL: trial} if trial else {}
    return labels | ({PART: part} if part else {})


def selector(labels: Mapping[str, str]) -> str:
    """Return the label selector of objects that have all of these labels."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def has(obj: Object, labels: Mapping[str, str]) -> bool:
    """Whether an object has all of these labels."""
    return labels.items() <= labels_of(obj).items()


def labelled(obj: Object, labels: Mapping[str, str]) -> Object:
    """Return an object with these labels added to its own."""
    metadata = obj.get("metadata") or {}
    both = {**(metadata.get("labels") or {}), **labels}
    return {**obj, "metadata": {**metadata, "labels": both}}


def access_name(trial: str) -> str:
    """Return what all objects that give the agent of a trial its rights are called."""
    return f"on-call-{trial}"


def is_agents_access(obj: Object) -> bool:
    """Whether an object belongs to an agent's rights, not to the app that it looks at.

    Labels alone do not make it so: an agent that mitigates may put them on whatever it likes.
    """
    mine = access_name(labels_of(obj).get(TRIAL, ""))
    is_called_so = obj.get("kind") in _ACCESS_KINDS and name_of(obj) == mine
    return is_called_so and has(obj, ours(part=ACCESS))
