"""Pods that the lab runs beside an app: tools that hold sessions, tenants, a hand on a machine.

They are in the lab's namespace, out of agents' sight, and are called what such a tool or tenant
would be called: monitoring may show their names. The image is the lab's, whose interpreter does the
work. Not here: what faults make of them (``cluster.substrate``), the observer and the users.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.labels import labelled, ours
from aiopslab.errors import InfraError
from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube import quantity

PYTHON = "/venv/bin/python"
_ACTOR = "aiopslab"
_STARTED_S, _LOOK_S = 120.0, 0.5
_SHARE = 0.9
"""Part of a node's free cores that a tenant asks for."""
_BUSY = """
import os, sys, time
threads, size = int(sys.argv[1]), int(sys.argv[2])
held = bytearray(os.urandom(1) * size)
for _ in range(threads - 1):
    if not os.fork():
        break
while threads:
    pass
time.sleep(1e9)
"""
"""Keeps so many threads runnable and so many bytes resident; without threads it only holds."""
_SIGNAL = """
import os, signal, sys
found = 0
for entry in filter(str.isdecimal, os.listdir("/proc")):
    try:
        with open(f"/proc/{entry}/cgroup") as file:
            mine = sys.argv[1] in file.read()
    except OSError:
        continue
    if mine:
        os.kill(int(entry), getattr(signal, sys.argv[2]))
        found += 1
sys.exit(not found)
"""
"""Sends a signal to all processes of a container, from outside of it."""


@dataclass(frozen=True, slots=True)
class LabPlace:
    """What there is of the lab on a cluster."""

    namespace: str
    """Its namespace; agents have no rights in it."""
    trial: str
    """Opaque id of the trial."""
    image: str
    """Of the lab's programs."""
    token: str = ""
    """Who knows it may control the observer."""


class Errands:
    """The lab's own pods of one trial.

    Args:
        kube: The cluster, as the lab.
        lab: Where they run.
    """

    def __init__(self, kube: ClusterKube, lab: LabPlace) -> None:
        self._kube = kube
        self._lab = lab

    async def sessions(
        self, login: Mapping[str, str], *, application: str, sessions: int, again_s: float
    ) -> None:
        """Let a tool keep sessions on a database; a former one of that name leaves first."""
        name = _named(application)
        await self.remove(name)
        if not sessions:
            return
        words = ["-m", "aiopslab.services", "sessions"]
        words += [word for key, value in login.items() for word in (f"--{key}", value)]
        words += ["--application", application, "--count", str(sessions)]
        container = self._container([*words, "--again", str(again_s)], cpu="200m", memory="192Mi")
        await self._start(name, {"containers": [container]})

    async def tenant(self, node: str, name: str, threads: float, memory: int) -> None:
        """Let a tenant burn processors and hold memory on a node; without either it leaves."""
        await self.remove(_named(name))
        if not (threads or memory):
            return
        cores = max(1, round(threads))
        asked = min(await self._free_cpu(node) * _SHARE, cores)
        words = ["-c", _BUSY, str(round(threads)), str(memory)]
        mebibytes = f"{memory // 2**20 + 128}Mi"
        container = self._container(words, cpu=f"{cores}", memory=mebibytes)
        # Who asks for little gets little of a busy machine: it asks for what is left.
        container["resources"]["requests"]["cpu"] = f"{max(1, round(asked * 1000))}m"
        await self._start(_named(name), {"nodeName": node, "containers": [container]})

    async def signal(self, pod: Object, name: str) -> None:
        """Send a signal to all processes of the first container of a pod, if it runs.

        The first process of a container heeds no such signal from inside, so it comes from its
        machine.
        """
        first = pod["spec"]["containers"][0]["name"]
        states = (pod.get("status") or {}).get("containerStatuses") or ()
        running = [s for s in states if s["name"] == first and "running" in s.get("state", {})]
        if not running:
            return
        identity = running[0]["containerID"].rpartition("/")[2]
        container = self._container(["-c", _SIGNAL, identity, name], cpu="200m", memory="64Mi")
        # Only the machine's superuser may send signals to processes of others.
        container["securityContext"] = {"runAsUser": 0, "runAsNonRoot": False}
        errand = f"node-{identity[:8]}-{name.lower()}"
        spec = {"nodeName": pod["spec"]["nodeName"], "hostPID": True, "restartPolicy": "Never"}
        await self.remove(errand)
        try:
            await self._start(errand, spec | {"containers": [container]}, until="Succeeded")
        finally:
            await self.remove(errand)

    async def remove(self, name: str) -> None:
        """Remove a pod of ours, and wait until it is gone."""
        try:
            await self._kube.delete("Pod", name, self._lab.namespace, actor=_ACTOR, grace_s=1)
        except KubeError as error:
            if error.reason != "NotFound":
                raise
            return
        for _ in range(round(_STARTED_S / _LOOK_S)):
            if await self._find(name) is None:
                return
            await asyncio.sleep(_LOOK_S)
        raise InfraError("inject", f"pod {name!r} of the lab does not end")

    # -- pods -------------------------------------------------------------------------------------

    def _container(self, words: Sequence[str], *, cpu: str, memory: str) -> Object:
        return {
            "name": "main",
            "image": self._lab.image,
            "imagePullPolicy": "IfNotPresent",
            "command": [PYTHON, *words],
            "resources": {
                "requests": {"cpu": "10m", "memory": memory},
                "limits": {"cpu": cpu, "memory": memory},
            },
        }

    async def _start(self, name: str, spec: Object, *, until: str = "Running") -> None:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self._lab.namespace},
            "spec": {"automountServiceAccountToken": False, "enableServiceLinks": False} | spec,
        }
        await self._kube.create(labelled(pod, ours(self._lab.trial)), actor=_ACTOR)
        phase = ""
        for _ in range(round(_STARTED_S / _LOOK_S)):
            found = await self._find(name)
            phase = str(((found or {}).get("status") or {}).get("phase") or "unknown")
            if phase in (until, "Succeeded"):
                return
            if phase == "Failed":
                break
            await asyncio.sleep(_LOOK_S)
        raise InfraError("inject", f"pod {name!r} of the lab is {phase}, not {until}")

    async def _find(self, name: str) -> Object | None:
        try:
            return await self._kube.get("Pod", name, self._lab.namespace)
        except KubeError as error:
            if error.reason != "NotFound":
                raise
            return None

    async def _free_cpu(self, node: str) -> float:
        """Return the cores of a node that nobody has asked for."""
        machine = await self._kube.get("Node", node)
        asked = sum(
            quantity.parse(container.get("resources", {}).get("requests", {}).get("cpu", "0"))
            for pod in await self._kube.list("Pod", fields=f"spec.nodeName={node}")
            if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            for container in pod["spec"]["containers"]
        )
        return float(quantity.parse(machine["status"]["allocatable"]["cpu"]) - asked)


def _named(text: str) -> str:
    """Return a text as the name of a pod."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
