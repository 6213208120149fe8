"""The columns that ``kubectl get`` shows of each kind, short and wide.

Names, order and types are those that the API server prints tables with. Derived cells are in
``table.cells``; laying rows out as text is ``table``'s, sending them as ``Table`` objects that of
the HTTP surface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from aiopslab.world.kube.objects import Object, controller_of, dig, name_of
from aiopslab.world.kube.selectors import format_selector
from aiopslab.world.kube.table import cells

Cell = Callable[[Object, float], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, how to print a cell (object, now), and whether only ``wide`` has it."""

    name: str
    cell: Cell
    wide: bool = False
    type: Literal["string", "integer", "date"] = "string"

    @property
    def head(self) -> str:
        """What stands above the column."""
        return self.name.upper()


def columns(kind: str) -> tuple[Column, ...]:
    """Return the columns of a kind, by its exact name; name and age if it has none of its own."""
    return _COLUMNS.get(kind, _DEFAULT)


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


def _or_none(budget: Object, bound: str) -> str:
    """Print a bound of a disruption budget, a number or a percentage."""
    return str(dig(budget, "spec", bound, default="N/A"))


def _claim(obj: Object) -> str:
    reference = dig(obj, "spec", "claimRef", default={})
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


def _role(obj: Object) -> str:
    role = obj.get("roleRef") or {}
    return f"{role.get('kind', '')}/{role.get('name', '')}"


def _subjects(obj: Object, kind: str) -> str:
    found = [s for s in obj.get("subjects") or () if s.get("kind") == kind]
    names = (f"{s['namespace']}/{s['name']}" if "namespace" in s else s["name"] for s in found)
    return ", ".join(names)


def _controller(obj: Object) -> str:
    owner = controller_of(obj)
    if owner is None:
        return cells.NONE
    group = str(owner["apiVersion"]).partition("/")[0]
    return f"{owner['kind'].lower()}.{group}/{owner['name']}"


NAME = Column("Name", _of(name_of))
AGE = Column("Age", cells.age)
_DEFAULT = (NAME, AGE)


CREATED_AT = Column("Created At", _at("metadata", "creationTimestamp"), type="date")
_UNSET = "<unset>"
_WEBHOOKS = (
    NAME,
    Column("Webhooks", _of(lambda o: len(o.get("webhooks") or ())), type="integer"),
    AGE,
)
_BINDING = (
    NAME,
    Column("Role", _of(_role)),
    AGE,
    Column("Users", _of(lambda o: _subjects(o, "User")), wide=True),
    Column("Groups", _of(lambda o: _subjects(o, "Group")), wide=True),
    Column("ServiceAccounts", _of(lambda o: _subjects(o, "ServiceAccount")), wide=True),
)


def _workload(*columns: Column, selector: bool = True) -> tuple[Column, ...]:
    """Columns of a kind that runs pods: its own, then containers and images when wide."""
    extra: Iterable[Column] = (
        Column("Containers", _of(lambda o: _containers(o, "name")), wide=True),
        Column("Images", _of(lambda o: _containers(o, "image")), wide=True),
    )
    if selector:
        pick = _of(lambda o: format_selector(dig(o, "spec", "selector")))
        extra = (*extra, Column("Selector", pick, wide=True))
    return (NAME, *columns, AGE, *extra)


