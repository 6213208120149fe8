"""What is declared in a namespace at a moment: the snapshot that a warm cluster is put back to.

Not here: putting it back (``cluster.restoring``), what stores hold (``cluster.stores``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aiopslab.environments.protocol import Kube
from aiopslab.models.kube import Object
from aiopslab.world.kube.objects import controller_of, deleting, name_of

LONERS = ("Pod", "ReplicaSet")
"""What is declared only where no controller owns it."""
Ref = tuple[str, str]
"""Kind and name of an object of the app's namespace."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What was declared in a namespace at a moment."""

    objects: Mapping[Ref, Object]
    space: Mapping[str, Mapping[str, str]]
    """Labels and annotations of the namespace itself."""
    loners: frozenset[Ref]
    """Pods and ReplicaSets that no controller owns."""
    revisions: frozenset[str]
    """Names of the ReplicaSets that Deployments own: their history."""


async def declared(kube: Kube, namespace: str) -> Declared:
    """Take a snapshot of what is declared."""
    objects = {ref(obj): obj for obj in await kube.snapshot(namespace)}
    alone, history = await _alone(kube, namespace), await revisions(kube, namespace)
    space = await _space(kube, namespace)
    return Declared(objects, space, frozenset(alone), frozenset(history))


def ref(obj: Object) -> Ref:
    """Return the kind and name of an object."""
    return obj["kind"], name_of(obj)


def inputs(pod: Object) -> Iterator[Ref]:
    """Iterate over the ConfigMaps and Secrets that a pod's spec reads."""
    for volume in pod.get("volumes") or ():
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
    for container in pod["containers"]:
        for source in container.get("envFrom") or ():
            kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
            yield from ((kinds[k], source[k]["name"]) for k in kinds if k in source)
        for variable in container.get("env") or ():
            source = variable.get("valueFrom") or {}
            kinds = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}
            yield from ((kinds[k], source[k]["name"]) for k in kinds if k in source)


async def _space(kube: Kube, namespace: str) -> dict[str, dict[str, str]]:
    metadata = (await kube.get("Namespace", namespace))["metadata"]
    return {part: dict(metadata.get(part) or {}) for part in ("labels", "annotations")}


async def _alone(kube: Kube, namespace: str) -> list[Ref]:
    return [
        (kind, name_of(obj))
        for kind in LONERS
        for obj in await kube.list(kind, namespace)
        if controller_of(obj) is None and not deleting(obj)
    ]


async def revisions(kube: Kube, namespace: str) -> dict[str, int]:
    """Return the ReplicaSets that Deployments own, with the replicas they are to have."""
    found = await kube.list("ReplicaSet", namespace)
    return {name_of(o): o["spec"].get("replicas", 1) for o in found if controller_of(o)}
