"""Tables in the manner of ``kubectl get``.

The columns of each kind, short and wide, and their layout. Derived cells are in ``table_cells``;
``describe`` prints single objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiopslab.world.kube import table_cells as cells
from aiopslab.world.kube.errors import no_such_kind
from aiopslab.world.kube.kinds import find
from aiopslab.world.kube.objects import Object, dig, name_of, namespace_of
from aiopslab.world.kube.selectors import format_selector

Cell = Callable[[Object, float], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its head, how to print a cell (object, now), and whether only ``wide`` has it."""

    head: str
    cell: Cell
    wide: bool = False


def table(
    kind: str,
    objects: Sequence[Object],
    *,
    wide: bool = False,
    now: float,
    show_namespace: bool = False,
) -> str:
    """Return the table as text, without a final line break.

    Args:
        kind: Any name kubectl takes.
        objects: In the order to print.
        wide: As ``-o wide``.
        now: Unix seconds, for ages.
        show_namespace: Add the namespace as first column, as ``-A`` does.

    Raises:
        KubeError: 404, unknown kind.
    """
    served = find(kind)
    if served is None:
        raise no_such_kind(kind)
    if not objects:
        return "No resources found"
    columns = [c for c in _COLUMNS.get(served.kind, _DEFAULT) if wide or not c.wide]
    if show_namespace and served.namespaced:
        columns.insert(0, Column("NAMESPACE", lambda obj, _now: namespace_of(obj)))
    rows = [[str(c.cell(obj, now)) for c in columns] for obj in objects]
    return layout([[c.head for c in columns], *rows])


