"""Rounds of samples: every five seconds all that is known of now, in one row.

Kubelets and stores are asked at the beginning of a round and have some seconds; then everything
is written at once, dated at the beginning, and the rules are evaluated on it. Labels of targets and
the order of things are the simulated world's (``world.scrape``). Not here: what each source says.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from aiopslab.observer.kubelet import NodeFigures
from aiopslab.observer.lacks import Lacks
from aiopslab.observer.pods import Pods, running_since
from aiopslab.observer.pushed import PushedMetrics
from aiopslab.observer.recording import Recording
from aiopslab.telemetry.otlp.metrics import Sample
from aiopslab.telemetry.rules import EVALUATE_S
from aiopslab.telemetry.samples import SCRAPE_S, Target
from aiopslab.world.discovery import (
    Found,
    discover,
    kube_state_labels,
    kubelet_labels,
    machine_labels,
)
from aiopslab.world.kube.objects import name_of
from aiopslab.world.kube_state import KubeState, Lister

Nodes = Mapping[str, NodeFigures | None]
"""What kubelets said, by node; None: nothing."""
Stores = Mapping[tuple[str, str], Sequence[Sample] | None]
"""What stores said, by pod uid and container; None: they did not answer."""


class Sources(Protocol):
    """Who is asked at the beginning of a round."""

    async def nodes(self, time: float) -> Nodes:
        """Ask every kubelet."""
        ...

    async def stores(self, found: Iterable[Found]) -> Stores:
        """Ask those of the targets that are stores."""
        ...


class Rounds:
    """Writes the rounds of one recording.

    Args:
        recording: Where they go.
        objects: The cluster's objects.
        pods: The app's.
        pushed: What pods sent.
    """

    def __init__(
        self, recording: Recording, objects: Lister, pods: Pods, pushed: PushedMetrics
    ) -> None:
        self._recording = recording
        self._pods = pods
        self._pushed = pushed
        store = recording.store
        self._state = KubeState(objects, store.target(kube_state_labels()))
        self._targets: dict[tuple[str, str], Target] = {}
        self._kubelets: dict[str, Target] = {}
        self._machines: dict[str, Target] = {}

    def write(self, time: float, nodes: Nodes, stores: Stores) -> None:
        """Write one round and evaluate the rules if they are due."""
        self._write_pods(time, stores)
        self._state.scrape(time)
        for node, figures in nodes.items():
            self._write_node(time, node, figures)
        if time % EVALUATE_S == 0:
            self._recording.rules.evaluate(time)

    def _write_pods(self, time: float, stores: Stores) -> None:
        found: dict[tuple[str, str], Target] = {}
        for each in discover(self._pods.all()):
            key, store = each.key, self._recording.store
            target = self._targets.pop(key, None) or store.target(each.labels())
            found[key] = target
            samples = stores[key] if key in stores else self._sent(each, time)
            if samples is None or not each.exports:
                target.fail(time)
            else:
                _write(target, time, samples)
        for target in self._targets.values():
            target.close(time)
        self._targets = found
        self._pushed.keep({name_of(pod) for pod in self._pods.all()})

    def _sent(self, each: Found, time: float) -> Sequence[Sample] | None:
        since = running_since(each.pod, each.spec["name"])
        return self._pushed.fresh(name_of(each.pod), since, time)

    def _write_node(self, time: float, node: str, figures: NodeFigures | None) -> None:
        store = self._recording.store
        if node not in self._kubelets:
            self._kubelets[node] = store.target(kubelet_labels(node))
            self._machines[node] = store.target(machine_labels(node))
        if figures is None:
            self._kubelets[node].fail(time)
            self._machines[node].fail(time)
            return
        samples = [
            Sample(metric, self._of_container(node, pod, container), value)
            for (pod, container), values in figures.containers.items()
            for metric, value in values.items()
        ]
        own = (("node", node),)
        samples += [Sample(s.name, s.labels + own, s.value) for s in figures.volumes]
        _write(self._kubelets[node], time, samples)
        machine = [Sample(s.name, s.labels + own, s.value) for s in figures.machine]
        _write(self._machines[node], time, machine)

    def _of_container(self, node: str, pod: str, container: str) -> tuple[tuple[str, str], ...]:
        return (
            ("container", container), ("image", self._pods.image(pod, container)),
            ("namespace", self._pods.namespace), ("node", node), ("pod", pod),
        )  # fmt: skip


def _write(target: Target, time: float, samples: Sequence[Sample]) -> None:
    columns = [target.column(sample.name, sample.labels) for sample in samples]
    target.write(time, columns, [sample.value for sample in samples])


class Pace:
    """Makes the rounds of whichever recording there is.

    Args:
        rounds: Returns the present ones.
        recording: Returns the present one.
        sources: Who is asked.
        pods: The app's.
        now: Unix seconds.
        lacks: Is told of rounds that were missed.
    """

    def __init__(
        self,
        rounds: Callable[[], Rounds],
        recording: Callable[[], Recording],
        sources: Sources,
        pods: Pods,
        now: Callable[[], float],
        lacks: Lacks,
    ) -> None:
        self._rounds = rounds
        self._recording = recording
        self._sources = sources
        self._pods = pods
        self._now = now
        self._lacks = lacks
        self.made = 0
        """How many rounds were made."""

    async def run(self) -> None:
        """Make rounds until cancelled, at multiples of ``SCRAPE_S``."""
        while True:
            now = self._now()
            due = (math.floor(now / SCRAPE_S) + 1) * SCRAPE_S
            await asyncio.sleep(due - now)
            await self.round(due)
            missed = math.floor((self._now() - due) / SCRAPE_S)
            if missed > 0:
                self._lacks.counts["rounds missed"] += missed

    async def round(self, due: float) -> None:
        """Ask everybody and write what they say."""
        recording = self._recording()
        recording.measure()
        if recording.is_full:
            self._lacks.lack("room", "the recording has its full size; spans and lines are refused")
        else:
            # It was told to begin anew.
            self._lacks.have("room")
        if recording.is_brimful:
            self._lacks.lack("rounds", "the recording has no more room for samples")
            return
        async with asyncio.TaskGroup() as tasks:
            nodes = tasks.create_task(self._sources.nodes(due))
            stores = tasks.create_task(self._sources.stores(list(discover(self._pods.all()))))
        times = recording.store.samples.times()
        # What was told to begin anew meanwhile has no use for an old round.
        if recording is self._recording() and not (len(times) and times[-1] >= due):
            self._rounds().write(due, nodes.result(), stores.result())
            self.made += 1
            self._lacks.have("rounds")
