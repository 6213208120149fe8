"""What Kubernetes objects name of one another, and which of those names lead nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from aiopslab.environments.cluster.manifests import pod_of
from aiopslab.models.kube import Object

_CLUSTERS = {("ServiceAccount", "default")}
"""What is there without being made."""


def dangling(objects: Sequence[Object]) -> list[str]:
    """Return references to objects, and selectors of pods, that find nothing among the objects."""
    known = {(o["kind"], o["metadata"]["name"]) for o in objects} | _CLUSTERS
    pods = [p["metadata"].get("labels") or {} for o in objects if (p := pod_of(o)) is not None]
    found = []
    for obj in objects:
        where = f"{obj['kind']}/{obj['metadata']['name']}"
        found += [f"{where}: {k} {n}" for k, n in named(obj) if (k, n) not in known]
        found += [f"{where}: pods {s}" for s in selectors(obj) if not _finds(s, pods)]
    return found


def named(obj: Object) -> Iterator[tuple[str, str]]:
    """Iterate over (kind, name) of what an object needs."""
    spec = obj.get("spec") or {}
    pod = pod_of(obj)
    if pod is not None:
        yield from _of_pod(pod["spec"])
    if obj["kind"] == "HorizontalPodAutoscaler":
        yield spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]
    if obj["kind"] == "StatefulSet":
        yield "Service", spec["serviceName"]
    if obj["kind"].endswith("RoleBinding"):
        yield obj["roleRef"]["kind"], obj["roleRef"]["name"]
        yield from ((s["kind"], s["name"]) for s in obj["subjects"])
    if "namespace" in obj["metadata"]:
        yield "Namespace", obj["metadata"]["namespace"]


def _of_pod(spec: Object) -> Iterator[tuple[str, str]]:
    if "serviceAccountName" in spec:
        yield "ServiceAccount", spec["serviceAccountName"]
    volumes = {v["name"]: v for v in spec.get("volumes", [])}
    for volume in volumes.values():
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
    for container in spec["containers"]:
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                yield "ConfigMap", source["configMapRef"]["name"]
        for variable in container.get("env", []):
            source = variable.get("valueFrom") or {}
            if "secretKeyRef" in source:
                yield "Secret", source["secretKeyRef"]["name"]


def selectors(obj: Object) -> Iterator[Mapping[str, str]]:
    """Iterate over the labels by which an object finds pods."""
    spec = obj.get("spec") or {}
    match obj["kind"]:
        case "Service" if spec.get("selector"):
            yield spec["selector"]
        case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
            yield spec["selector"]["matchLabels"]
        case "NetworkPolicy":
            yield spec["podSelector"]["matchLabels"]
            for rule in spec.get("ingress", []):
                peers = [p for p in rule.get("from", []) if "podSelector" in p]
                yield from (p["podSelector"]["matchLabels"] for p in peers)


def unmounted(objects: Iterable[Object]) -> list[str]:
    """Return mounts without a volume, and volumes and variables that are there twice."""
    found = []
    for obj in objects:
        pod = pod_of(obj)
        if pod is None:
            continue
        volumes = [v["name"] for v in pod["spec"].get("volumes", [])]
        claims = [c["metadata"]["name"] for c in obj["spec"].get("volumeClaimTemplates", [])]
        for container in pod["spec"]["containers"]:
            mounts = [m["name"] for m in container.get("volumeMounts", [])]
            names = [e["name"] for e in container.get("env", [])]
            twice = [n for listed in (volumes + claims, names, mounts)
                     for n in set(listed) if listed.count(n) > 1]  # fmt: skip
            lost = [m for m in mounts if m not in volumes + claims]
            found += [f"{obj['metadata']['name']}: {name}" for name in twice + lost]
    return found


def _finds(wanted: Mapping[str, str], pods: Sequence[Mapping[str, str]]) -> bool:
    return any(wanted.items() <= labels.items() for labels in pods)
