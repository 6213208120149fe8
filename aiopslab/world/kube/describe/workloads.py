"""``kubectl describe`` of the kinds that run pods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiopslab.world.kube.describe import pods as describe_pods
from aiopslab.world.kube.describe.page import Page, head
from aiopslab.world.kube.describe.source import Source
from aiopslab.world.kube.objects import (
    Object,
    Objects,
    annotations_of,
    controller_of,
    dig,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from aiopslab.world.kube.revisions import REVISION
from aiopslab.world.kube.selectors import format_selector, from_object, matches
from aiopslab.world.kube.table.cells import NONE, autoscaler_targets, job_duration


def deployment(page: Page, obj: Object, api: Source, _now: float) -> None:
    """Write a Deployment with its conditions and ReplicaSets."""
    spec, status = obj["spec"], obj.get("status") or {}
    _identity(page, obj)
    counts = {
        key: status.get(name, 0)
        for key, name in (
            ("updated", "updatedReplicas"),
            ("total", "replicas"),
            ("available", "availableReplicas"),
            ("unavailable", "unavailableReplicas"),
        )
    }
    totals = " | ".join(f"{value} {key}" for key, value in counts.items())
    page.field(0, "Replicas", f"{spec['replicas']} desired | {totals}")
    page.field(0, "StrategyType", spec["strategy"]["type"])
    page.field(0, "MinReadySeconds", spec.get("minReadySeconds", 0))
    rolling = spec["strategy"].get("rollingUpdate")
    if rolling:
        bounds = f"{rolling['maxUnavailable']} max unavailable, {rolling['maxSurge']} max surge"
        page.field(0, "RollingUpdateStrategy", bounds)
    if spec.get("paused"):
        page.field(0, "Paused", True)
    describe_pods.template(page, spec["template"])
    conditions(page, status.get("conditions"), ("Type", "Status", "Reason"))
    old, new = _replica_sets(obj, api)
    page.field(0, "OldReplicaSets", ", ".join(map(_replica_set_line, old)) or NONE)
    page.field(0, "NewReplicaSet", ", ".join(map(_replica_set_line, new)) or NONE)


def _replica_sets(obj: Object, api: Source) -> tuple[Objects, Objects]:
    """Return a Deployment's old ReplicaSets that still have pods, and its newest one."""
    owned = [o for o in api.list("ReplicaSet", namespace_of(obj)) if _is_owned(o, uid_of(obj))]
    revision = annotations_of(obj).get(REVISION)
    new = [o for o in owned if annotations_of(o).get(REVISION) == revision]
    old = [o for o in owned if o not in new and dig(o, "spec", "replicas", default=0)]
    return old, new


def _is_owned(obj: Object, uid: str) -> bool:
    return any(r.get("uid") == uid for r in obj["metadata"].get("ownerReferences") or ())


def _replica_set_line(obj: Object) -> str:
    created = dig(obj, "status", "replicas", default=0)
    return f"{name_of(obj)} ({created}/{obj['spec']['replicas']} replicas created)"


def replica_set(page: Page, obj: Object, api: Source, _now: float) -> None:
    """Write a ReplicaSet."""
    _identity(page, obj, created=False)
    _owner(page, obj)
    current = dig(obj, "status", "replicas", default=0)
    page.field(0, "Replicas", f"{current} current / {obj['spec']['replicas']} desired")
    page.field(0, "Pods Status", _pod_counts(obj, api))
    describe_pods.template(page, obj["spec"]["template"])
    conditions(page, dig(obj, "status", "conditions"), ("Type", "Status", "Reason"))


def stateful_set(page: Page, obj: Object, api: Source, _now: float) -> None:
    """Write a StatefulSet with its claim templates."""
    _identity(page, obj)
    total = dig(obj, "status", "replicas", default=0)
    page.field(0, "Replicas", f"{obj['spec']['replicas']} desired | {total} total")
    page.field(0, "Update Strategy", obj["spec"]["updateStrategy"]["type"])
    partition = dig(obj, "spec", "updateStrategy", "rollingUpdate", "partition")
    if partition is not None:
        page.field(1, "Partition", partition)
    page.field(0, "Pods Status", _pod_counts(obj, api))
    describe_pods.template(page, obj["spec"]["template"])
    claims = dig(obj, "spec", "volumeClaimTemplates", default=())
    if not claims:
        page.field(0, "Volume Claims", NONE)
        return
    page.line(0, "Volume Claims:")
    for claim in claims:
        page.field(1, "Name", name_of(claim))
        page.field(1, "StorageClass", claim["spec"].get("storageClassName", ""))
        page.field(1, "Capacity", dig(claim, "spec", "resources", "requests", "storage"))
        page.field(1, "Access Modes", f"[{' '.join(claim['spec'].get('accessModes', ()))}]")


def daemon_set(page: Page, obj: Object, api: Source, _now: float) -> None:
    """Write a DaemonSet."""
    page.field(0, "Name", name_of(obj))
    page.field(0, "Namespace", namespace_of(obj))
    page.field(0, "Selector", format_selector(obj["spec"]["selector"]))
    page.mapping(0, "Labels", labels_of(obj))
    page.annotations(0, annotations_of(obj))
    for key, name in (
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ):
        page.field(0, key, dig(obj, "status", name, default=0))
    page.field(0, "Pods Status", _pod_counts(obj, api))
    describe_pods.template(page, obj["spec"]["template"])


