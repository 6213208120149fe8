"""One pod on its node: network, volumes, init containers, containers, and the end.

Runs as the tasks of one process on the world's loop and writes the pod's status whenever it
changes. Not here: the lives of a container (``kubelet.container``), which pods there are
(``kubelet``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiopslab.models.kube import KubeError
from aiopslab.models.timestamps import rfc3339
from aiopslab.world.disk import Volume
from aiopslab.world.kube.kubelet import config as kubelet_config
from aiopslab.world.kube.kubelet import status as kubelet_status
from aiopslab.world.kube.kubelet.box import component_of
from aiopslab.world.kube.kubelet.config import ConfigError, Facts, MountError, PodVolumes
from aiopslab.world.kube.kubelet.container import ContainerWorker, PodContext
from aiopslab.world.kube.kubelet.runtime import SANDBOX_S, Runtime
from aiopslab.world.kube.objects import (
    Object,
    condition,
    deleting,
    dig,
    labels_of,
    name_of,
    namespace_of,
    set_condition,
    uid_of,
)
from aiopslab.world.kube.options import DELETE_NOW
from aiopslab.world.kube.quantity import amount
from aiopslab.world.kube.validation.podspec import port_names, qos_class
from aiopslab.world.process import Process
from aiopslab.world.resolver import of_pod

FIRST_MOUNT_RETRY_S = 0.5
MAX_MOUNT_RETRY_S = 122.0
"""The kubelet's volume manager doubles from the first to the second."""


