"""What kube-state-metrics exports: the state of Kubernetes objects as metrics.

Names and labels are kube-state-metrics'. Stored objects never change in place, so the samples of an
object are computed once per version of it. Not here: usage of containers and nodes (``exporters``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from aiopslab.models.timestamps import unix
from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.samples import Target
from aiopslab.world.kube.objects import Object, controller_of, dig, name_of, namespace_of, uid_of
from aiopslab.world.kube.quantity import amount

Sample = tuple[str, dict[str, str], float]
"""Metric, labels, value."""


class Lister(Protocol):
    """The part of the API server that is read."""

    def list(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Return all objects of a kind."""
        ...


class KubeState:
    """Samples of all objects, for one target.

    Args:
        api: Where objects are.
        target: The target ``job="kube-state-metrics"``.
    """

    def __init__(self, api: Lister, target: Target) -> None:
        self._api = api
        self._target = target
        self._known: dict[str, tuple[Object, list[int], list[float]]] = {}

    def scrape(self, time: float) -> None:
        """Record the state of now."""
        known: dict[str, tuple[Object, list[int], list[float]]] = {}
        columns: list[int] = []
        values: list[float] = []
        for kind, samples in _KINDS.items():
            for obj in self._api.list(kind):
                uid = uid_of(obj)
                entry = self._known.get(uid)
                if entry is None or entry[0] is not obj:
                    entry = self._describe(obj, samples)
                known[uid] = entry
                columns += entry[1]
                values += entry[2]
        self._known = known
        self._target.write(time, columns, values)

    def _describe(
        self, obj: Object, samples: Callable[[Object], Iterator[Sample]]
    ) -> tuple[Object, list[int], list[float]]:
        columns, values = [], []
        for name, labels, value in samples(obj):
            pairs: Labels = tuple(sorted(labels.items()))
            columns.append(self._target.column(name, pairs))
            values.append(value)
        return obj, columns, values


def _number(value: Any) -> float:
    return float(value or 0)


def _pod(pod: Object) -> Iterator[Sample]:
    spec, status = pod["spec"], pod.get("status") or {}
    node = spec.get("nodeName") or ""
    base = {"namespace": namespace_of(pod), "pod": name_of(pod)}
    owner = controller_of(pod) or {}
    info = {
        "node": node,
        "pod_ip": status.get("podIP") or "",
        "host_ip": status.get("hostIP") or "",
        "created_by_kind": owner.get("kind", ""),
        "created_by_name": owner.get("name", ""),
    }
    yield "kube_pod_info", base | info, 1.0
    if created := pod["metadata"].get("creationTimestamp"):
        yield "kube_pod_created", base, unix(created)
    for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown"):
        yield "kube_pod_status_phase", base | {"phase": phase}, float(status.get("phase") == phase)
    for item in status.get("conditions") or ():
        metric = {"Ready": "kube_pod_status_ready", "PodScheduled": "kube_pod_status_scheduled"}
        if item["type"] in metric:
            for state in ("true", "false", "unknown"):
                held = float(item["status"].lower() == state)
                yield metric[item["type"]], base | {"condition": state}, held
    yield from _resources(spec, base | {"node": node})
    for item in status.get("containerStatuses") or ():
        yield from _container(item, base | {"container": item["name"]})
    for item in status.get("initContainerStatuses") or ():
        labels = base | {"container": item["name"]}
        yield (
            "kube_pod_init_container_status_restarts_total",
            labels,
            _number(item.get("restartCount")),
        )
        if reason := dig(item, "state", "waiting", "reason"):
            metric_name = "kube_pod_init_container_status_waiting_reason"
            yield metric_name, labels | {"reason": reason}, 1.0


def _resources(spec: Object, base: dict[str, str]) -> Iterator[Sample]:
    for container in spec.get("containers") or ():
        labels = base | {"container": container["name"]}
        for kind in ("requests", "limits"):
            for resource, value in (dig(container, "resources", kind) or {}).items():
                unit = {"cpu": "core"}.get(resource, "byte")
                extra = {"resource": resource, "unit": unit}
                metric_name = f"kube_pod_container_resource_{kind}"
                yield metric_name, labels | extra, amount(value)


def _container(status: Object, labels: dict[str, str]) -> Iterator[Sample]:
    prefix = "kube_pod_container_status_"
    state, last = status.get("state") or {}, status.get("lastState") or {}
    yield "kube_pod_container_info", labels | {"image": status.get("image") or ""}, 1.0
    yield f"{prefix}restarts_total", labels, _number(status.get("restartCount"))
    yield f"{prefix}ready", labels, _number(status.get("ready"))
    for name in ("waiting", "running", "terminated"):
        yield f"{prefix}{name}", labels, float(name in state)
    if reason := dig(state, "waiting", "reason"):
        yield f"{prefix}waiting_reason", labels | {"reason": reason}, 1.0
    if reason := dig(state, "terminated", "reason"):
        yield f"{prefix}terminated_reason", labels | {"reason": reason}, 1.0
    if ended := last.get("terminated"):
        reason = ended.get("reason") or ""
        yield f"{prefix}last_terminated_reason", labels | {"reason": reason}, 1.0
        yield f"{prefix}last_terminated_exitcode", labels, _number(ended.get("exitCode"))


def _workload(
    prefix: str, label: str, fields: dict[str, tuple[str, ...]]
) -> Callable[[Object], Iterator[Sample]]:
    """Build the samples of a kind whose metrics are plain numbers in the object."""

    def samples(obj: Object) -> Iterator[Sample]:
        labels = {"namespace": namespace_of(obj), label: name_of(obj)}
        for metric, path in fields.items():
            yield f"{prefix}_{metric}", labels, _number(dig(obj, *path))

    return samples


