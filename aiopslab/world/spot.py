"""Spot machines: the provider takes them away after a notice, and gives another one back.

Machines with the label ``capacity: spot`` are taken every so many seconds while their condition
``spot_taken_every_s`` says so. The notice is an annotation of the node, as cloud controllers write
it; then the machine is off, and soon on again, empty. Not here: what is done about a notice
(``services.llm.platform_agent``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiopslab.services.llm.platform_agent import NOTICE
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.kubelet.kubelet import Kubelet
from aiopslab.world.node import Node
from aiopslab.world.process import Process

PRESSURE = "spot_taken_every_s"
"""Condition of a machine: seconds from one notice to the next; 0 or unknown: none comes."""
NOTICE_S = 90.0
"""From the notice to the end; clouds give between 30 s and two minutes."""
AWAY_S = 30.0
_LOOK_S = 5.0
_ACTOR = "system:cloud-controller-manager"


class SpotMarket:
    """The provider's hold on the spot machines of a world.

    Args:
        loop: The world's clock.
        api: Where notices are written.
        nodes: All machines.
        kubelets: By node; they are switched off and on.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        api: ApiServer,
        nodes: Mapping[str, Node],
        kubelets: Mapping[str, Kubelet],
    ) -> None:
        self._loop = loop
        self._api = api
        self._kubelets = kubelets
        self._spot = [n for _, n in sorted(nodes.items()) if n.labels.get("capacity") == "spot"]
        self._process = Process(loop)

    def start(self) -> None:
        """Begin to look at the machines; without spot machines nothing runs."""
        for index, node in enumerate(self._spot):
            self._process.spawn(self._hold(node, index / len(self._spot)))

    async def _hold(self, node: Node, phase: float) -> None:
        due: float | None = None
        while True:
            await asyncio.sleep(_LOOK_S)
            every, now = node.hardware.get(PRESSURE, 0.0), self._loop.time()
            if not every:
                due = None
            elif due is None:
                due = now + phase * every  # the machines in turn
            if due is not None and now >= due:
                due += every
                await self._take(node)

    async def _take(self, node: Node) -> None:
        end = self._loop.time() + NOTICE_S
        self._annotate(node.name, str(int(end)))
        while self._loop.time() < end:
            await asyncio.sleep(1.0)
            if not node.hardware.get(PRESSURE):
                self._annotate(node.name, None)  # withdrawn
                return
        kubelet = self._kubelets[node.name]
        kubelet.power(False)
        await asyncio.sleep(AWAY_S)
        kubelet.power(True)
        self._annotate(node.name, None)

    def _annotate(self, node: str, value: str | None) -> None:
        patch = {"metadata": {"annotations": {NOTICE: value}}}
        self._api.patch("Node", node, patch, type="merge", actor=_ACTOR)
