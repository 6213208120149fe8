"""The persistent volume controller: binds claims, makes the volumes they ask for, and grows them.

One storage class, ``standard``, provisions at once and allows expansion. Not here: the bytes
(``world.disk``; kubelets keep them by claim, and grow the file system of a volume in use).
"""

from __future__ import annotations

from aiopslab.world.kube import quantity
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
        if claim is None or deleting(claim):
            return
        if dig(claim, "status", "phase") == "Bound":
            self._expand(claim)
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

    def _expand(self, claim: Object) -> None:
        """Grow the volume of a claim that asks for more than it has; none ever shrinks."""
        asked = dig(claim, "spec", "resources", "requests", "storage", default="0")
        has = dig(claim, "status", "capacity", "storage", default="0")
        volume = self.find("PersistentVolume", claim["spec"].get("volumeName") or "")
        if volume is None or quantity.parse(asked) <= quantity.parse(has):
            return
        self.event(claim, "Normal", "Resizing", "External resizer is resizing volume")
        grown = {**volume["spec"], "capacity": {"storage": asked}}
        self.api.replace({**volume, "spec": grown}, actor=self.actor)
        capacity = {**(claim["status"].get("capacity") or {}), "storage": asked}
        self.write_status(claim, {**claim["status"], "capacity": capacity})

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