def _replicas(metric: str, field: str) -> dict[str, tuple[str, ...]]:
    return {metric: ("status", field)}


_deployment = _workload(
    "kube_deployment",
    "deployment",
    {"spec_replicas": ("spec", "replicas")}
    | _replicas("status_replicas", "replicas")
    | _replicas("status_replicas_ready", "readyReplicas")
    | _replicas("status_replicas_available", "availableReplicas")
    | _replicas("status_replicas_unavailable", "unavailableReplicas")
    | _replicas("status_replicas_updated", "updatedReplicas")
    | _replicas("status_observed_generation", "observedGeneration")
    | {"metadata_generation": ("metadata", "generation")},
)
_stateful_set = _workload(
    "kube_statefulset",
    "statefulset",
    {"replicas": ("spec", "replicas")}
    | _replicas("status_replicas", "replicas")
    | _replicas("status_replicas_ready", "readyReplicas")
    | _replicas("status_replicas_available", "availableReplicas")
    | {"metadata_generation": ("metadata", "generation")},
)
_replica_set = _workload(
    "kube_replicaset",
    "replicaset",
    {"spec_replicas": ("spec", "replicas")} | _replicas("status_ready_replicas", "readyReplicas"),
)
_autoscaler = _workload(
    "kube_horizontalpodautoscaler",
    "horizontalpodautoscaler",
    {
        "spec_min_replicas": ("spec", "minReplicas"),
        "spec_max_replicas": ("spec", "maxReplicas"),
        "status_current_replicas": ("status", "currentReplicas"),
        "status_desired_replicas": ("status", "desiredReplicas"),
    },
)
_job_figures = _workload(
    "kube_job",
    "job_name",
    {
        "spec_completions": ("spec", "completions"),
        "status_active": ("status", "active"),
        "status_succeeded": ("status", "succeeded"),
        "status_failed": ("status", "failed"),
    },
)


def _job(job: Object) -> Iterator[Sample]:
    yield from _job_figures(job)
    labels = {"namespace": namespace_of(job), "job_name": name_of(job)}
    owner = controller_of(job) or {}
    names = {"owner_kind": owner.get("kind", ""), "owner_name": owner.get("name", "")}
    yield "kube_job_owner", labels | names, 1.0
    if started := dig(job, "status", "startTime"):
        yield "kube_job_status_start_time", labels, unix(started)
    for item in dig(job, "status", "conditions") or ():
        metric = {"Complete": "kube_job_complete", "Failed": "kube_job_failed"}.get(item["type"])
        if metric and item["status"] == "True":
            yield metric, labels | {"condition": "true"}, 1.0


def _cron_job(obj: Object) -> Iterator[Sample]:
    labels = {"namespace": namespace_of(obj), "cronjob": name_of(obj)}
    yield "kube_cronjob_spec_suspend", labels, _number(dig(obj, "spec", "suspend"))
    active = dig(obj, "status", "active") or ()
    yield "kube_cronjob_status_active", labels, float(len(active))
    for metric, field in (
        ("last_schedule_time", "lastScheduleTime"),
        ("last_successful_time", "lastSuccessfulTime"),
    ):
        if moment := dig(obj, "status", field):
            yield f"kube_cronjob_status_{metric}", labels, unix(moment)


def _endpoints(obj: Object) -> Iterator[Sample]:
    labels = {"namespace": namespace_of(obj), "endpoint": name_of(obj)}
    subsets = obj.get("subsets") or ()
    ready = sum(len(s.get("addresses") or ()) for s in subsets)
    waiting = sum(len(s.get("notReadyAddresses") or ()) for s in subsets)
    yield "kube_endpoint_address_available", labels, float(ready)
    yield "kube_endpoint_address_not_ready", labels, float(waiting)


def _service(obj: Object) -> Iterator[Sample]:
    labels = {"namespace": namespace_of(obj), "service": name_of(obj)}
    yield "kube_service_info", labels | {"cluster_ip": dig(obj, "spec", "clusterIP") or ""}, 1.0


def _node(node: Object) -> Iterator[Sample]:
    base = {"node": name_of(node)}
    yield "kube_node_spec_unschedulable", base, _number(dig(node, "spec", "unschedulable"))
    for item in dig(node, "status", "conditions") or ():
        for state in ("true", "false", "unknown"):
            labels = base | {"condition": item["type"], "status": state}
            yield "kube_node_status_condition", labels, float(item["status"].lower() == state)
    for kind in ("allocatable", "capacity"):
        for resource, value in (dig(node, "status", kind) or {}).items():
            unit = {"cpu": "core", "pods": "integer"}.get(resource, "byte")
            labels = base | {"resource": resource, "unit": unit}
            yield f"kube_node_status_{kind}", labels, amount(value)


def _quota(quota: Object) -> Iterator[Sample]:
    base = {"namespace": namespace_of(quota), "resourcequota": name_of(quota)}
    for kind in ("hard", "used"):
        for resource, value in (dig(quota, "status", kind) or {}).items():
            labels = base | {"resource": resource, "type": kind}
            yield "kube_resourcequota", labels, amount(value)


_KINDS: dict[str, Callable[[Object], Iterator[Sample]]] = {
    "CronJob": _cron_job,
    "Deployment": _deployment,
    "Endpoints": _endpoints,
    "HorizontalPodAutoscaler": _autoscaler,
    "Job": _job,
    "Node": _node,
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "ResourceQuota": _quota,
    "Service": _service,
    "StatefulSet": _stateful_set,
}
KINDS = tuple(_KINDS)
"""The kinds that are read."""
