"""The DaemonSet controller: one pod on every node that admits it.

Pods are pinned to their node by name through node affinity and placed by the scheduler, as in a
real cluster. Rolling updates replace one unavailable pod at a time (``maxUnavailable`` 1).
"""

from __future__ import annotations

from aiopslab.world.kube.controllers import pods as podlib
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.controllers.queue import Key
from aiopslab.world.kube.objects import (
    Object,
    deleting,
    dig,
    labels_of,
    name_of,
    namespace_of,
)
from aiopslab.world.kube.placement import matches_node
from aiopslab.world.kube.validation.podspec import content_hash, is_active, is_ready, tolerates

REVISION_LABEL = "controller-revision-hash"
TOLERATED = tuple(
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
    for key, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
)
"""What every daemon pod tolerates."""


def node_of(pod: Object) -> str:
    """Name the node a daemon pod is meant for."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    path = ("affinity", "nodeAffinity", required, "nodeSelectorTerms", 0, "matchFields", 0)
    return str(dig(pod["spec"], *path, "values", 0, default=""))


class DaemonSetController(Controller):
    """Reconciles DaemonSets."""

    name = "daemonset-controller"

    def watch(self) -> None:
        """Follow DaemonSets, their pods, and the nodes."""
        self.follow_own("DaemonSet")
        self.follow_children("Pod", "DaemonSet")
        self.follow("Node", self._all)

    def _all(self, _node: Object) -> list[Key]:
        return [(namespace_of(item), name_of(item)) for item in self.api.list("DaemonSet")]

    def reconcile(self, namespace: str, name: str) -> None:
        owner = self.find("DaemonSet", name, namespace)
        if owner is None:
            return
        wanted = [name_of(node) for node in self.api.list("Node") if self._wants(owner, node)]
        revision = content_hash(owner["spec"]["template"])
        if not deleting(owner):
            self._step(owner, wanted, revision)
        current = self.find("DaemonSet", name, namespace)
        if current is not None:
            self._report(current, wanted, revision)

    def _wants(self, owner: Object, node: Object) -> bool:
        spec = owner["spec"]["template"]["spec"]
        if spec.get("nodeName") not in (None, "", name_of(node)):
            return False
        tolerations = [*(spec.get("tolerations") or ()), *TOLERATED]
        taints = dig(node, "spec", "taints", default=())
        return matches_node(spec, node) and all(
            tolerates(tolerations, taint)
            for taint in taints
            if taint["effect"] != "PreferNoSchedule"
        )

    def _step(self, owner: Object, wanted: list[str], revision: str) -> None:
        by_node = {node_of(pod): pod for pod in self.children(owner, "Pod")}
        for node, pod in sorted(by_node.items()):
            if (node not in wanted or not is_active(pod)) and not deleting(pod):
                self._remove(owner, pod)
        for node in wanted:
            if node not in by_node:
                self._create(owner, node, revision)
        strategy = dig(owner, "spec", "updateStrategy", "type", default="RollingUpdate")
        pods = [by_node[node] for node in wanted if node in by_node]
        old = [pod for pod in pods if labels_of(pod).get(REVISION_LABEL) != revision]
        if strategy != "RollingUpdate" or not old or len(pods) < len(wanted):
            return
        unready = [pod for pod in pods if deleting(pod) or not is_ready(pod)]
        stuck = [pod for pod in old if pod in unready and not deleting(pod)]
        if stuck:
            self._remove(owner, stuck[0])
        elif not unready:
            self._remove(owner, old[0])

    def _create(self, owner: Object, node: str, revision: str) -> None:
        pod = podlib.from_template(owner, owner["spec"]["template"])
        pod["metadata"].setdefault("labels", {})[REVISION_LABEL] = revision
        pod["spec"].setdefault("affinity", {})["nodeAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
                ]
            }
        }
        pod["spec"]["tolerations"] = [*(pod["spec"].get("tolerations") or ()), *TOLERATED]
        stored = self.api.create(pod, actor=self.actor)
        self.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name_of(stored)}")

    def _remove(self, owner: Object, pod: Object) -> None:
        self.api.delete("Pod", name_of(pod), namespace_of(pod), actor=self.actor)
        self.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")

    def _report(self, owner: Object, wanted: list[str], revision: str) -> None:
        pods = [pod for pod in self.children(owner, "Pod") if is_active(pod)]
        placed = [pod for pod in pods if node_of(pod) in wanted]
        ready = sum(is_ready(pod) for pod in placed)
        status = {
            "observedGeneration": owner["metadata"]["generation"],
            "currentNumberScheduled": len(placed),
            "numberMisscheduled": len(pods) - len(placed),
            "desiredNumberScheduled": len(wanted),
            "numberReady": ready,
            "updatedNumberScheduled": sum(
                labels_of(pod).get(REVISION_LABEL) == revision for pod in placed
            ),
        }
        if ready:
            status["numberAvailable"] = ready
        if len(wanted) - ready:
            status["numberUnavailable"] = len(wanted) - ready
        self.write_status(owner, status)
