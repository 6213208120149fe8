"""Rollout arithmetic of Deployments, and which ReplicaSets are theirs.

Formulas are those of kubernetes/pkg/controller/deployment/util. Not here: writes to the API
(``deployment``), revisions and the patches that go back to one (``world.kube.revisions``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.objects import (
    Object,
    annotations_of,
    controller_of,
    name_of,
)
from aiopslab.world.kube.revisions import REVISION, template_of
from aiopslab.world.kube.validation.podspec import content_hash, created, whole

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def absolute(value: int | str, total: int, *, round_up: bool) -> int:
    """Resolve a count or a percentage of ``total``.

    >>> absolute("25%", 3, round_up=True), absolute("25%", 3, round_up=False)
    (1, 0)
    """
    if isinstance(value, int):
        return value
    # Nothing else than a percentage passes validation; other text counts as none.
    exact = whole(value.removesuffix("%"), 0) * total
    return -(-exact // 100) if round_up else exact // 100


def fenceposts(max_surge: int | str, max_unavailable: int | str, desired: int) -> tuple[int, int]:
    """Resolve (surge, unavailable); both zero would never progress, so unavailable becomes 1."""
    surge = absolute(max_surge, desired, round_up=True)
    unavailable = absolute(max_unavailable, desired, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


@dataclass(frozen=True, slots=True)
class Size:
    """What rollout arithmetic sees of a ReplicaSet."""

    wanted: int
    """``spec.replicas``."""
    available: int
    """``status.availableReplicas``."""


def new_size(desired: int, surge: int, new: int, old_total: int) -> int:
    """Replicas the new ReplicaSet may be raised to now, never above ``desired + surge`` in all."""
    if new >= desired:
        return desired
    room = desired + surge - new - old_total
    return new + max(0, min(room, desired - new))


def old_sizes(desired: int, unavailable: int, new: Size, old: Sequence[Size]) -> list[int]:
    """Replicas the old ReplicaSets (oldest first) may be lowered to now.

    Pods that are not available go first, whichever ReplicaSet they are of: they serve nobody.
    Then available ones, as long as ``desired - unavailable`` remain.

    Args:
        desired: ``spec.replicas`` of the Deployment.
        unavailable: Resolved maxUnavailable.
        new: Size of the new ReplicaSet.
        old: Sizes of the old ones.
    """
    least = desired - unavailable
    total = new.wanted + sum(size.wanted for size in old)
    budget = total - least - (new.wanted - new.available)
    sizes = [size.wanted for size in old]
    if budget <= 0:
        return sizes
    cleaned = 0
    for index, size in enumerate(old):
        step = min(budget - cleaned, max(0, size.wanted - size.available))
        sizes[index] -= step
        cleaned += step
    spare = new.available + sum(size.available for size in old) - least
    for index, size in enumerate(old):
        step = min(max(spare, 0), sizes[index], size.available)
        # What cleaning left of the unavailable pods is removed before available ones, so only
        # the remainder costs availability.
        sizes[index] -= step
        spare -= step
    return sizes


def proportional(sizes: Sequence[int], target: int, *, previous_max: int) -> list[int]:
    """Spread a resize over the live ReplicaSets of a running rollout, in proportion to their size.

    The largest takes what rounding leaves. ``previous_max`` is replicas plus surge before.
    """
    total = sum(sizes)
    if total == 0 or not sizes:
        return list(sizes)
    change = target - total
    result = list(sizes)
    left = change
    order = sorted(range(len(sizes)), key=lambda index: (-sizes[index], index))
    for index in order:
        share = math.copysign(math.floor(abs(change) * sizes[index] / max(previous_max, 1)), change)
        step = int(max(-result[index], share))
        step = max(step, left) if change < 0 else min(step, left)
        result[index] += step
        left -= step
    for index in order:
        step = max(left, -result[index])
        result[index] += step
        left -= step
    return result


# -- ReplicaSets ----------------------------------------------------------------------------------


def template_hash(template: Object) -> str:
    """Hash a pod template for the ``pod-template-hash`` label."""
    return content_hash(template)


def same_template(deployment: Object, replica_set: Object) -> bool:
    """Whether a ReplicaSet was made from the Deployment's present template."""

    def plain(template: Object) -> Object:
        metadata = {k: v for k, v in (template.get("metadata") or {}).items() if v}
        return {**template, "metadata": metadata}

    return plain(deployment["spec"]["template"]) == plain(template_of(replica_set))


def oldest_first(replica_sets: Sequence[Object]) -> list[Object]:
    """Sort by creation time, then name."""
    return sorted(replica_sets, key=lambda rs: (created(rs), name_of(rs)))


def owned_replica_sets(api: ApiServer, deployment: Object) -> list[Object]:
    """List the ReplicaSets of a Deployment, oldest first."""
    uid = deployment["metadata"]["uid"]
    return oldest_first(
        [
            obj
            for obj in api.owned_by(uid)
            if obj["kind"] == "ReplicaSet" and (controller_of(obj) or {}).get("uid") == uid
        ]
    )


def annotations_for(deployment: Object, replica_set: Object | None, number: int) -> dict[str, str]:
    """Annotations of the new ReplicaSet: the Deployment's own, the revision, the sizes."""
    kept = dict(annotations_of(replica_set)) if replica_set else {}
    own = annotations_of(deployment)
    skipped = (LAST_APPLIED, REVISION, DESIRED, MAXIMUM)
    kept.update({key: value for key, value in own.items() if key not in skipped})
    kept[REVISION] = str(number)
    return kept
