"""The scraper: every five seconds, everything that exports metrics goes into the store.

All targets are scraped at the same instants (``telemetry.samples`` builds on it), in a fixed order,
and every 30 s the alert rules are evaluated on what was just scraped. Scraping costs the world
nothing: no CPU, no connection. So ``up`` says whether the process runs, not whether the network
lets anybody reach it.

Neighbours: ``discovery`` says which pods are scraped, ``exporters`` and ``kube_state`` what is
exported.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from aiopslab.telemetry.rules import EVALUATE_S, RuleEvaluator
from aiopslab.telemetry.samples import SCRAPE_S, Target
from aiopslab.telemetry.store import Store
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.container import Container
from aiopslab.world.discovery import (
    discover,
    kube_state_labels,
    kubelet_labels,
    machine_labels,
)
from aiopslab.world.exporters import Cadvisor, NodeExporter
from aiopslab.world.kube.objects import Object
from aiopslab.world.kube_state import KubeState, Lister
from aiopslab.world.node import Node


class Containers(Protocol):
    """The part of a kubelet that is read."""

    @property
    def name(self) -> str:
        """The node's name."""
        ...

    def boxes(self) -> Iterable[tuple[Object, Container]]:
        """Iterate over (pod, container) of what runs on the node."""
        ...


class Scraper:
    """Scrapes one cluster.

    Args:
        loop: The world's clock.
        store: Where samples go.
        api: The API server; pods are discovered from it.
        kubelets: One a node.
        nodes: The machines.
        rules: Evaluated every ``EVALUATE_S``.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        store: Store,
        api: Lister,
        kubelets: Sequence[Containers],
        nodes: Sequence[Node],
        rules: RuleEvaluator,
    ) -> None:
        self._loop = loop
        self._store = store
        self._api = api
        self._kubelets = kubelets
        self._nodes = nodes
        self._rules = rules
        self._state = KubeState(api, store.target(kube_state_labels()))
        self._cadvisors = [Cadvisor(store.target(kubelet_labels(k.name)), k.name) for k in kubelets]
        self._machines = [NodeExporter(store.target(machine_labels(n.name)), n) for n in nodes]
        self._pods: dict[tuple[str, str], Target] = {}

    async def run(self) -> None:
        """Scrape for ever, at multiples of ``SCRAPE_S``."""
        while True:
            now = self._loop.time()
            due = (math.floor(now / SCRAPE_S) + 1) * SCRAPE_S
            await asyncio.sleep(due - now)
            self.scrape(due)
            if due % EVALUATE_S == 0:
                self._rules.evaluate(due)

    def scrape(self, time: float) -> None:
        """Record one round."""
        running = {
            (box.pod.uid, box.name): box
            for kubelet in self._kubelets
            for _, box in kubelet.boxes()
            if box.exit is None
        }
        self._scrape_pods(time, running)
        self._state.scrape(time)
        for cadvisor, kubelet, node in zip(
            self._cadvisors, self._kubelets, self._nodes, strict=True
        ):
            if node.powered:
                cadvisor.scrape(time, kubelet.boxes())
            else:
                cadvisor.fail(time)
        for machine in self._machines:
            machine.scrape(time)

    def _scrape_pods(self, time: float, running: dict[tuple[str, str], Container]) -> None:
        found: dict[tuple[str, str], Target] = {}
        for each in discover(self._api.list("Pod")):
            key = each.key
            target = self._pods.pop(key, None) or self._store.target(each.labels())
            found[key] = target
            box = running.get(key)
            if box is None or box.suspended or not each.exports:
                target.fail(time)
            else:
                target.append(time, box.metrics)
        for target in self._pods.values():
            target.close(time)
        self._pods = found
