"""The ``scale`` subresource: replicas of a workload without the rest of it."""

from __future__ import annotations

from aiopslab.world.kube import selectors
from aiopslab.world.kube.errors import Cause, invalid
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object, dig, name_of

KIND = Kind("Scale", "autoscaling", "v1", "scales", schema="autoscaling.Scale")
"""Not in the registry: it exists only as a view of a workload."""


def of(workload: Object) -> Object:
    """Return the Scale object of a Deployment, ReplicaSet or StatefulSet."""
    metadata = {
        key: workload["metadata"][key]
        for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if key in workload["metadata"]
    }
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": {"replicas": dig(workload, "spec", "replicas", default=0)},
        "status": {
            "replicas": dig(workload, "status", "replicas", default=0),
            "selector": selectors.format_selector(dig(workload, "spec", "selector")),
        },
    }


def apply(kind: Kind, workload: Object, scale: Object) -> Object:
    """Return the workload with the replicas (and revision) of a patched, decoded Scale.

    Raises:
        KubeError: 422 for a negative number.
    """
    replicas = dig(scale, "spec", "replicas", default=0)
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(kind, name_of(workload), [Cause("spec.replicas", message)])
    version = dig(scale, "metadata", "resourceVersion", default="")
    return {
        **workload,
        "metadata": {**workload["metadata"], "resourceVersion": version},
        "spec": {**workload["spec"], "replicas": replicas},
    }
