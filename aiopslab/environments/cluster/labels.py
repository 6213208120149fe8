"""The labels by which everything of ours on a cluster is known, and nothing else is.

Whatever the lab creates carries them, so that a crash at any moment leaves only things that can be
found again. Not here: finding and removing (``cluster.cleaning``).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiopslab.models.kube import Object
from aiopslab.world.kube.objects import labels_of

MANAGED_BY = "app.kubernetes.io/managed-by"
US = "aiopslab"
TRIAL = "aiopslab/trial"
PART = "aiopslab/part"
ACCESS = "access"
"""The ``PART`` of the objects that give an agent its rights."""


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


def is_agents_access(obj: Object) -> bool:
    """Whether an object belongs to an agent's rights, not to the app that it looks at."""
    return has(obj, ours(part=ACCESS))