class PodWorker:
    """Brings a pod up, keeps it as its spec says, and takes it down.

    Args:
        runtime: The kubelet's surroundings.
        pod: The pod as bound to this node.
        ip: Its address.
        on_gone: Called once when nothing of it is left.
    """

    def __init__(
        self, runtime: Runtime, pod: Object, ip: str, on_gone: Callable[[PodWorker], None]
    ) -> None:
        self._runtime = runtime
        self._process = Process(runtime.loop)
        self._on_gone = on_gone
        self._ending = False
        self._over = False
        self._started_at = runtime.now()
        self.uid = uid_of(pod)
        self.ip = ip
        self.pod = pod
        self.context = PodContext(
            pod=pod,
            netns=runtime.network.netns(
                ip,
                namespace=namespace_of(pod),
                component=component_of(pod),
                labels=labels_of(pod),
                node=runtime.node.name,
                port_names=port_names(pod["spec"]),
                resolver=of_pod(pod["spec"], namespace_of(pod)),
            ),
            facts=Facts(ip, runtime.node.name, runtime.node.ip),
            volumes=PodVolumes(),
            publish=self.publish,
        )
        self._sandbox = False
        self.init = self._workers("initContainers", init=True)
        self.containers = self._workers("containers", init=False)
        if self.init:
            for worker in self.containers:
                worker.view.state = kubelet_status.waiting("PodInitializing")

    def _workers(self, key: str, *, init: bool) -> list[ContainerWorker]:
        return [
            ContainerWorker(self._runtime, self.context, spec, init=init, process=self._process)
            for spec in self.pod["spec"].get(key) or ()
        ]

    def start(self) -> None:
        """Begin."""
        self._process.spawn(self._run())

    def worker(self, name: str) -> ContainerWorker | None:
        """Find a container by name."""
        return next((item for item in [*self.containers, *self.init] if item.name == name), None)

    # -- up ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        self.publish()
        await self._mount()
        await asyncio.sleep(self._runtime.between(SANDBOX_S))
        self._sandbox = True
        self.publish()
        for worker in self.init:
            await worker.run()
            if self._ending or not worker.view.succeeded:
                self.publish()
                return
        for worker in self.containers:
            worker.view.state = kubelet_status.waiting("ContainerCreating")
        self.publish()
        for worker in self.containers:
            self._process.spawn(worker.run())

    async def _mount(self) -> None:
        """Set up the volumes; a missing ConfigMap or Secret is waited for."""
        retry = FIRST_MOUNT_RETRY_S
        while True:
            try:
                self._set_up_volumes()
                return
            except (MountError, ConfigError) as error:
                self._runtime.event(self.pod, "Warning", "FailedMount", str(error))
            await asyncio.sleep(retry)
            retry = min(retry * 2.0, MAX_MOUNT_RETRY_S)

    def _set_up_volumes(self) -> None:
        runtime, volumes = self._runtime, self.context.volumes
        volumes.files = kubelet_config.file_volumes(self.pod, self.context.facts, runtime.find)
        for name, (claim, size) in kubelet_config.claimed(self.pod, runtime.find).items():
            key = (namespace_of(self.pod), claim)
            if key not in runtime.claims:
                runtime.claims[key] = Volume(size)
            runtime.claims[key].grow(size)
            volumes.disks[name] = runtime.claims[key]
        for name, size in kubelet_config.scratch(self.pod).items():
            volumes.disks.setdefault(name, Volume(size))

    # -- changes ----------------------------------------------------------------------------------

    def grow(self, claim: Object) -> None:
        """Bring a claim's file system to the size its volume has now, if this pod mounts it."""
        size = int(amount(dig(claim, "status", "capacity", "storage", default="0")))
        # Not ``claimed``, which looks them up: another of the pod's claims may be gone by now.
        volumes = self.pod["spec"].get("volumes") or ()
        names = [dig(v, "persistentVolumeClaim", "claimName") for v in volumes]
        volume = self._runtime.claims.get((namespace_of(claim), name_of(claim)))
        if volume is None or name_of(claim) not in names or size <= volume.capacity:
            return
        volume.grow(size)
        text = "MountVolume.NodeExpandVolume succeeded"
        self._runtime.event(self.pod, "Normal", "FileSystemResizeSuccessful", text)

    def update(self, pod: Object) -> None:
        """Take over a changed object: labels, images, or that it is to go."""
        relabelled = labels_of(pod) != labels_of(self.pod)
        self.pod = self.context.pod = pod
        if relabelled:
            self.context.netns.relabel(labels_of(pod))
        if deleting(pod):
            self.end(float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))
            return
        for key, workers in (("containers", self.containers), ("initContainers", self.init)):
            for spec, worker in zip(pod["spec"].get(key) or (), workers, strict=True):
                worker.update(spec)

    def refresh_files(self) -> None:
        """Bring mounted ConfigMaps and Secrets of running containers up to date."""
        try:
            files = kubelet_config.file_volumes(self.pod, self.context.facts, self._runtime.find)
        except (MountError, ConfigError) as error:
            self._runtime.event(self.pod, "Warning", "FailedMount", str(error))
            return
        self.context.volumes.files = files
        for worker in self.containers:
            if worker.box is not None:
                worker.box.files.clear()
                worker.box.files.update(self.context.volumes.into(worker.spec).files)

    def mounts(self, kind: str, name: str) -> bool:
        """Whether a volume shows a ConfigMap or Secret."""
        for volume in self.pod["spec"].get("volumes") or ():
            sources = dig(volume, "projected", "sources", default=[volume])
            for source in sources:
                if kind == "ConfigMap" and dig(source, "configMap", "name") == name:
                    return True
                secret = source.get("secret") or {}
                if kind == "Secret" and name in (secret.get("secretName"), secret.get("name")):
                    return True
        return False

    # -- down -------------------------------------------------------------------------------------

    def end(self, grace_s: float) -> None:
        """Begin to end the pod gracefully."""
        if not self._ending:
            self._ending = True
            self._process.spawn(self._end(grace_s))

    async def _end(self, grace_s: float) -> None:
        for worker in [*self.init, *self.containers]:
            worker.closing = True
            worker.stop(f"Stopping container {worker.name}", grace_s=grace_s)
        for worker in [*self.init, *self.containers]:
            await worker.stopped(f"Stopping container {worker.name}", grace_s=grace_s)
        self.publish()
        pod = self.pod
        self.discard()
        try:
            self._runtime.api.delete(
                "Pod",
                name_of(pod),
                namespace_of(pod),
                actor=self._runtime.actor,
                options=DELETE_NOW,
            )
        except KubeError as error:
            if error.code != 404:  # somebody deleted it by force meanwhile
                raise

    def lose(self) -> None:
        """End everything as a power failure does: no signal, no packet, no status."""
        self.context.netns.vanish()
        self.discard()

    def discard(self) -> None:
        """End everything at once, and leave the network: the object is gone."""
        if self._over:
            return
        self._over = True
        for worker in [*self.init, *self.containers]:
            worker.kill()
        self.context.netns.close()
        self._on_gone(self)
        self._process.end()

    # -- status -----------------------------------------------------------------------------------

    def publish(self) -> None:
        """Write the status if it differs from the stored one."""
        if self._over or self._runtime.silent:
            return
        pod = self._runtime.api.find("Pod", name_of(self.pod), namespace_of(self.pod))
        if pod is None or uid_of(pod) != self.uid:
            return
        status = self._status(pod)
        if status != pod.get("status"):
            self._runtime.api.update_status(
                "Pod", name_of(pod), namespace_of(pod), status, actor=self._runtime.actor
            )

    def _status(self, pod: Object) -> Object:
        now = self._runtime.now()
        init = [worker.view for worker in self.init]
        containers = [worker.view for worker in self.containers]
        old = dict(pod.get("status") or {})
        phase = kubelet_status.phase(pod["spec"], init, containers)
        conditions = old.get("conditions") or []
        if condition(pod, "PodScheduled") is None:
            scheduled = {"type": "PodScheduled", "status": "True"}
            conditions = set_condition(conditions, scheduled, rfc3339(now))
        old.pop("nominatedNodeName", None)
        status = {
            **old,
            "phase": phase,
            "qosClass": old.get("qosClass") or qos_class(pod["spec"]),
            "hostIP": self._runtime.node.ip,
            "startTime": rfc3339(self._started_at),
            "conditions": kubelet_status.conditions(
                conditions, phase, init, containers, sandbox=self._sandbox, now=now
            ),
            "containerStatuses": [view.status() for view in containers],
        }
        if init:
            status["initContainerStatuses"] = [view.status() for view in init]
        if self._sandbox:
            status["podIP"] = self.ip
            status["podIPs"] = [{"ip": self.ip}]
        return status
