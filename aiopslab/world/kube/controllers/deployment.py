"""The Deployment controller: turns template changes into ReplicaSets and moves replicas over.

Steps per reconcile as in kubernetes/pkg/controller/deployment: pause and resize first, then one
step of the strategy, then status. Not here: the arithmetic (``rollouts``), conditions
(``deployment_status``), pods (``replicaset``).
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.models.timestamps import rfc3339
from aiopslab.world.kube import revisions
from aiopslab.world.kube.controllers import deployment_status, rollouts
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.controllers.rollouts import Size
from aiopslab.world.kube.objects import (
    Object,
    annotations_of,
    clone,
    deleting,
    dig,
    name_of,
    namespace_of,
    owner_reference,
    set_condition,
)
from aiopslab.world.kube.validation.podspec import is_finished, whole


@dataclass(slots=True)
class Rollout:
    """A Deployment and its ReplicaSets as one reconcile sees them."""

    deployment: Object
    new: Object | None
    old: list[Object]
    """Oldest first."""

    @property
    def desired(self) -> int:
        """Replicas asked for."""
        return int(self.deployment["spec"].get("replicas", 1))

    @property
    def all(self) -> list[Object]:
        """Every ReplicaSet, the new one last."""
        return [*self.old, *([self.new] if self.new else [])]

    def limits(self) -> tuple[int, int]:
        """Resolved (maxSurge, maxUnavailable)."""
        strategy = self.deployment["spec"].get("strategy") or {}
        if strategy.get("type", "RollingUpdate") == "Recreate":
            return 0, 0
        rolling = strategy.get("rollingUpdate") or {}
        return rollouts.fenceposts(
            rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%"), self.desired
        )


def wanted(replica_set: Object) -> int:
    """``spec.replicas`` of a ReplicaSet."""
    return int(replica_set["spec"].get("replicas", 1))


def size(replica_set: Object | None) -> Size:
    """Sizes of a ReplicaSet for the arithmetic; zero when there is none."""
    if replica_set is None:
        return Size(0, 0)
    return Size(
        wanted(replica_set), int(dig(replica_set, "status", "availableReplicas", default=0))
    )


class DeploymentController(Controller):
    """Reconciles Deployments."""

    name = "deployment-controller"

    def watch(self) -> None:
        """Follow Deployments and their ReplicaSets; Recreate also waits for pods to go."""
        self.follow_own("Deployment")
        self.follow_children("ReplicaSet", "Deployment")
        self.api.subscribe("Pod", self._pod_gone)

    def _pod_gone(self, event: str, pod: Object, _old: Object | None) -> None:
        if event != "DELETED":
            return
        for reference in pod["metadata"].get("ownerReferences") or ():
            replica_set = self.find("ReplicaSet", reference["name"], namespace_of(pod))
            for owner in (replica_set or {"metadata": {}})["metadata"].get("ownerReferences") or ():
                self.queue.add((namespace_of(pod), owner["name"]))

    def reconcile(self, namespace: str, name: str) -> None:
        deployment = self.find("Deployment", name, namespace)
        if deployment is None:
            return
        rollout = self._survey(deployment)
        if deleting(deployment):
            self._report(rollout)
            return
        paused = bool(deployment["spec"].get("paused"))
        if paused != self._marked_paused(deployment):
            deployment = rollout.deployment = self._mark_paused(deployment, paused)
        if paused or self._was_resized(rollout):
            rollout = self._number(rollout) if rollout.new is not None else rollout
            self._resize(rollout)
        elif (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            rollout = self._recreate(rollout)
        else:
            rollout = self._roll(rollout)
        rollout = self._survey(self.api.get("Deployment", name, namespace))
        self._report(rollout)
        if deployment_status.is_complete(rollout.deployment) and not paused:
            self._prune(rollout)

    def _survey(self, deployment: Object) -> Rollout:
        owned = rollouts.owned_replica_sets(self.api, deployment)
        new = next((rs for rs in owned if rollouts.same_template(deployment, rs)), None)
        return Rollout(deployment, new, [rs for rs in owned if rs is not new])

    # -- pause and resize -------------------------------------------------------------------------

    def _marked_paused(self, deployment: Object) -> bool:
        progressing = deployment_status.progressing(deployment)
        return progressing is not None and progressing.get("reason") == "DeploymentPaused"

    def _mark_paused(self, deployment: Object, paused: bool) -> Object:
        progressing = deployment_status.progressing(deployment)
        if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
            return deployment
        word = "paused" if paused else "resumed"
        mark = deployment_status.progress(
            "Unknown", f"Deployment{word.capitalize()}", f"Deployment is {word}", self.now()
        )
        status = dict(deployment.get("status") or {})
        status["conditions"] = set_condition(
            status.get("conditions") or (), mark, rfc3339(self.now())
        )
        self.write_status(deployment, status)
        return self.api.get("Deployment", name_of(deployment), namespace_of(deployment))

    def _was_resized(self, rollout: Rollout) -> bool:
        for rs in rollout.all:
            annotations = annotations_of(rs)
            if wanted(rs) > 0 and rollouts.DESIRED in annotations:
                return whole(annotations[rollouts.DESIRED], -1) != rollout.desired
        return False

    def _resize(self, rollout: Rollout) -> None:
        """Bring the live ReplicaSets to a new number of replicas without moving the rollout."""
        live = [rs for rs in rollout.all if wanted(rs) > 0]
        target = rollout.new or (live[-1] if live else None)
        if len(live) <= 1:
            only = live[0] if live else target
            if only is not None:
                self._scale(rollout, only, rollout.desired)
            return
        if deployment_status.is_saturated(rollout.new, rollout.desired):
            for rs in rollout.old:
                self._scale(rollout, rs, 0)
            return
        surge, _ = rollout.limits()
        total = rollout.desired + surge if rollout.desired > 0 else 0
        annotations = live[0]["metadata"].get("annotations") or {}
        before = whole(annotations.get(rollouts.MAXIMUM), sum(wanted(rs) for rs in live))
        sizes = rollouts.proportional([wanted(rs) for rs in live], total, previous_max=before)
        for rs, replicas in zip(live, sizes, strict=True):
            self._scale(rollout, rs, replicas)

    # -- strategies -------------------------------------------------------------------------------

    def _roll(self, rollout: Rollout) -> Rollout:
        rollout = self._number(rollout) if rollout.new is not None else self._create_new(rollout)
        new = rollout.new
        if new is None:
            return rollout
        surge, unavailable = rollout.limits()
        old_total = sum(wanted(rs) for rs in rollout.old)
        replicas = rollouts.new_size(rollout.desired, surge, wanted(new), old_total)
        if self._scale(rollout, new, replicas) or old_total == 0:
            return rollout
        sizes = rollouts.old_sizes(
            rollout.desired, unavailable, size(new), [size(rs) for rs in rollout.old]
        )
        for rs, replicas in zip(rollout.old, sizes, strict=True):
            self._scale(rollout, rs, replicas)
        return rollout

    def _recreate(self, rollout: Rollout) -> Rollout:
        lowered = [self._scale(rollout, rs, 0) for rs in rollout.old]
        if any(lowered):
            return rollout
        for rs in rollout.old:
            if any(not is_finished(pod) for pod in self.children(rs, "Pod")):
                return rollout
        rollout = self._number(rollout) if rollout.new is not None else self._create_new(rollout)
        if rollout.new is not None:
            self._scale(rollout, rollout.new, rollout.desired)
        return rollout

    # -- ReplicaSets ------------------------------------------------------------------------------

    def _next_revision(self, rollout: Rollout) -> int:
        return max((revisions.revision(rs) for rs in rollout.old), default=0) + 1

    def _create_new(self, rollout: Rollout) -> Rollout:
        deployment = rollout.deployment
        replica_set = self._draft(rollout)
        name = name_of(replica_set)
        created = self.api.create(replica_set, actor=self.actor)
        rollout = Rollout(deployment, created, rollout.old)
        if wanted(created) > 0:
            message = f"Scaled up replica set {name} from 0 to {wanted(created)}"
            self.event(deployment, "Normal", "ScalingReplicaSet", message)
        self._note_progress(rollout, "NewReplicaSetCreated", f'Created new replica set "{name}"')
        return self._number(rollout)

    def _draft(self, rollout: Rollout) -> Object:
        deployment = rollout.deployment
        template = clone(deployment["spec"]["template"])
        hashed = rollouts.template_hash(template)
        labels = {
            **(template.get("metadata", {}).get("labels") or {}),
            revisions.HASH_LABEL: hashed,
        }
        template["metadata"] = {**(template.get("metadata") or {}), "labels": labels}
        selector = clone(deployment["spec"]["selector"])
        selector.setdefault("matchLabels", {})[revisions.HASH_LABEL] = hashed
        surge, _ = rollout.limits()
        old_total = sum(wanted(rs) for rs in rollout.old)
        annotations = rollouts.annotations_for(deployment, None, self._next_revision(rollout))
        annotations |= {
            rollouts.DESIRED: str(rollout.desired),
            rollouts.MAXIMUM: str(rollout.desired + surge),
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{name_of(deployment)}-{hashed}",
                "namespace": namespace_of(deployment),
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "replicas": rollouts.new_size(rollout.desired, surge, 0, old_total),
                "minReadySeconds": deployment["spec"].get("minReadySeconds", 0),
                "selector": selector,
                "template": template,
            },
        }

    def _number(self, rollout: Rollout) -> Rollout:
        """Give the new ReplicaSet the highest revision, and the Deployment the same."""
        new, deployment = rollout.new, rollout.deployment
        if new is None:
            return rollout
        number = max(self._next_revision(rollout), revisions.revision(new))
        annotations = rollouts.annotations_for(deployment, new, number)
        if annotations != annotations_of(new):
            new = self._annotate(new, annotations)
        if revisions.revision(deployment) != number:
            own = {**annotations_of(deployment)}
            deployment = self._annotate(deployment, {**own, revisions.REVISION: str(number)})
        if deployment_status.progressing(deployment) is None:
            text = f'Found new replica set "{name_of(new)}"'
            self._note_progress(Rollout(deployment, new, rollout.old), "FoundNewReplicaSet", text)
        return Rollout(deployment, new, rollout.old)

    def _annotate(self, obj: Object, annotations: dict[str, str]) -> Object:
        # Read again: this reconcile itself may have written the status since.
        current = self.api.get(obj["kind"], name_of(obj), namespace_of(obj))
        changed = {**current, "metadata": {**current["metadata"], "annotations": annotations}}
        return self.api.replace(changed, actor=self.actor)

    def _scale(self, rollout: Rollout, replica_set: Object, replicas: int) -> bool:
        """Write ``spec.replicas`` and the size annotations; True if the size changed."""
        surge, _ = rollout.limits()
        current = self.api.get("ReplicaSet", name_of(replica_set), namespace_of(replica_set))
        before = wanted(current)
        annotations = {
            **annotations_of(current),
            rollouts.DESIRED: str(rollout.desired),
            rollouts.MAXIMUM: str(rollout.desired + surge),
        }
        # The annotations tell a later resize from a rollout; idle ReplicaSets take no part in it.
        noted = before == 0 or annotations == annotations_of(current)
        if before == replicas and noted:
            return False
        changed = {
            **current,
            "metadata": {**current["metadata"], "annotations": annotations},
            "spec": {**current["spec"], "replicas": replicas},
        }
        self.api.replace(changed, actor=self.actor)
        if before == replicas:
            return False
        way = "up" if replicas > before else "down"
        text = f"Scaled {way} replica set {name_of(current)} from {before} to {replicas}"
        self.event(rollout.deployment, "Normal", "ScalingReplicaSet", text)
        return True

    def _prune(self, rollout: Rollout) -> None:
        """Delete the oldest idle ReplicaSets beyond ``revisionHistoryLimit``."""
        limit = int(rollout.deployment["spec"].get("revisionHistoryLimit", 10))
        idle = [
            rs
            for rs in sorted(rollout.old, key=revisions.revision)
            if wanted(rs) == 0 and not (rs.get("status") or {}).get("replicas")
        ]
        for rs in idle[: max(0, len(rollout.old) - limit)]:
            if not deleting(rs):
                self.api.delete("ReplicaSet", name_of(rs), namespace_of(rs), actor=self.actor)

    # -- status -----------------------------------------------------------------------------------

    def _note_progress(self, rollout: Rollout, reason: str, message: str) -> None:
        deployment = rollout.deployment
        mark = deployment_status.progress("True", reason, message, self.now())
        status = dict(deployment.get("status") or {})
        status["conditions"] = set_condition(
            status.get("conditions") or (), mark, rfc3339(self.now())
        )
        self.write_status(deployment, status)

    def _report(self, rollout: Rollout) -> None:
        deployment = rollout.deployment
        _, unavailable = rollout.limits()
        status = deployment_status.compute(
            deployment, rollout.new, rollout.all, unavailable=unavailable, now=self.now()
        )
        self.write_status(deployment, status)
        retry = deployment_status.deadline_in(deployment, status, self.now())
        if retry is not None:
            key = (namespace_of(deployment), name_of(deployment))
            self.queue.add_after(key, retry)