_COLUMNS: dict[str, tuple[Column, ...]] = {
    "Pod": (
        NAME,
        Column("Ready", _of(cells.pod_ready)),
        Column("Status", _of(cells.pod_status)),
        Column("Restarts", cells.pod_restarts),
        AGE,
        Column("IP", _at("status", "podIP"), wide=True),
        Column("Node", _at("spec", "nodeName"), wide=True),
        Column("Nominated Node", _at("status", "nominatedNodeName"), wide=True),
        Column("Readiness Gates", _of(lambda _: cells.NONE), wide=True),
    ),
    "Deployment": _workload(
        Column("Ready", _of(_replicas)),
        Column("Up-to-date", _at("status", "updatedReplicas", default=0), type="integer"),
        Column("Available", _at("status", "availableReplicas", default=0), type="integer"),
    ),
    "ReplicaSet": _workload(
        Column("Desired", _at("spec", "replicas", default=0), type="integer"),
        Column("Current", _at("status", "replicas", default=0), type="integer"),
        Column("Ready", _at("status", "readyReplicas", default=0), type="integer"),
    ),
    "StatefulSet": _workload(Column("Ready", _of(_replicas)), selector=False),
    "DaemonSet": _workload(
        Column("Desired", _at("status", "desiredNumberScheduled", default=0), type="integer"),
        Column("Current", _at("status", "currentNumberScheduled", default=0), type="integer"),
        Column("Ready", _at("status", "numberReady", default=0), type="integer"),
        Column("Up-to-date", _at("status", "updatedNumberScheduled", default=0), type="integer"),
        Column("Available", _at("status", "numberAvailable", default=0), type="integer"),
        Column(
            "Node Selector",
            _of(lambda o: cells.labels(dig(o, "spec", "template", "spec", "nodeSelector"))),
        ),
    ),
    "Job": _workload(
        Column("Status", _of(cells.job_status)),
        Column("Completions", _of(cells.job_completions)),
        Column("Duration", cells.job_duration),
    ),
    "CronJob": _workload(
        Column("Schedule", _at("spec", "schedule")),
        Column("Timezone", _at("spec", "timeZone")),
        Column("Suspend", _of(lambda o: str(bool(dig(o, "spec", "suspend"))))),
        Column(
            "Active", _of(lambda o: len(dig(o, "status", "active", default=()))), type="integer"
        ),
        Column("Last Schedule", _last_schedule),
        selector=False,
    ),
    "Service": (
        NAME,
        Column("Type", _at("spec", "type")),
        Column("Cluster-IP", _at("spec", "clusterIP")),
        Column("External-IP", _of(cells.external_address)),
        Column("Port(s)", _of(cells.service_ports)),
        AGE,
        Column("Selector", _of(lambda o: cells.labels(dig(o, "spec", "selector"))), wide=True),
    ),
    "Endpoints": (NAME, Column("Endpoints", _of(cells.endpoint_addresses)), AGE),
    "EndpointSlice": (
        NAME,
        Column("AddressType", _at("addressType")),
        Column("Ports", _of(_slice_ports)),
        Column("Endpoints", _of(_slice_addresses)),
        AGE,
    ),
    "Node": (
        NAME,
        Column("Status", _of(cells.node_status)),
        Column("Roles", _of(cells.node_roles)),
        AGE,
        Column("Version", _at("status", "nodeInfo", "kubeletVersion")),
        Column("Internal-IP", _of(lambda o: cells.node_address(o, "InternalIP")), wide=True),
        Column("External-IP", _of(lambda o: cells.node_address(o, "ExternalIP")), wide=True),
        Column("OS-Image", _at("status", "nodeInfo", "osImage"), wide=True),
        Column("Kernel-Version", _at("status", "nodeInfo", "kernelVersion"), wide=True),
        Column(
            "Container-Runtime", _at("status", "nodeInfo", "containerRuntimeVersion"), wide=True
        ),
    ),
    "Namespace": (NAME, Column("Status", _at("status", "phase")), AGE),
    "ConfigMap": (
        NAME,
        Column(
            "Data",
            _of(lambda o: len(o.get("data") or {}) + len(o.get("binaryData") or {})),
            type="integer",
        ),
        AGE,
    ),
    "Secret": (
        NAME,
        Column("Type", _at("type")),
        Column("Data", _of(lambda o: len(o.get("data") or {})), type="integer"),
        AGE,
    ),
    "ServiceAccount": (
        NAME,
        Column("Secrets", _of(lambda o: len(o.get("secrets") or ())), type="integer"),
        AGE,
    ),
    "Event": (
        Column("Last Seen", lambda o, now: cells.since(o.get("lastTimestamp"), now)),
        Column("Type", _at("type")),
        Column("Reason", _at("reason")),
        Column("Object", _of(_event_object)),
        Column("Subobject", _at("involvedObject", "fieldPath", default=""), wide=True),
        Column("Source", _of(_event_source), wide=True),
        Column("Message", _at("message")),
        Column("First Seen", lambda o, now: cells.since(o.get("firstTimestamp"), now), wide=True),
        Column("Count", _at("count", default=1), wide=True, type="integer"),
        Column("Name", _of(name_of), wide=True),
    ),
    "HorizontalPodAutoscaler": (
        NAME,
        Column("Reference", _of(_autoscaled)),
        Column("Targets", _of(cells.autoscaler_targets)),
        Column("MinPods", _at("spec", "minReplicas"), type="integer"),
        Column("MaxPods", _at("spec", "maxReplicas"), type="integer"),
        Column("Replicas", _at("status", "currentReplicas", default=0), type="integer"),
        AGE,
    ),
    "PersistentVolumeClaim": (
        NAME,
        Column("Status", _at("status", "phase")),
        Column("Volume", _at("spec", "volumeName", default="")),
        Column("Capacity", _of(_claim_capacity)),
        Column("Access Modes", _of(_access_modes)),
        Column("StorageClass", _at("spec", "storageClassName", default="")),
        Column("VolumeAttributesClass", _at("spec", "volumeAttributesClassName", default=_UNSET)),
        AGE,
        Column("VolumeMode", _at("spec", "volumeMode"), wide=True),
    ),
    "PersistentVolume": (
        NAME,
        Column("Capacity", _at("spec", "capacity", "storage", default="")),
        Column("Access Modes", _of(_access_modes)),
        Column("Reclaim Policy", _at("spec", "persistentVolumeReclaimPolicy", default="Retain")),
        Column("Status", _at("status", "phase", default="")),
        Column("Claim", _of(_claim)),
        Column("StorageClass", _at("spec", "storageClassName", default="")),
        Column("VolumeAttributesClass", _at("spec", "volumeAttributesClassName", default=_UNSET)),
        Column("Reason", _at("status", "reason", default="")),
        AGE,
        Column("VolumeMode", _at("spec", "volumeMode"), wide=True),
    ),
    "NetworkPolicy": (
        NAME,
        Column("Pod-Selector", _of(lambda o: format_selector(dig(o, "spec", "podSelector")))),
        AGE,
    ),
    "Ingress": (
        NAME,
        Column("Class", _at("spec", "ingressClassName")),
        Column("Hosts", _of(_hosts)),
        Column("Address", _at("status", "loadBalancer", "ingress", 0, "ip", default="")),
        Column("Ports", _of(lambda o: "80, 443" if dig(o, "spec", "tls") else "80")),
        AGE,
    ),
    "ResourceQuota": (
        NAME,
        Column("Request", _of(lambda o: cells.quota_line(o, limits=False))),
        Column("Limit", _of(lambda o: cells.quota_line(o, limits=True))),
        AGE,
    ),
    "LimitRange": (NAME, CREATED_AT),
    "Lease": (NAME, Column("Holder", _at("spec", "holderIdentity")), AGE),
    "PodDisruptionBudget": (
        NAME,
        Column("Min Available", _of(lambda o: _or_none(o, "minAvailable"))),
        Column("Max Unavailable", _of(lambda o: _or_none(o, "maxUnavailable"))),
        Column(
            "Allowed Disruptions", _at("status", "disruptionsAllowed", default=0), type="integer"
        ),
        AGE,
    ),
    "Role": (NAME, CREATED_AT),
    "ClusterRole": (NAME, CREATED_AT),
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "PriorityClass": (
        NAME,
        Column("Value", _at("value", default=0), type="integer"),
        Column("Global-Default", _of(lambda o: str(bool(o.get("globalDefault"))).lower())),
        AGE,
        Column("PreemptionPolicy", _at("preemptionPolicy", default="PreemptLowerPriority")),
    ),
    "ValidatingWebhookConfiguration": _WEBHOOKS,
    "MutatingWebhookConfiguration": _WEBHOOKS,
    "ControllerRevision": (
        NAME,
        Column("Controller", _of(_controller)),
        Column("Revision", _at("revision", default=0), type="integer"),
        AGE,
    ),
}
