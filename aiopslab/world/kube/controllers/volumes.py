"""The persistent volume controller: binds claims, and makes the volumes they ask for.

One storage class, ``standard``, provisions at once. Not here: the bytes (``world.disk``; kubelets
keep them by claim).
"""

from __future__ import annotations

from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.objects import Object, deleting, dig, name_of, namespace_of, uid_of

STORAGE_CLASSES = ("", "standard")
PROVISIONER = "rancher.io/local-path"


class VolumeController(Controller):
    """Reconciles PersistentVolumeClaims."""

    name = "persistentvolume-controller"

    def watch(self) -> None:
        """Follow claims."""
        self.follow_own("PersistentVolumeClaim")

    def reconcile(self, namespace: str, name: str) -> None:
        claim = self.find("PersistentVolumeClaim", name, namespace)
        if claim is None or deleting(claim) or dig(claim, "status", "phase") == "Bound":
            return
        storage_class = claim["spec"].get("storageClassName") or ""
        if storage_class not in STORAGE_CLASSES:
            text = f'storageclass.storage.k8s.io "{storage_class}" not found'
            self.event(claim, "Warning", "ProvisioningFailed", text)
            self.write_status(claim, {"phase": "Pending"})
            self.queue.add_after((namespace, name), 15.0)
            return
        volume = f"pvc-{uid_of(claim)}"
        if self.find("PersistentVolume", volume) is None:
            self.api.create(self._volume(claim, volume), actor=self.actor)
            text = f"Successfully provisioned volume {volume}"
            self.event(claim, "Normal", "ProvisioningSucceeded", text)
        bound = {**claim, "spec": {**claim["spec"], "volumeName": volume}}
        bound = self.api.replace(bound, actor=self.actor)
        size = dig(claim, "spec", "resources", "requests", "storage", default="1Gi")
        modes = claim["spec"].get("accessModes") or ["ReadWriteOnce"]
        status = {"phase": "Bound", "accessModes": modes, "capacity": {"storage": size}}
        self.write_status(bound, status)

    def _volume(self, claim: Object, name: str) -> Object:
        size = dig(claim, "spec", "resources", "requests", "storage", default="1Gi")
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": name,
                "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
            },
            "spec": {
                "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
                "capacity": {"storage": size},
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "name": name_of(claim),
                    "namespace": namespace_of(claim),
                    "uid": uid_of(claim),
                },
                "local": {"path": f"/var/lib/volumes/{name}"},
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": "standard",
                "volumeMode": "Filesystem",
            },
            "status": {"phase": "Bound"},
        }
