"""``metrics.k8s.io``: CPU and memory of pods and nodes, what ``kubectl top`` shows.

As metrics-server knows them: CPU averaged over the latest window of what the kubelets export,
memory as it is. A pod whose containers are too young to have an average is not listed. Not here:
the figures themselves (``world.exporters``).
"""

from __future__ import annotations

from starlette.requests import Request

from aiopslab.models.kube import KubeError, Object
from aiopslab.models.timestamps import rfc3339
from aiopslab.wire.kubernetes.cluster import cluster_of
from aiopslab.wire.kubernetes.target import Target
from aiopslab.world.kube.objects import labels_of, name_of, namespace_of
from aiopslab.world.world import World

WINDOW_S = 30
"""Seconds over which CPU is averaged."""
_POD_CPU = f'rate(container_cpu_usage_seconds_total{{container!=""}}[{WINDOW_S}s])'
_POD_MEMORY = 'container_memory_working_set_bytes{container!=""}'
_NODE_CPU = (
    f'sum by (node) (rate(node_cpu_seconds_total{{mode!~"idle|iowait|steal"}}[{WINDOW_S}s]))'
)
_NODE_MEMORY = "node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes"


def one(request: Request, target: Target) -> Object:
    """Return the usage of a pod or node.

    Raises:
        KubeError: 404, there is none, or no figures yet.
    """
    for found in listed(request, target):
        if name_of(found) == target.name:
            return found
    resource = target.resource
    shown = f"{target.namespace}/{target.name}" if target.namespace else target.name
    message = f'{resource.kind.lower()}.metrics.k8s.io "{shown}" not found'
    details = {"name": shown, "group": resource.group, "kind": resource.kind.lower()}
    raise KubeError(404, "NotFound", message, details)


def listed(request: Request, target: Target) -> list[Object]:
    """Return the usage of the pods or nodes that a request selects.

    Raises:
        KubeError: 400, a selector.
    """
    world, query = cluster_of(request.scope).world, request.query_params
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    if target.resource.plural == "nodes":
        nodes = world.api.list("Node", labels=labels, fields=fields)
        figures = _figures(world, _NODE_CPU, _NODE_MEMORY, ("node",))
        usage = [(n, figures.get((name_of(n),))) for n in nodes]
        return [{**_head(world, target, n), "usage": u} for n, u in usage if u is not None]
    figures = _figures(world, _POD_CPU, _POD_MEMORY, ("namespace", "pod", "container"))
    pods = world.api.list("Pod", target.space, labels=labels, fields=fields)
    measured = ((pod, _containers(pod, figures)) for pod in pods)
    return [{**_head(world, target, pod), "containers": c} for pod, c in measured if c]


def _containers(pod: Object, figures: dict[tuple[str, ...], Object]) -> list[Object]:
    """Return the usage by container; empty unless all that run have figures."""
    running = [
        str(status["name"])
        for status in (pod.get("status") or {}).get("containerStatuses") or ()
        if "running" in (status.get("state") or {})
    ]
    found = [(name, figures.get((namespace_of(pod), name_of(pod), name))) for name in running]
    if any(usage is None for _, usage in found):
        return []
    return [{"name": name, "usage": usage} for name, usage in found]


def _figures(
    world: World, cpu: str, memory: str, by: tuple[str, ...]
) -> dict[tuple[str, ...], Object]:
    """Return usage by the values of labels, in the units metrics-server writes."""
    now, engine = world.loop.time(), world.store.promql
    cores = {
        tuple(s.labels.get(name, "") for name in by): s.points[0][1]
        for s in engine.instant(cpu, now)
    }
    result = {}
    for series in engine.instant(memory, now):
        key = tuple(series.labels.get(name, "") for name in by)
        if key in cores:
            nanocores, kibibytes = round(cores[key] * 1e9), round(series.points[0][1] / 1024)
            result[key] = {"cpu": f"{nanocores}n", "memory": f"{kibibytes}Ki"}
    return result


def _head(world: World, target: Target, obj: Object) -> Object:
    now = rfc3339(world.loop.time())
    metadata: Object = {"name": name_of(obj), "creationTimestamp": now}
    if namespace_of(obj):
        metadata["namespace"] = namespace_of(obj)
    if labels_of(obj):
        metadata["labels"] = labels_of(obj)
    resource = target.resource
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": metadata,
        "timestamp": now,
        "window": f"{WINDOW_S}s",
    }
