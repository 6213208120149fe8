"""Resource quotas: how much of each is used, for people to read.

Admission computes usage itself whenever something is created (``admission.check_quota``), so what
stands in the status may lag and nothing depends on it. After kubernetes/pkg/controller/
resourcequota.
"""

from __future__ import annotations

from aiopslab.world.kube import admission
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.controllers.queue import Key
from aiopslab.world.kube.objects import Object, deleting, name_of, namespace_of

RESYNC_S = 300.0
"""Kinds that are not followed are counted again this often."""
_FOLLOWED = ("Pod", "Service", "ConfigMap", "Secret", "PersistentVolumeClaim", "Deployment")


class QuotaController(Controller):
    """Keeps the status of ResourceQuotas."""

    name = "resourcequota-controller"

    def watch(self) -> None:
        """Follow quotas, and what comes and goes beside them."""
        self.follow_own("ResourceQuota")
        for kind in _FOLLOWED:
            self.follow(kind, self._quotas)

    def _quotas(self, obj: Object) -> list[Key]:
        quotas = self.api.list("ResourceQuota", namespace_of(obj))
        return [(namespace_of(quota), name_of(quota)) for quota in quotas]

    def reconcile(self, namespace: str, name: str) -> None:
        quota = self.find("ResourceQuota", name, namespace)
        if quota is None or deleting(quota):
            return
        hard = quota["spec"].get("hard") or {}
        used = admission.quota_used(quota, self.api.store)
        self.write_status(quota, {"hard": dict(sorted(hard.items())), "used": used})
        self.queue.add_after((namespace, name), RESYNC_S)
