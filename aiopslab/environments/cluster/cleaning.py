"""Finding everything of ours on a cluster, and removing it.

Looks through every kind that can be listed and deleted, cluster-wide, by label alone: no list of
ours is needed, so what a crashed lab left is found as well as what a living one holds. An object
is only deleted while it carries the labels, and only the incarnation that was seen. A namespace of
ours goes with everything in it. Not here: the labels (``cluster.labels``), what keeps a namespace
from going (``cluster.finalizers``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiopslab.environments.cluster.discovery import Served
from aiopslab.environments.cluster.finalizers import let_go
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.labels import MANAGED_BY, TRIAL, US, has, ours, selector
from aiopslab.environments.cluster.together import together
from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube import kinds as world_kinds
from aiopslab.world.kube.objects import (
    controller_of,
    deleting,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)

POLL_S = 0.5
HELD_S = 30.0
"""Seconds that whoever has put a finalizer into a namespace of ours gets to take it off."""
_FIRST = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
"""What could refuse the deletion of everything else."""
_LAST = ("Namespace",)
_ACTOR = "aiopslab"


@dataclass(frozen=True, slots=True)
class Found:
    """One object of ours."""

    served: Served
    namespace: str
    """Empty for a cluster-scoped one."""
    name: str
    uid: str
    owner: str
    """The uid of its controller, which makes and removes it; empty if it has none."""
    going: bool
    """Whether its deletion has been asked for already."""
    trial: str = ""
    """What it was made for; empty for what belongs to no trial."""

    def __str__(self) -> str:
        place = f" -n {self.namespace}" if self.namespace else ""
        return f"{self.served.kind.resource}/{self.name}{place}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is of ours."""

    objects: tuple[Found, ...] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)
    """Kinds that could not be looked at, with the reason."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was removed, and what was there at the end all the same."""

    removed: tuple[Found, ...]
    left: Inventory


async def inventory(kube: ClusterKube, labels: Mapping[str, str]) -> Inventory:
    """List every object that has all of these labels, in the order to delete them.

    Args:
        kube: The cluster.
        labels: From ``cluster.labels.ours``.

    Raises:
        ValueError: The labels are not ours.
        KubeError: The cluster refuses to be asked.
        InfraError: It does not answer.
    """
    if labels.get(MANAGED_BY) != US:
        raise ValueError(f"{dict(labels)!r} would pick what is not ours")
    catalogue = await kube.connection.run(kube.reader.catalogue, fresh=True)
    kinds = [s for s in catalogue.preferred() if {"list", "delete"} <= s.verbs]
    results = await together({s.kind.resource: _of_kind(kube, s, labels) for s in kinds})
    found: dict[str, Found] = {}
    unseen: dict[str, str] = {}
    for kind, result in results.items():
        if isinstance(result, str):
            unseen[kind] = result
        else:
            # Some objects are served by two groups: events.
            found |= {obj.uid: found.get(obj.uid, obj) for obj in result}
    return Inventory(tuple(sorted(found.values(), key=_order)), unseen)


async def clean(
    kube: ClusterKube, labels: Mapping[str, str], *, timeout_s: float = 120.0, name: str = ""
) -> Cleaned:
    """Remove everything that has these labels, and wait until it is gone.

    Finalizers of others are waited for; within namespaces of ours those that nobody takes off in
    ``HELD_S`` are taken off, for a fault or an agent may have put them there.

    Args:
        kube: The cluster.
        labels: From ``cluster.labels.ours``.
        timeout_s: Seconds to wait for what takes its time.
        name: Only what is called so; empty is everything.

    Raises:
        ValueError: The labels are not ours.
        KubeError: A deletion was refused.
        InfraError: The cluster does not answer.
    """
    quiet, clock = kube.unrecorded(), asyncio.get_running_loop().time
    removed: dict[str, Found] = {}
    begun = clock()
    while True:
        # Before the look, which may take longer than that: what was asked for shows in the next.
        passed_s = clock() - begun
        left = _called(await inventory(quiet, labels), name)
        present = {obj.uid for obj in left.objects}
        for obj in left.objects:
            # What a controller of ours made goes with it, and would only come back before.
            if not obj.going and obj.owner not in present:
                await _delete(quiet, obj)
            removed[obj.uid] = obj
        if passed_s > HELD_S:
            await let_go(quiet, [o.name for o in left.objects if _is_ending_space(o)])
        if not left.objects or passed_s > timeout_s:
            gone = (obj for uid, obj in removed.items() if uid not in present)
            return Cleaned(tuple(gone), left)
        await asyncio.sleep(POLL_S)


def _called(found: Inventory, name: str) -> Inventory:
    mine = tuple(obj for obj in found.objects if name in ("", obj.name))
    return Inventory(mine, found.unseen)


def _is_ending_space(obj: Found) -> bool:
    return obj.going and obj.served.kind.kind == "Namespace"


async def clean_trials(kube: ClusterKube, prefix: str, *, timeout_s: float = 120.0) -> Cleaned:
    """Do what ``clean`` does for all trials whose names begin with a prefix; raises as it does.

    Raises:
        ValueError: The prefix is empty, which would be everybody's trials.
    """
    if not prefix:
        raise ValueError("an empty prefix would pick the trials of other runs")
    found = await inventory(kube.unrecorded(), ours())
    removed: list[Found] = []
    left: list[Found] = []
    for trial in sorted({one.trial for one in found.objects if one.trial.startswith(prefix)}):
        done = await clean(kube, ours(trial), timeout_s=timeout_s)
        removed += done.removed
        left += done.left.objects
    return Cleaned(tuple(removed), Inventory(tuple(left), found.unseen))


async def _of_kind(
    kube: ClusterKube, served: Served, labels: Mapping[str, str]
) -> list[Found] | str:
    """List a kind's objects with these labels; or say why they cannot be seen."""
    try:
        objects, _ = await kube.connection.run(
            kube.reader.listing, served, labels=selector(labels), metadata_only=True
        )
    except KubeError as error:
        if error.code in (404, 405):
            return []  # removed since we asked what there is
        # Somebody's own API may be broken for good. One in which we make things is asked in vain
        # only while the server is away: then nobody knows what is left.
        is_theirs = world_kinds.find(served.kind.qualified) is None
        if error.code == 403 or (error.code >= 500 and is_theirs):
            return error.message
        raise
    return [_found(served, obj) for obj in _with(objects, labels)]


def _with(objects: Iterable[Object], labels: Mapping[str, str]) -> list[Object]:
    """Return those that really have the labels, whatever the server made of the selector."""
    return [obj for obj in objects if has(obj, labels)]


def _found(served: Served, obj: Object) -> Found:
    owner = controller_of(obj) or {}
    return Found(
        served, namespace_of(obj), name_of(obj), uid_of(obj), owner.get("uid", ""), deleting(obj),
        labels_of(obj).get(TRIAL, ""),
    )  # fmt: skip


def _order(obj: Found) -> tuple[int, str, str, str]:
    kind = obj.served.kind.kind
    rank = 0 if kind in _FIRST else 2 if kind in _LAST else 1
    return rank, obj.served.kind.resource, obj.namespace, obj.name


async def _delete(kube: ClusterKube, obj: Found) -> None:
    try:
        await kube.remove(obj.served, obj.name, obj.namespace or None, actor=_ACTOR, uid=obj.uid)
    except KubeError as error:
        # Gone, or somebody else's object by now: 409 is the precondition.
        if error.code not in (404, 409):
            raise
