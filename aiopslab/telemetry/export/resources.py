"""Who sent what, as OTLP resources: attributes of OpenTelemetry's semantic conventions 1.44.

Spans and log lines name service and pod; what else is known of a pod (namespace, node, version,
owner) comes from the metrics that were recorded of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiopslab.telemetry.export.messages import Attributes, Tree
from aiopslab.telemetry.export.recorded import Recorded

SCOPE: Tree = {"name": "aiopslab.telemetry.export"}
"""The instrumentation scope of everything exported; the original one is not recorded."""
_OWNERS = {
    "ReplicaSet": "k8s.replicaset.name",
    "StatefulSet": "k8s.statefulset.name",
    "DaemonSet": "k8s.daemonset.name",
    "Job": "k8s.job.name",
}
_TARGET_LABELS = {
    "namespace": "k8s.namespace.name",
    "pod": "k8s.pod.name",
    "node": "k8s.node.name",
}
"""Labels that a scraped pod's series carry, and the resource attributes that they are."""


@dataclass(slots=True)
class Pods:
    """What the metrics say about pods."""

    known: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, recorded: Recorded) -> Pods:
        """Read the info metrics of a record; without samples nothing is known."""
        pods = cls()
        if "samples" not in recorded.signals:
            return pods
        wanted = "metric IN ('kube_pod_info', 'app_build_info')"
        for batch in recorded.rows("samples", "DISTINCT metric, labels", wanted):
            for metric, text in sorted(batch):
                pods._note(metric, json.loads(text))
        return pods

    def resource(self, service: str, pod: str, more: Mapping[str, str] | None = None) -> Tree:
        """Return the resource of a process; ``more`` are attributes that win over what is known."""
        known = self.known.get(pod, {})
        found = {
            "service.name": service,
            "service.instance.id": pod,
            **known,
            "k8s.pod.name": pod,
            **(more or {}),
        }
        return {"attributes": Attributes({k: v for k, v in found.items() if v})}

    def _note(self, metric: str, labels: dict[str, str]) -> None:
        pod = self.known.setdefault(labels.get("pod", ""), {})
        if metric == "app_build_info":
            pod["service.version"] = labels.get("version", "")
            return
        pod["k8s.namespace.name"] = labels.get("namespace", "")
        pod["k8s.node.name"] = labels.get("node", "")
        owner = _OWNERS.get(labels.get("created_by_kind", ""))
        if owner:
            pod[owner] = labels.get("created_by_name", "")


def of_target(labels: Mapping[str, str]) -> tuple[Tree, dict[str, str]]:
    """Split a series' labels into the resource of its target and the attributes of its points.

    ``job`` and ``instance`` are the service and its instance. Pod, namespace and node belong to the
    target where it is a pod of a service; on series of exporters they say what a point is about.
    """
    rest = dict(labels)
    found = {
        "service.name": rest.pop("job", ""),
        "service.instance.id": rest.pop("instance", ""),
    }
    if found["service.name"] and rest.get("service") == found["service.name"]:
        del rest["service"]
        for label, attribute in _TARGET_LABELS.items():
            found[attribute] = rest.pop(label, "")
    return {"attributes": Attributes({k: v for k, v in found.items() if v})}, rest
