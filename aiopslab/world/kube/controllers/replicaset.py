"""The ReplicaSet controller: keeps a number of pods alike.

The API is read after every write without delay, so the expectations that the real controller
keeps against stale caches are not needed. Neighbours: ``pods`` (order of deletion),
``deployment`` (who sets the number).
"""

from __future__ import annotations

from aiopslab.models.kube import KubeError
from aiopslab.models.timestamps import rfc3339
from aiopslab.world.kube import selectors
from aiopslab.world.kube.controllers import pods as podlib
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.objects import (
    Object,
    clone,
    condition,
    controller_of,
    deleting,
    dig,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    set_condition,
)
from aiopslab.world.kube.validation.podspec import is_active, is_available, ready_since

BURST = 500
"""Creations and deletions in one reconcile."""


class ReplicaSetController(Controller):
    """Reconciles ReplicaSets."""

    name = "replicaset-controller"

    def watch(self) -> None:
        """Follow ReplicaSets, their pods, and pods nobody controls."""
        self.follow_own("ReplicaSet")
        self.follow_children("Pod", "ReplicaSet")
        self.api.subscribe("Pod", self._orphan)

    def _orphan(self, event: str, pod: Object, _old: Object | None) -> None:
        if event == "DELETED" or controller_of(pod) is not None:
            return
        for rs in self.api.list("ReplicaSet", namespace_of(pod)):
            if selectors.matches(selectors.from_object(rs["spec"]["selector"]), labels_of(pod)):
                self.queue.add((namespace_of(rs), name_of(rs)))

    def reconcile(self, namespace: str, name: str) -> None:
        replica_set = self.find("ReplicaSet", name, namespace)
        if replica_set is None:
            return
        pods = self._claim(replica_set)
        refusal: KubeError | None = None
        if not deleting(replica_set):
            refusal = self._adjust(replica_set, pods)
        self._report(replica_set, refusal)
        if refusal is not None:
            raise refusal

    # -- ownership --------------------------------------------------------------------------------

    def _claim(self, replica_set: Object) -> list[Object]:
        """List the active pods of the set, adopting and releasing by labels as the real one."""
        selector = selectors.from_object(replica_set["spec"]["selector"])
        mine = []
        for pod in self.children(replica_set, "Pod"):
            if not is_active(pod):
                continue
            if selectors.matches(selector, labels_of(pod)):
                mine.append(pod)
            elif not deleting(replica_set):
                self._own(pod, [])
        if deleting(replica_set):
            return mine
        for pod in self.api.list("Pod", namespace_of(replica_set)):
            free = controller_of(pod) is None and is_active(pod)
            if free and selectors.matches(selector, labels_of(pod)):
                mine.append(self._own(pod, [owner_reference(replica_set)]))
        return mine

    def _own(self, pod: Object, references: list[Object]) -> Object:
        changed = clone(pod)
        changed["metadata"]["ownerReferences"] = references
        return self.api.replace(changed, actor=self.actor)

    # -- replicas ---------------------------------------------------------------------------------

    def _adjust(self, replica_set: Object, pods: list[Object]) -> KubeError | None:
        missing = int(replica_set["spec"].get("replicas", 1)) - len(pods)
        if missing > 0:
            return self._create(replica_set, min(missing, BURST))
        for pod in podlib.deletion_order(pods)[: min(-missing, BURST)]:
            self.api.delete("Pod", name_of(pod), namespace_of(pod), actor=self.actor)
            self.event(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        return None

    def _create(self, replica_set: Object, count: int) -> KubeError | None:
        for _ in range(count):
            draft = podlib.from_template(replica_set, replica_set["spec"]["template"])
            try:
                pod = self.api.create(draft, actor=self.actor)
            except KubeError as error:
                text = f"Error creating: {error.message}"
                self.event(replica_set, "Warning", "FailedCreate", text)
                return error
            self.event(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name_of(pod)}")
        return None

    # -- status -----------------------------------------------------------------------------------

    def _report(self, replica_set: Object, refusal: KubeError | None) -> None:
        now = self.now()
        current = self.find("ReplicaSet", name_of(replica_set), namespace_of(replica_set))
        if current is None:
            return
        pods = [pod for pod in self.children(current, "Pod") if is_active(pod)]
        patience = float(current["spec"].get("minReadySeconds", 0))
        available = sum(is_available(pod, patience, now) for pod in pods)
        status: Object = {
            "replicas": len(pods),
            "observedGeneration": current["metadata"]["generation"],
        }
        counters = podlib.counts(pods, current["spec"]["template"], available=available)
        status.update({key: value for key, value in counters.items() if value})
        conditions = dig(current, "status", "conditions", default=[])
        if refusal is not None:
            # Every refusal names another draft: a condition that followed them would be a change
            # each time, and bring the key back at once instead of after its back-off.
            failure = condition(current, "ReplicaFailure") or {
                "type": "ReplicaFailure",
                "status": "True",
                "reason": "FailedCreate",
                "message": refusal.message,
            }
            status["conditions"] = set_condition(conditions, failure, rfc3339(now))
        self.write_status(current, status)
        waits = [since + patience - now for pod in pods if (since := ready_since(pod)) is not None]
        if patience and (ahead := [wait for wait in waits if wait > 0]):
            self.queue.add_after((namespace_of(current), name_of(current)), min(ahead))
