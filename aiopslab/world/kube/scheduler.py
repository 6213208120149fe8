"""The scheduler: one pod at a time onto the best node, or a reason why not.

Not here: filters, scores and texts (``placement``). Pods that fit nowhere wait; they are tried
again with a back-off of 1 s doubling to 10 s once something in the cluster has changed, and
after five minutes in any case, as the kube-scheduler does.
"""

from __future__ import annotations

from aiopslab.models.timestamps import rfc3339
from aiopslab.world.kube import placement
from aiopslab.world.kube.controllers.base import Controller, Surroundings
from aiopslab.world.kube.controllers.queue import Key
from aiopslab.world.kube.objects import (
    Object,
    condition,
    deleting,
    dig,
    name_of,
    namespace_of,
    set_condition,
)
from aiopslab.world.kube.placement import NodeState, Refusal
from aiopslab.world.kube.validation.podspec import is_finished

FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 10.0
FLUSH_S = 300.0
"""Waiting pods are tried again after this even if nothing happened."""


def backoff(attempts: int) -> float:
    """Seconds between attempt n (n >= 1) and the next."""
    return float(min(FIRST_BACKOFF_S * 2.0 ** min(attempts - 1, 20), MAX_BACKOFF_S))


class Scheduler(Controller):
    """Binds pods to nodes."""

    name = "default-scheduler"

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self.actor = "system:kube-scheduler"
        self._ties = around.streams("scheduler", "ties")
        self._waiting: dict[Key, tuple[int, float]] = {}
        """Attempts so far and the time of the last one, of pods that fit nowhere."""

    def watch(self) -> None:
        """Follow unbound pods; whatever could make room wakes the waiting ones."""
        self.follow("Pod", self._unbound)
        self.api.subscribe("Node", self._node_changed)
        self.api.subscribe("Pod", self._pod_changed)
        self.api.subscribe("PersistentVolumeClaim", lambda *_: self._wake())

    def _unbound(self, pod: Object) -> list[Key]:
        key = (namespace_of(pod), name_of(pod))
        if pod["spec"].get("nodeName") or key in self._waiting:
            return []
        return [key]

    def _node_changed(self, event: str, node: Object, old: Object | None) -> None:
        # Heartbeats change conditions' times every few seconds; they make no room.
        relevant = event != "MODIFIED" or old is None or _offer(node) != _offer(old)
        if relevant:
            self._wake()

    def _pod_changed(self, event: str, pod: Object, old: Object | None) -> None:
        key = (namespace_of(pod), name_of(pod))
        if event == "DELETED":
            self._waiting.pop(key, None)
        left = bool(pod["spec"].get("nodeName")) and (event == "DELETED" or is_finished(pod))
        edited = old is not None and key in self._waiting and pod["spec"] != old["spec"]
        if left or edited:
            self._wake()

    def _wake(self) -> None:
        for key, (attempts, last) in sorted(self._waiting.items()):
            self.queue.add_after(key, max(0.0, last + backoff(attempts) - self.now()))

    # -- one attempt ------------------------------------------------------------------------------

    def reconcile(self, namespace: str, name: str) -> None:
        pod = self.find("Pod", name, namespace)
        if pod is None or pod["spec"].get("nodeName") or deleting(pod):
            self._waiting.pop((namespace, name), None)
            return
        gap = self._missing_volume(pod)
        cluster = placement.snapshot(self.api.list("Node"), self.api.list("Pod"))
        verdicts = [(state, placement.refuse(pod, state, cluster)) for state in cluster]
        fitting = [] if gap else [state for state, refusal in verdicts if refusal is None]
        if fitting:
            self._bind(pod, self._best(pod, fitting, cluster))
            return
        refusals = [
            Refusal((), False) if gap else refusal for _, refusal in verdicts if gap or refusal
        ]
        if not gap and self._preempt(pod, verdicts):
            pod = self.api.get("Pod", name, namespace)
        self._park(pod, placement.explain([r for r in refusals if r is not None], prefix=gap))

    def _best(self, pod: Object, fitting: list[NodeState], cluster: list[NodeState]) -> NodeState:
        rated = [(placement.score(pod, state, cluster), state) for state in fitting]
        top = max(score for score, _ in rated)
        best = [state for score, state in rated if score >= top - 1e-9]
        return best[0] if len(best) == 1 else self._ties.choice(best)

    def _bind(self, pod: Object, state: NodeState) -> None:
        key = (namespace_of(pod), name_of(pod))
        self._waiting.pop(key, None)
        bound = self.api.bind(key[1], key[0], state.name, actor=self.actor)
        self._mark(bound, {"type": "PodScheduled", "status": "True"})
        text = f"Successfully assigned {key[0]}/{key[1]} to {state.name}"
        self.event(bound, "Normal", "Scheduled", text)

    def _park(self, pod: Object, message: str) -> None:
        key = (namespace_of(pod), name_of(pod))
        attempts = self._waiting.get(key, (0, 0.0))[0] + 1
        self._waiting[key] = (attempts, self.now())
        self.event(pod, "Warning", "FailedScheduling", message)
        mark = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
        }
        self._mark(pod, mark)
        self.queue.add_after(key, FLUSH_S)

    def _mark(self, pod: Object, mark: Object) -> None:
        present = condition(pod, mark["type"]) or {}
        if all(present.get(key) == value for key, value in mark.items()):
            return
        status = dict(pod.get("status") or {})
        status["conditions"] = set_condition(
            status.get("conditions") or (), mark, rfc3339(self.now())
        )
        status.setdefault("phase", "Pending")
        self.write_status(pod, status)

    def _missing_volume(self, pod: Object) -> str:
        """Word why a pod's claims keep it from being placed; empty if they do not."""
        for volume in pod["spec"].get("volumes") or ():
            claim_name = dig(volume, "persistentVolumeClaim", "claimName")
            if claim_name is None:
                continue
            claim = self.find("PersistentVolumeClaim", claim_name, namespace_of(pod))
            if claim is None:
                return f'persistentvolumeclaim "{claim_name}" not found'
            if dig(claim, "status", "phase") != "Bound":
                return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    # -- preemption -------------------------------------------------------------------------------

    def _preempt(self, pod: Object, verdicts: list[tuple[NodeState, Refusal | None]]) -> bool:
        """Delete lower-priority pods of one node if that makes room; True if it did."""
        if pod["spec"].get("preemptionPolicy") == "Never":
            return False
        if dig(pod, "status", "nominatedNodeName"):
            return False  # victims of an earlier attempt are still going
        priority = int(pod["spec"].get("priority") or 0)
        options = []
        for state, refusal in verdicts:
            if refusal is not None and refusal.preemptible:
                victims = self._victims(pod, state, priority)
                if victims:
                    worst = max(int(item["spec"].get("priority") or 0) for item in victims)
                    options.append((worst, len(victims), state.name, victims))
        if not options:
            return False
        _, _, node, victims = min(options, key=lambda option: option[:3])
        for victim in victims:
            text = f"Preempted by pod {pod['metadata']['uid']} on node {node}"
            self.event(victim, "Normal", "Preempted", text)
            self.api.delete("Pod", name_of(victim), namespace_of(victim), actor=self.actor)
        self.write_status(pod, {**(pod.get("status") or {}), "nominatedNodeName": node})
        return True

    def _victims(self, pod: Object, state: NodeState, priority: int) -> list[Object]:
        """Choose the fewest lower-priority pods, lowest first, whose going makes the pod fit."""
        lower = [
            item
            for item in state.pods
            if int(item["spec"].get("priority") or 0) < priority and not deleting(item)
        ]
        lower.sort(key=lambda item: (int(item["spec"].get("priority") or 0), name_of(item)))
        kept = [item for item in state.pods if item not in lower]
        for count in range(1, len(lower) + 1):
            trial = NodeState(state.node)
            for item in [*kept, *lower[count:]]:
                trial.place(item)
            if placement.refuse(pod, trial, [trial]) is None:
                return lower[:count]
        return []


def _offer(node: Object) -> tuple[object, ...]:
    """Return what of a node decides whether pods fit."""
    return (
        node["metadata"].get("labels"),
        dig(node, "spec", "taints"),
        dig(node, "spec", "unschedulable"),
        dig(node, "status", "allocatable"),
    )