def job(page: Page, obj: Object, _api: Source, now: float) -> None:
    """Write a Job."""
    spec, status = obj["spec"], obj.get("status") or {}
    _identity(page, obj, created=False)
    _owner(page, obj)
    page.field(0, "Parallelism", spec.get("parallelism", 1))
    page.field(0, "Completions", spec.get("completions", "<unset>"))
    page.field(0, "Completion Mode", spec.get("completionMode", "NonIndexed"))
    page.field(0, "Suspend", "true" if spec.get("suspend") else "false")
    page.field(0, "Backoff Limit", spec.get("backoffLimit", 6))
    if status.get("startTime"):
        page.field(0, "Start Time", describe_pods.when(status["startTime"]))
    if status.get("completionTime"):
        page.field(0, "Completed At", describe_pods.when(status["completionTime"]))
        page.field(0, "Duration", job_duration(obj, now))
    page.field(
        0,
        "Pods Statuses",
        f"{status.get('active', 0)} Active ({status.get('ready', 0)} Ready) / "
        f"{status.get('succeeded', 0)} Succeeded / {status.get('failed', 0)} Failed",
    )
    describe_pods.template(page, spec["template"])
    conditions(page, status.get("conditions"), ("Type", "Status", "Reason", "Message"))


def cron_job(page: Page, obj: Object, _api: Source, _now: float) -> None:
    """Write a CronJob."""
    spec, status = obj["spec"], obj.get("status") or {}
    head(page, obj)
    page.field(0, "Schedule", spec["schedule"])
    page.field(0, "Concurrency Policy", spec["concurrencyPolicy"])
    page.field(0, "Suspend", bool(spec.get("suspend")))
    page.field(0, "Successful Job History Limit", spec["successfulJobsHistoryLimit"])
    page.field(0, "Failed Job History Limit", spec["failedJobsHistoryLimit"])
    deadline = spec.get("startingDeadlineSeconds")
    page.field(0, "Starting Deadline Seconds", "<unset>" if deadline is None else f"{deadline}s")
    describe_pods.template(page, spec["jobTemplate"]["spec"]["template"])
    last = status.get("lastScheduleTime")
    page.field(0, "Last Schedule Time", describe_pods.when(last) if last else "<unset>")
    active = ", ".join(reference["name"] for reference in status.get("active") or ())
    page.field(0, "Active Jobs", active or NONE)


def autoscaler(page: Page, obj: Object, _api: Source, _now: float) -> None:
    """Write a HorizontalPodAutoscaler."""
    spec, status = obj["spec"], obj.get("status") or {}
    head(page, obj)
    page.field(0, "CreationTimestamp", describe_pods.when(obj["metadata"]["creationTimestamp"]))
    target = spec["scaleTargetRef"]
    page.field(0, "Reference", f"{target['kind']}/{target['name']}")
    page.field(0, "Metrics ( current / target )", autoscaler_targets(obj))
    page.field(0, "Min replicas", spec["minReplicas"])
    page.field(0, "Max replicas", spec["maxReplicas"])
    current, desired = status.get("currentReplicas", 0), status.get("desiredReplicas", 0)
    page.field(0, f"{target['kind']} pods", f"{current} current / {desired} desired")
    conditions(page, status.get("conditions"), ("Type", "Status", "Reason", "Message"))


def conditions(page: Page, items: Any, names: tuple[str, ...]) -> None:
    """Write a table of conditions, if there are any."""
    if not items:
        return
    page.line(0, "Conditions:")
    rows = [[str(item.get(n[0].lower() + n[1:], "")) for n in names] for item in items]
    page.table(1, [list(names), *rows])


def _identity(page: Page, obj: Object, *, created: bool = True) -> None:
    page.field(0, "Name", name_of(obj))
    page.field(0, "Namespace", namespace_of(obj))
    if created:
        page.field(0, "CreationTimestamp", describe_pods.when(obj["metadata"]["creationTimestamp"]))
    else:
        page.field(0, "Selector", format_selector(obj["spec"].get("selector")))
    page.mapping(0, "Labels", labels_of(obj))
    page.annotations(0, annotations_of(obj))
    if created:
        page.field(0, "Selector", format_selector(obj["spec"].get("selector")))


def _owner(page: Page, obj: Object) -> None:
    owner = controller_of(obj)
    if owner:
        page.field(0, "Controlled By", f"{owner['kind']}/{owner['name']}")


def _pod_counts(obj: Object, api: Source) -> str:
    """Count the pods a selector picks, by phase."""
    selector = from_object(obj["spec"].get("selector"))
    pods = [p for p in api.list("Pod", namespace_of(obj)) if matches(selector, labels_of(p))]
    phases = [dig(p, "status", "phase", default="Pending") for p in pods]
    running, waiting = phases.count("Running"), phases.count("Pending")
    done, failed = phases.count("Succeeded"), phases.count("Failed")
    return f"{running} Running / {waiting} Waiting / {done} Succeeded / {failed} Failed"


DESCRIBED: dict[str, Callable[[Page, Object, Source, float], None]] = {
    "CronJob": cron_job,
    "DaemonSet": daemon_set,
    "Deployment": deployment,
    "HorizontalPodAutoscaler": autoscaler,
    "Job": job,
    "ReplicaSet": replica_set,
    "StatefulSet": stateful_set,
}
