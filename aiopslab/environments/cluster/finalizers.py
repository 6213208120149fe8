"""What keeps a namespace of ours from going: finalizers of objects in it that nobody takes off.

A fault leaves one on a pod, an agent may leave one anywhere; whoever would take it off does not
exist. Those of Kubernetes itself stay, which has something to clean up behind them. Not here: when
that is enough of waiting (``cluster.cleaning``), undoing a fault (its own ``recover``).
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.environments.cluster.discovery import Served
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.together import together
from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube.kinds import KINDS
from aiopslab.world.kube.objects import deleting, name_of, uid_of

_ACTOR = "aiopslab"
_PASSED = (403, 404, 409)
"""Refusals that change nothing: it stays and is reported, is gone, or was written meanwhile."""


async def let_go(kube: ClusterKube, namespaces: Sequence[str]) -> None:
    """Take finalizers off objects whose deletion was asked for.

    Args:
        kube: The cluster, as the lab.
        namespaces: Namespaces of ours that are being deleted.

    Raises:
        KubeError: The cluster refuses to be asked.
        InfraError: It does not answer.
    """
    if not namespaces:
        return
    catalogue = await kube.connection.run(kube.reader.catalogue)
    kinds = [catalogue.find(kind.qualified) for kind in KINDS if kind.namespaced]
    served = [kind for kind in kinds if kind is not None and {"list", "patch"} <= kind.verbs]
    await together({
        (space, kind.kind.qualified): _of_kind(kube, kind, space)
        for space in namespaces for kind in served
    })  # fmt: skip


async def _of_kind(kube: ClusterKube, served: Served, namespace: str) -> None:
    objects, _ = await kube.connection.run(
        kube.reader.listing, served, namespace, metadata_only=True
    )
    for obj in objects:
        held = obj["metadata"].get("finalizers") or []
        kept = [each for each in held if _is_kubernetes(each)]
        if deleting(obj) and kept != held:
            await _freed(kube, served, obj, kept)


async def _freed(kube: ClusterKube, served: Served, obj: Object, kept: list[str]) -> None:
    meta = obj["metadata"]
    # Only as it was seen: who has written to it since may have had a reason.
    seen = {"uid": uid_of(obj), "resourceVersion": meta["resourceVersion"]}
    try:
        await kube.patch(
            served.kind.qualified, name_of(obj), {"metadata": {**seen, "finalizers": kept or None}},
            namespace=meta["namespace"], type="merge", actor=_ACTOR,
        )  # fmt: skip
    except KubeError as error:
        if error.code not in _PASSED:
            raise


def _is_kubernetes(finalizer: str) -> bool:
    domain, slash, _ = finalizer.partition("/")
    return not slash or domain.endswith(("kubernetes.io", "k8s.io"))
