"""Revisions of workloads, and the patches of ``kubectl rollout``: pure functions of objects.

What kubectl reads and writes on the client's side, so that the controllers that number the
revisions and the tools that go back to one agree on labels and annotations. Not here: how a
rollout proceeds (``controllers.rollouts``), wording (``tools.kube_rollout``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiopslab.models.timestamps import rfc3339
from aiopslab.world.kube.objects import Object, annotations_of, clone, controller_of, uid_of
from aiopslab.world.kube.validation.podspec import whole

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

SOURCES = {
    "Deployment": "ReplicaSet",
    "StatefulSet": "ControllerRevision",
    "DaemonSet": "ControllerRevision",
}
"""Which kind holds the older pod templates of a workload."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One entry of a rollout history."""

    number: int
    cause: str
    """The change cause somebody noted; empty if nobody did."""
    template: Object
    """Pod template as the workload had it."""

    @property
    def images(self) -> str:
        """The containers' images, comma-separated."""
        return ", ".join(c.get("image", "") for c in self.template["spec"]["containers"])


def revision(obj: Object) -> int:
    """Revision number of a ReplicaSet or Deployment, 0 if it has none yet."""
    return whole(annotations_of(obj).get(REVISION), 0)


def template_of(replica_set: Object) -> Object:
    """Return the pod template as the Deployment had it: without the hash label."""
    template = replica_set["spec"]["template"]
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def history(workload: Object, sources: Iterable[Object]) -> list[Revision]:
    """List the revisions of a workload, oldest first; those not numbered yet are left out.

    Args:
        workload: A Deployment or StatefulSet.
        sources: Objects of the kind in :data:`SOURCES`, of this workload and of others.
    """
    uid = uid_of(workload)
    owned = [o for o in sources if (controller_of(o) or {}).get("uid") == uid]
    found = [_entry(obj) for obj in owned]
    return sorted((r for r in found if r.number > 0), key=lambda r: r.number)


def _entry(obj: Object) -> Revision:
    cause = annotations_of(obj).get(CHANGE_CAUSE, "")
    if obj["kind"] == "ReplicaSet":
        return Revision(revision(obj), cause, clone(template_of(obj)))
    template = clone(obj["data"]["spec"]["template"])
    # Its directive to the strategic merge is not part of the template.
    template.pop("$patch", None)
    return Revision(int(obj["revision"]), cause, template)


def undo_patch(target: Revision) -> list[Object]:
    """Build the JSON patch (RFC 6902) that ``kubectl rollout undo`` sends."""
    return [{"op": "replace", "path": "/spec/template", "value": clone(target.template)}]


def restart_patch(now: float) -> Object:
    """Build the strategic merge patch of ``kubectl rollout restart`` at unix time ``now``."""
    annotations = {RESTARTED_AT: rfc3339(now)}
    return {"spec": {"template": {"metadata": {"annotations": annotations}}}}
