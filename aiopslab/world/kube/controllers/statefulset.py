"""The StatefulSet controller: pods with an ordinal, a name and a claim that stay theirs.

Pods come up in order and go down in reverse, one at a time (``OrderedReady``), or all at once
(``Parallel``). Claims are never deleted here. Neighbours: ``volumes`` binds the claims.
"""

from __future__ import annotations

import re

from aiopslab.world.kube.controllers import pods as podlib
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.objects import (
    Object,
    clone,
    deleting,
    dig,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
)
from aiopslab.world.kube.validation.podspec import (
    content_hash,
    created,
    is_available,
    is_finished,
    is_ready,
    phase,
)

REVISION_LABEL = "controller-revision-hash"
NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


def ordinal(pod: Object) -> int:
    """The number at the end of a pod's name, -1 if there is none."""
    number = name_of(pod).rpartition("-")[2]
    return int(number) if re.fullmatch("[0-9]{1,10}", number) else -1


class StatefulSetController(Controller):
    """Reconciles StatefulSets."""

    name = "statefulset-controller"

    def watch(self) -> None:
        """Follow StatefulSets and their pods."""
        self.follow_own("StatefulSet")
        self.follow_children("Pod", "StatefulSet")

    def reconcile(self, namespace: str, name: str) -> None:
        owner = self.find("StatefulSet", name, namespace)
        if owner is None:
            return
        revision = self._revision(owner)
        if not deleting(owner):
            self._step(owner, revision)
        current = self.find("StatefulSet", name, namespace)
        if current is not None:
            self._report(current, revision)

    def _pods(self, owner: Object) -> dict[int, Object]:
        """Return its pods by ordinal; what only names it as owner is none of them."""
        return {
            ordinal(pod): pod
            for pod in self.children(owner, "Pod")
            if name_of(pod) == f"{name_of(owner)}-{ordinal(pod)}"
        }

    # -- revisions --------------------------------------------------------------------------------

    def _revision(self, owner: Object) -> str:
        """Return the name of the revision of the present template; record it if it is new."""
        template = owner["spec"]["template"]
        name = f"{name_of(owner)}-{content_hash(template)}"
        known = self.children(owner, "ControllerRevision")
        number = max((int(item["revision"]) for item in known), default=0)
        found = next((item for item in known if name_of(item) == name), None)
        if found is None:
            draft = {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": name,
                    "namespace": namespace_of(owner),
                    "labels": dict(labels_of(template)) if "metadata" in template else {},
                    "ownerReferences": [owner_reference(owner)],
                },
                "data": {"spec": {"template": clone(template)}},
                "revision": number + 1,
            }
            self.api.create(draft, actor=self.actor)
        elif int(found["revision"]) < number:
            self.api.replace({**found, "revision": number + 1}, actor=self.actor)
        return name

    def _template(self, owner: Object, revision: str) -> Object:
        found = self.find("ControllerRevision", revision, namespace_of(owner))
        template: Object = dig(found, "data", "spec", "template", default=owner["spec"]["template"])
        return template

    # -- one step ---------------------------------------------------------------------------------

    def _step(self, owner: Object, update: str) -> None:
        spec = owner["spec"]
        replicas = int(spec.get("replicas", 1))
        patient = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        pods = self._pods(owner)
        for index in range(replicas):
            pod = pods.get(index)
            if pod is None:
                self._create(owner, index, self._revision_for(owner, index, update))
            elif is_finished(pod) and not deleting(pod):
                whose = f"StatefulSet {namespace_of(owner)}/{name_of(owner)}"
                text = f"{whose} is recreating failed Pod {name_of(pod)}"
                self.event(owner, "Warning", "RecreatingFailedPod", text)
                self._remove(owner, pod)
            elif self._settled(owner, pod):
                continue
            if patient:
                return
        surplus = [pods[index] for index in sorted(pods, reverse=True) if index >= replicas]
        for pod in surplus:
            if not deleting(pod):
                self._remove(owner, pod)
            if patient:
                return
        if not surplus:
            self._roll(owner, [pods[index] for index in sorted(pods) if index < replicas], update)

    def _settled(self, owner: Object, pod: Object) -> bool:
        patience = float(owner["spec"].get("minReadySeconds", 0))
        return not deleting(pod) and is_available(pod, patience, self.now())

    def _roll(self, owner: Object, pods: list[Object], update: str) -> None:
        """Replace the highest pod that has an old revision, if every one above is healthy."""
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        partition = int(dig(strategy, "rollingUpdate", "partition", default=0))
        for pod in reversed(pods):
            if ordinal(pod) < partition:
                return
            if labels_of(pod).get(REVISION_LABEL) != update and not deleting(pod):
                self._remove(owner, pod)
                return
            if not self._settled(owner, pod):
                return

    def _revision_for(self, owner: Object, index: int, update: str) -> str:
        """A pod below the partition comes back with the revision it had."""
        partition = int(
            dig(owner, "spec", "updateStrategy", "rollingUpdate", "partition", default=0)
        )
        current = dig(owner, "status", "currentRevision", default=update)
        return current if index < partition else update

    # -- pods -------------------------------------------------------------------------------------

    def _create(self, owner: Object, index: int, revision: str) -> None:
        name = f"{name_of(owner)}-{index}"
        pod = podlib.from_template(owner, self._template(owner, revision), name=name)
        pod["metadata"].setdefault("labels", {}).update(
            {REVISION_LABEL: revision, NAME_LABEL: name, INDEX_LABEL: str(index)}
        )
        pod["spec"]["hostname"] = name
        pod["spec"]["subdomain"] = owner["spec"].get("serviceName", "")
        claims = []
        for template in owner["spec"].get("volumeClaimTemplates") or ():
            claim = f"{name_of(template)}-{name}"
            self._claim(owner, template, claim)
            reference = {"persistentVolumeClaim": {"claimName": claim}}
            claims.append({"name": name_of(template), **reference})
        if claims:
            mine = {item["name"] for item in claims}
            rest = [v for v in pod["spec"].get("volumes") or () if v["name"] not in mine]
            pod["spec"]["volumes"] = [*claims, *rest]
        self.api.create(pod, actor=self.actor)
        text = f"create Pod {name} in StatefulSet {name_of(owner)} successful"
        self.event(owner, "Normal", "SuccessfulCreate", text)

    def _claim(self, owner: Object, template: Object, name: str) -> None:
        if self.find("PersistentVolumeClaim", name, namespace_of(owner)) is not None:
            return
        selector = dig(owner, "spec", "selector", "matchLabels", default={})
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name,
                "namespace": namespace_of(owner),
                "labels": {**labels_of(template), **selector},
            },
            "spec": clone(template["spec"]),
        }
        self.api.create(claim, actor=self.actor)
        text = (
            f"create Claim {name} Pod {name.removeprefix(name_of(template) + '-')} in "
            f"StatefulSet {name_of(owner)} success"
        )
        self.event(owner, "Normal", "SuccessfulCreate", text)

    def _remove(self, owner: Object, pod: Object) -> None:
        self.api.delete("Pod", name_of(pod), namespace_of(pod), actor=self.actor)
        text = f"delete Pod {name_of(pod)} in StatefulSet {name_of(owner)} successful"
        self.event(owner, "Normal", "SuccessfulDelete", text)

    # -- status -----------------------------------------------------------------------------------

    def _report(self, owner: Object, update: str) -> None:
        replicas = int(owner["spec"].get("replicas", 1))
        pods = [pod for pod in self._pods(owner).values() if phase(pod) != "Failed"]
        before = dig(owner, "status", "currentRevision", default=update)
        updated = sum(labels_of(pod).get(REVISION_LABEL) == update for pod in pods)
        patience = float(owner["spec"].get("minReadySeconds", 0))
        done = updated == replicas and all(is_ready(pod) for pod in pods)
        current = update if done else before
        status = {
            "observedGeneration": owner["metadata"]["generation"],
            "replicas": len(pods),
            "readyReplicas": sum(is_ready(pod) for pod in pods),
            "availableReplicas": sum(is_available(pod, patience, self.now()) for pod in pods),
            "currentReplicas": sum(labels_of(p).get(REVISION_LABEL) == current for p in pods),
            "updatedReplicas": updated,
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        }
        self.write_status(owner, status)
        if (
            patience
            and any(is_ready(pod) for pod in pods)
            and status["availableReplicas"] < replicas
        ):
            self.queue.add_after((namespace_of(owner), name_of(owner)), patience)
        self._prune(owner, {current, update, *(labels_of(p).get(REVISION_LABEL, "") for p in pods)})

    def _prune(self, owner: Object, live: set[str]) -> None:
        limit = int(owner["spec"].get("revisionHistoryLimit", 10))
        idle = [
            item for item in self.children(owner, "ControllerRevision") if name_of(item) not in live
        ]
        idle.sort(key=lambda item: (int(item["revision"]), created(item)))
        for item in idle[: max(0, len(idle) - limit)]:
            kind, namespace = "ControllerRevision", namespace_of(item)
            self.api.delete(kind, name_of(item), namespace, actor=self.actor)