def layout(rows: Sequence[Sequence[str]], gap: int = 3) -> str:
    """Align rows of cells in columns."""
    widths = [max(len(row[i]) for row in rows) + gap for i in range(len(rows[0]))]
    lines = ("".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _at(*path: str | int, default: Any = cells.NONE) -> Cell:
    return lambda obj, _now: dig(obj, *path, default=default)


def _of(derive: Callable[[Object], Any]) -> Cell:
    return lambda obj, _now: derive(obj)


def _replicas(obj: Object) -> str:
    ready = dig(obj, "status", "readyReplicas", default=0)
    return f"{ready}/{dig(obj, 'spec', 'replicas', default=0)}"


def _containers(obj: Object, field: str) -> str:
    spec = obj["spec"]
    template = dig(spec, "jobTemplate", "spec", "template") or spec.get("template", {})
    return cells.join(c.get(field) for c in dig(template, "spec", "containers", default=()))


def _last_schedule(obj: Object, now: float) -> str:
    last = dig(obj, "status", "lastScheduleTime")
    return cells.since(last, now) if last else cells.NONE


def _event_object(event: Object) -> str:
    involved = event["involvedObject"]
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _event_source(event: Object) -> str:
    source = event.get("source") or {}
    return ", ".join(filter(None, (source.get("component", ""), source.get("host", ""))))


def _autoscaled(obj: Object) -> str:
    target = obj["spec"]["scaleTargetRef"]
    return f"{target['kind']}/{target['name']}"


def _slice_ports(obj: Object) -> str:
    return cells.join(p.get("port") for p in obj.get("ports") or ())


def _slice_addresses(obj: Object) -> str:
    found = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    return cells.join(found, limit=3)


def _hosts(obj: Object) -> str:
    return cells.join(rule.get("host", "*") for rule in dig(obj, "spec", "rules", default=()))


def _claim_capacity(obj: Object) -> str:
    return str(dig(obj, "status", "capacity", "storage", default=""))


_ACCESS = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _access_modes(obj: Object) -> str:
    return ",".join(_ACCESS.get(m, m) for m in dig(obj, "spec", "accessModes", default=()))


NAME = Column("NAME", _of(name_of))
AGE = Column("AGE", cells.age)
_DEFAULT = (NAME, AGE)


def _workload(*columns: Column, selector: bool = True) -> tuple[Column, ...]:
    """Columns of a kind that runs pods: its own, then containers and images when wide."""
    extra: Iterable[Column] = (
        Column("CONTAINERS", _of(lambda o: _containers(o, "name")), wide=True),
        Column("IMAGES", _of(lambda o: _containers(o, "image")), wide=True),
    )
    if selector:
        pick = _of(lambda o: format_selector(dig(o, "spec", "selector")))
        extra = (*extra, Column("SELECTOR", pick, wide=True))
    return (NAME, *columns, AGE, *extra)


_COLUMNS: dict[str, tuple[Column, ...]] = {
    "Pod": (
        NAME,
        Column("READY", _of(cells.pod_ready)),
        Column("STATUS", _of(cells.pod_status)),
        Column("RESTARTS", cells.pod_restarts),
        AGE,
        Column("IP", _at("status", "podIP"), wide=True),
        Column("NODE", _at("spec", "nodeName"), wide=True),
        Column("NOMINATED NODE", _at("status", "nominatedNodeName"), wide=True),
        Column("READINESS GATES", _of(lambda _: cells.NONE), wide=True),
    ),
    "Deployment": _workload(
        Column("READY", _of(_replicas)),
        Column("UP-TO-DATE", _at("status", "updatedReplicas", default=0)),
        Column("AVAILABLE", _at("status", "availableReplicas", default=0)),
    ),
    "ReplicaSet": _workload(
        Column("DESIRED", _at("spec", "replicas", default=0)),
        Column("CURRENT", _at("status", "replicas", default=0)),
        Column("READY", _at("status", "readyReplicas", default=0)),
    ),
    "StatefulSet": _workload(Column("READY", _of(_replicas)), selector=False),
    "DaemonSet": _workload(
        Column("DESIRED", _at("status", "desiredNumberScheduled", default=0)),
        Column("CURRENT", _at("status", "currentNumberScheduled", default=0)),
        Column("READY", _at("status", "numberReady", default=0)),
        Column("UP-TO-DATE", _at("status", "updatedNumberScheduled", default=0)),
        Column("AVAILABLE", _at("status", "numberAvailable", default=0)),
        Column(
            "NODE SELECTOR",
            _of(lambda o: cells.labels(dig(o, "spec", "template", "spec", "nodeSelector"))),
        ),
    ),
    "Job": _workload(
        Column("STATUS", _of(cells.job_status)),
        Column("COMPLETIONS", _of(cells.job_completions)),
        Column("DURATION", cells.job_duration),
    ),
    "CronJob": _workload(
        Column("SCHEDULE", _at("spec", "schedule")),
        Column("TIMEZONE", _at("spec", "timeZone")),
        Column("SUSPEND", _of(lambda o: bool(dig(o, "spec", "suspend")))),
        Column("ACTIVE", _of(lambda o: len(dig(o, "status", "active", default=())))),
        Column("LAST SCHEDULE", _last_schedule),
        selector=False,
    ),
    "Service": (
        NAME,
        Column("TYPE", _at("spec", "type")),
        Column("CLUSTER-IP", _at("spec", "clusterIP")),
        Column("EXTERNAL-IP", _of(cells.external_address)),
        Column("PORT(S)", _of(cells.service_ports)),
        AGE,
        Column("SELECTOR", _of(lambda o: cells.labels(dig(o, "spec", "selector"))), wide=True),
    ),
    "Endpoints": (NAME, Column("ENDPOINTS", _of(cells.endpoint_addresses)), AGE),
    "EndpointSlice": (
        NAME,
        Column("ADDRESSTYPE", _at("addressType")),
        Column("PORTS", _of(_slice_ports)),
        Column("ENDPOINTS", _of(_slice_addresses)),
        AGE,
    ),
    "Node": (
        NAME,
        Column("STATUS", _of(cells.node_status)),
        Column("ROLES", _of(cells.node_roles)),
        AGE,
        Column("VERSION", _at("status", "nodeInfo", "kubeletVersion")),
        Column("INTERNAL-IP", _of(lambda o: cells.node_address(o, "InternalIP")), wide=True),
        Column("EXTERNAL-IP", _of(lambda o: cells.node_address(o, "ExternalIP")), wide=True),
        Column("OS-IMAGE", _at("status", "nodeInfo", "osImage"), wide=True),
        Column("KERNEL-VERSION", _at("status", "nodeInfo", "kernelVersion"), wide=True),
        Column(
            "CONTAINER-RUNTIME", _at("status", "nodeInfo", "containerRuntimeVersion"), wide=True
        ),
    ),
    "Namespace": (NAME, Column("STATUS", _at("status", "phase")), AGE),
    "ConfigMap": (
        NAME,
        Column("DATA", _of(lambda o: len(o.get("data") or {}) + len(o.get("binaryData") or {}))),
        AGE,
    ),
    "Secret": (
        NAME,
        Column("TYPE", _at("type")),
        Column("DATA", _of(lambda o: len(o.get("data") or {}))),
        AGE,
    ),
    "ServiceAccount": (NAME, Column("SECRETS", _of(lambda o: len(o.get("secrets") or ()))), AGE),
    "Event": (
        Column("LAST SEEN", lambda o, now: cells.since(o.get("lastTimestamp"), now)),
        Column("TYPE", _at("type")),
        Column("REASON", _at("reason")),
        Column("OBJECT", _of(_event_object)),
        Column("SUBOBJECT", _at("involvedObject", "fieldPath", default=""), wide=True),
        Column("SOURCE", _of(_event_source), wide=True),
        Column("MESSAGE", _at("message")),
        Column("FIRST SEEN", lambda o, now: cells.since(o.get("firstTimestamp"), now), wide=True),
        Column("COUNT", _at("count", default=1), wide=True),
        Column("NAME", _of(name_of), wide=True),
    ),
    "HorizontalPodAutoscaler": (
        NAME,
        Column("REFERENCE", _of(_autoscaled)),
        Column("TARGETS", _of(cells.autoscaler_targets)),
        Column("MINPODS", _at("spec", "minReplicas")),
        Column("MAXPODS", _at("spec", "maxReplicas")),
        Column("REPLICAS", _at("status", "currentReplicas", default=0)),
        AGE,
    ),
    "PersistentVolumeClaim": (
        NAME,
        Column("STATUS", _at("status", "phase")),
        Column("VOLUME", _at("spec", "volumeName", default="")),
        Column("CAPACITY", _of(_claim_capacity)),
        Column("ACCESS MODES", _of(_access_modes)),
        Column("STORAGECLASS", _at("spec", "storageClassName", default="")),
        AGE,
        Column("VOLUMEMODE", _at("spec", "volumeMode"), wide=True),
    ),
    "NetworkPolicy": (
        NAME,
        Column("POD-SELECTOR", _of(lambda o: format_selector(dig(o, "spec", "podSelector")))),
        AGE,
    ),
    "Ingress": (
        NAME,
        Column("CLASS", _at("spec", "ingressClassName")),
        Column("HOSTS", _of(_hosts)),
        Column("ADDRESS", _at("status", "loadBalancer", "ingress", 0, "ip", default="")),
        Column("PORTS", _of(lambda o: "80, 443" if dig(o, "spec", "tls") else "80")),
        AGE,
    ),
    "ResourceQuota": (
        NAME,
        Column("REQUEST", _of(lambda o: cells.quota_line(o, limits=False))),
        Column("LIMIT", _of(lambda o: cells.quota_line(o, limits=True))),
        AGE,
    ),
    "LimitRange": (NAME, Column("CREATED AT", _at("metadata", "creationTimestamp"))),
    "Lease": (NAME, Column("HOLDER", _at("spec", "holderIdentity")), AGE),
    "PodDisruptionBudget": (
        NAME,
        Column("MIN AVAILABLE", _at("spec", "minAvailable", default="N/A")),
        Column("MAX UNAVAILABLE", _at("spec", "maxUnavailable", default="N/A")),
        Column("ALLOWED DISRUPTIONS", _at("status", "disruptionsAllowed", default=0)),
        AGE,
    ),
}
