"""The node lifecycle controller: what becomes of a node that is not heard of, and of its pods.

A lease older than 40 s makes the node NotReady and tainted and its pods unready; pods leave a
``NoExecute`` taint at once or after the seconds they tolerate. Not here: the heartbeats
(``kubelet.node``).
"""

from __future__ import annotations

from aiopslab.models.timestamps import rfc3339, unix
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.controllers.queue import Key
from aiopslab.world.kube.objects import (
    Object,
    clone,
    condition,
    deleting,
    dig,
    name_of,
    namespace_of,
    set_condition,
)
from aiopslab.world.kube.validation.podspec import created, is_finished, is_ready, tolerates

GRACE_S = 40.0
"""node-monitor-grace-period."""
PERIOD_S = 5.0
"""node-monitor-period."""
LEASE_NAMESPACE = "kube-node-lease"
UNREACHABLE = "node.kubernetes.io/unreachable"
NOT_READY = "node.kubernetes.io/not-ready"
_KINDS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_PRESSURE = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
}


class NodeLifecycleController(Controller):
    """Watches heartbeats, keeps taints, and evicts."""

    name = "node-controller"

    def watch(self) -> None:
        """Follow nodes and the pods on them; heartbeats are looked at every 5 s."""
        self.follow("Node", lambda node: [("", name_of(node))])
        self.follow("Pod", self._node_of)

    def _node_of(self, pod: Object) -> list[Key]:
        node = self.find("Node", pod["spec"].get("nodeName") or "")
        # Only a tainted node has anything to decide about its pods.
        return [("", name_of(node))] if node and dig(node, "spec", "taints") else []

    def reconcile(self, namespace: str, name: str) -> None:
        node = self.find("Node", name)
        if node is None:
            return
        self.queue.add_after((namespace, name), PERIOD_S)
        heard = self._last_heard(node)
        if self.now() - heard > GRACE_S:
            node = self._silent(node)
        node = self._taint(node)
        self._evict(node)

    def _last_heard(self, node: Object) -> float:
        lease = self.find("Lease", name_of(node), LEASE_NAMESPACE)
        renewed = dig(lease, "spec", "renewTime")
        return unix(renewed) if renewed else created(node)

    def _silent(self, node: Object) -> Object:
        """Mark every condition unknown, once, and the pods of the node unready."""
        ready = condition(node, "Ready") or {}
        if ready.get("status") != "Unknown":
            now = rfc3339(self.now())
            status = dict(node.get("status") or {})
            conditions = status.get("conditions") or []
            for kind in _KINDS:
                old = condition(node, kind) or {}
                mark = {
                    "type": kind,
                    "status": "Unknown",
                    "reason": "NodeStatusUnknown",
                    "message": "Kubelet stopped posting node status.",
                    "lastHeartbeatTime": old.get("lastHeartbeatTime", now),
                }
                conditions = set_condition(conditions, mark, now)
            self.write_status(node, {**status, "conditions": conditions})
            text = f"Node {name_of(node)} status is now: NodeNotReady"
            self.event(node, "Normal", "NodeNotReady", text)
            node = self.api.get("Node", name_of(node))
        for pod in self._pods(node):
            if is_ready(pod):
                self._unready(pod)
        return node

    def _unready(self, pod: Object) -> None:
        status = dict(pod["status"])
        mark = {"type": "Ready", "status": "False"}
        status["conditions"] = set_condition(status["conditions"], mark, rfc3339(self.now()))
        self.write_status(pod, status)
        self.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    def _pods(self, node: Object) -> list[Object]:
        return self.api.list("Pod", fields=f"spec.nodeName={name_of(node)}")

    # -- taints -----------------------------------------------------------------------------------

    def _taint(self, node: Object) -> Object:
        """Bring the taints this controller owns in line with the conditions."""
        wanted: list[tuple[str, str]] = []
        ready = (condition(node, "Ready") or {}).get("status")
        if ready == "Unknown":
            wanted += [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
        elif ready == "False":
            wanted += [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]
        for kind, key in _PRESSURE.items():
            if (condition(node, kind) or {}).get("status") == "True":
                wanted.append((key, "NoSchedule"))
        mine = {UNREACHABLE, NOT_READY, *_PRESSURE.values()}
        present = list(dig(node, "spec", "taints", default=()))
        kept = [t for t in present if t["key"] not in mine or (t["key"], t["effect"]) in wanted]
        known = {(taint["key"], taint["effect"]) for taint in kept}
        added = [
            {"key": key, "effect": effect, "timeAdded": rfc3339(self.now())}
            for key, effect in wanted
            if (key, effect) not in known
        ]
        if not added and len(kept) == len(present):
            return node
        changed = clone(node)
        changed["spec"]["taints"] = [*kept, *added]
        if not changed["spec"]["taints"]:
            del changed["spec"]["taints"]
        return self.api.replace(changed, actor=self.actor)

    # -- eviction ---------------------------------------------------------------------------------

    def _evict(self, node: Object) -> None:
        taints = [t for t in dig(node, "spec", "taints", default=()) if t["effect"] == "NoExecute"]
        if not taints:
            return
        for pod in self._pods(node):
            if deleting(pod) or is_finished(pod):
                continue
            left = min(self._patience(pod, taint) for taint in taints)
            if left <= 0.0:
                text = f"Marking for deletion Pod {namespace_of(pod)}/{name_of(pod)}"
                self.recorder.record_event(
                    pod, "Normal", "TaintManagerEviction", text, "taint-eviction-controller"
                )
                self.api.delete("Pod", name_of(pod), namespace_of(pod), actor=self.actor)
            elif left != float("inf"):
                self.queue.add_after(("", name_of(node)), left)

    def _patience(self, pod: Object, taint: Object) -> float:
        """Seconds a pod may stay; infinite if it tolerates the taint for ever."""
        matching = [
            item for item in pod["spec"].get("tolerations") or () if tolerates([item], taint)
        ]
        if not matching:
            return 0.0
        limits = [item["tolerationSeconds"] for item in matching if "tolerationSeconds" in item]
        if not limits:
            return float("inf")
        since = unix(taint["timeAdded"]) if "timeAdded" in taint else self.now()
        return since + float(min(limits)) - self.now()
