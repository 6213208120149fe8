"""The provider's hand in the cluster: takes capacity back from pods that said it may.

A pod whose annotation says that it is preemptible runs on cheap capacity, and goes, with the usual
notice, whenever the provider needs that. In calm times the provider needs nothing and this does
nothing. Not here: what replaces the pod (controllers), evictions that operators ask for
(``kube.eviction``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiopslab.world.clock import VirtualLoop
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.events import EventRecorder
from aiopslab.world.kube.objects import Object, deleting, dig, name_of, namespace_of
from aiopslab.world.kube.validation.podspec import is_finished
from aiopslab.world.node import Node
from aiopslab.world.process import Process

PREEMPTIBLE = "compute.example/preemptible"
"""Annotation of a pod: ``"true"`` allows it."""
ACTOR = "capacity-controller"
_TOLD = "Taking back preemptible capacity"


class Reclaimer:
    """Takes preemptible capacity back while the provider is short of it.

    Args:
        loop: The world's clock.
        api: The API server.
        recorder: Writes events.
        nodes: Machines by name; each counts what is taken from it.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        api: ApiServer,
        recorder: EventRecorder,
        nodes: Mapping[str, Node],
    ) -> None:
        self._loop = loop
        self._api = api
        self._recorder = recorder
        self._nodes = nodes
        self._waves: Process | None = None

    def every(self, seconds: float) -> None:
        """Need capacity now and again every so many seconds; 0: no more."""
        if self._waves is not None:
            self._waves.end()
            self._waves = None
        if seconds > 0.0:
            self._waves = Process(self._loop)
            self._waves.spawn(self._run(seconds))

    async def _run(self, seconds: float) -> None:
        while True:
            self.take_back()
            await asyncio.sleep(seconds)

    def take_back(self) -> list[str]:
        """End every preemptible pod that runs; return their names."""
        pods = [pod for pod in self._api.list("Pod") if preemptible(pod)]
        for pod in pods:
            self._recorder.record_event(pod, "Warning", "CapacityReclaimed", _TOLD, ACTOR)
            self._nodes[pod["spec"]["nodeName"]].host.events["capacity_reclaimed"] += 1
            self._api.delete("Pod", name_of(pod), namespace_of(pod), actor=ACTOR)
        return [name_of(pod) for pod in pods]


def preemptible(pod: Object) -> bool:
    """Tell whether a pod holds capacity that may be taken back."""
    says = (dig(pod, "metadata", "annotations") or {}).get(PREEMPTIBLE) == "true"
    return says and bool(dig(pod, "spec", "nodeName")) and not (deleting(pod) or is_finished(pod))
