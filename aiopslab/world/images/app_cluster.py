"""``services.cluster.Cluster`` over the world's API server, as a pod's service account.

Not here: the clients of containers that have no program of ours (``images.kubectl``).
"""

from __future__ import annotations

from aiopslab.models.kube import KubeError
from aiopslab.services.cluster import Machine, Scale
from aiopslab.world.container import PodIdentity
from aiopslab.world.kube.api import ApiServer


class WorldCluster:
    """The API server, seen from one pod.

    Args:
        api: The API server; None where there is none, and every request fails.
        pod: Who asks.
    """

    def __init__(self, api: ApiServer | None, pod: PodIdentity) -> None:
        self._server = api
        self._namespace = pod.namespace
        self._actor = f"system:serviceaccount:{pod.namespace}:{pod.component}"

    async def scale_of(self, deployment: str) -> Scale:
        obj = self._api.get("Deployment", deployment, self._namespace)
        status = obj.get("status", {})
        return Scale(
            wanted=int(obj["spec"].get("replicas", 1)),
            ready=int(status.get("readyReplicas", 0)),
        )

    async def pods(self, deployment: str) -> int:
        labels = f"app.kubernetes.io/name={deployment}"
        return len(self._api.list("Pod", self._namespace, labels=labels))

    async def scale(self, deployment: str, replicas: int) -> None:
        patch = {"spec": {"replicas": replicas}}
        self._api.patch(
            "Deployment", deployment, patch, namespace=self._namespace, type="merge",
            subresource="scale", actor=self._actor,
        )  # fmt: skip

    async def machine(self, name: str) -> Machine:
        obj = self._api.get("Node", name)
        conditions = obj.get("status", {}).get("conditions", [])
        return Machine(
            schedulable=not obj["spec"].get("unschedulable", False),
            ready=any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
            annotations=dict(obj["metadata"].get("annotations", {})),
        )

    async def cordon(self, name: str, *, on: bool) -> None:
        # As kubectl does: the field is there, or it is not.
        patch = {"spec": {"unschedulable": True if on else None}}
        self._api.patch("Node", name, patch, type="merge", actor=self._actor)

    @property
    def _api(self) -> ApiServer:
        if self._server is None:
            raise KubeError(503, "ServiceUnavailable", "the API server cannot be reached")
        return self._server
