"""Pods as their owners make and remove them: from a template, and in which order they go.

Pure functions. Neighbours: ``replicaset``, ``statefulset``, ``daemonset`` and ``job`` use them;
the kubelet ends what they delete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from aiopslab.world.kube.objects import (
    Object,
    clone,
    dig,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
)
from aiopslab.world.kube.validation.podspec import (
    created,
    is_ready,
    phase,
    ready_since,
    restarts,
    whole,
)

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def from_template(owner: Object, template: Object, *, name: str = "") -> Object:
    """Build a pod an owner is about to create; without ``name`` the API server makes one up."""
    own = template.get("metadata") or {}
    metadata: Object = {"name": name} if name else {"generateName": f"{name_of(owner)}-"}
    metadata["namespace"] = namespace_of(owner)
    for key in ("labels", "annotations"):
        if own.get(key):
            metadata[key] = dict(own[key])
    metadata["ownerReferences"] = [owner_reference(owner)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": clone(template["spec"]),
    }


_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_order(pods: Sequence[Object]) -> list[Object]:
    """Sort pods so that the ones to lose first come first.

    The order of kubernetes/pkg/controller ActivePodsWithRanks: not assigned to a node, pending,
    not ready, cheaper by annotation, more siblings on the same node, ready for a shorter time,
    more restarts, younger.
    """
    on_node = Counter(pod["spec"].get("nodeName", "") for pod in pods)

    def rank(pod: Object) -> tuple[Any, ...]:
        node = pod["spec"].get("nodeName", "")
        annotations = pod["metadata"].get("annotations") or {}
        return (
            bool(node),
            _PHASE_RANK.get(phase(pod), 2),
            is_ready(pod),
            whole(annotations.get(DELETION_COST), 0),
            -on_node[node],
            -(ready_since(pod) or 0.0),
            -restarts(pod),
            -created(pod),
            name_of(pod),
        )

    return sorted(pods, key=rank)


def counts(pods: Sequence[Object], template: Object, *, available: int) -> Object:
    """Build the counters of a ReplicaSet's status from its active pods."""
    wanted = dig(template, "metadata", "labels", default={})
    labelled = [pod for pod in pods if wanted.items() <= labels_of(pod).items()]
    return {
        "fullyLabeledReplicas": len(labelled),
        "readyReplicas": sum(is_ready(pod) for pod in pods),
        "availableReplicas": available,
    }
