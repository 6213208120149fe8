"""A node: a machine with cores, memory, a disk, and tenants that are not ours.

Not here: the Node object of Kubernetes and its conditions (kubelet and node lifecycle controller),
the network (``network`` knows nodes by name). Neighbours: ``cpu``, ``memory``, ``disk``, ``host``
(what lies under the machine), ``uplink``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiopslab.models.app import NodeSpec
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.cpu import CpuGroup, NodeCpu
from aiopslab.world.disk import Volume
from aiopslab.world.host import Host
from aiopslab.world.memory import MemoryGroup, NodeMemory
from aiopslab.world.uplink import Uplink

SYSTEM_MEMORY = 512 * 2**20
"""Bytes held by the operating system, container runtime and kubelet."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A tenant of the machine that is not in the cluster: its shares of CPU and memory."""

    cpu: CpuGroup
    memory: MemoryGroup


@dataclass(slots=True)
class NodeClock:
    """The clock of a machine; time synchronisation keeps it right, when it runs."""

    ahead_s: float = 0.0
    """Seconds by which it is ahead of the time; negative: behind."""


class Node:
    """A machine of the cluster.

    Args:
        loop: The world's clock.
        spec: Name and sizes.
        ip: Address of the machine.
    """

    def __init__(self, loop: VirtualLoop, spec: NodeSpec, ip: str) -> None:
        self.name = spec.name
        self.zone = spec.zone
        self._extra_labels = dict(spec.labels)
        self.taints = dict(spec.taints)
        """Taints of the Node object at registration, ``NoSchedule``."""
        self.ip = ip
        self.cores = spec.cpu
        self.cpu = NodeCpu(loop, spec.cpu)
        self.memory = NodeMemory(spec.memory, system=SYSTEM_MEMORY)
        self.host = Host(loop, spec, self.cpu, self.memory)
        self.uplink = Uplink(loop, spec.uplink)
        self.disk = Volume(spec.disk)
        self.powered = True
        """Whether the machine is on; ``Kubelet.power`` switches it."""
        self.booted_at = loop.time()
        """Unix seconds; for ``uptime``."""
        self.hardware: dict[str, float] = dict(spec.hardware)
        """Conditions of the machine by name; programs on it feel them and read them."""
        self._at_first = dict(spec.hardware)
        self.clock = NodeClock()
        self.retransmitted: Callable[[], int] = lambda: 0
        """Returns the TCP segments its pods had to send again."""
        self._neighbours: dict[str, Neighbour] = {}

    @property
    def labels(self) -> dict[str, str]:
        """Well-known labels of the Node object."""
        return {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": self.zone,
            **self._extra_labels,
        }

    def condition(self, name: str, value: float | None) -> None:
        """Set a condition of the machine; None: as it was at first."""
        first = self._at_first.get(name)
        if value is not None:
            self.hardware[name] = value
        elif first is not None:
            self.hardware[name] = first
        else:
            self.hardware.pop(name, None)

    @property
    def neighbours(self) -> Mapping[str, Neighbour]:
        """Tenants outside the cluster, by name."""
        return self._neighbours

    def neighbour(
        self, name: str, *, threads: float, memory: int = 0, weight: float | None = None
    ) -> None:
        """Set what a tenant outside the cluster takes.

        Args:
            name: The tenant.
            threads: Threads that always run, fractions allowed; 0 and no memory removes it.
            memory: Bytes it holds.
            weight: Cores of request its CPU share counts as; by default a quarter of a core per
                thread, the order of what the cluster's own pods request.
        """
        tenant = self._neighbours.get(name)
        if threads <= 0.0 and memory <= 0:
            if tenant is not None:
                tenant.cpu.close()
                tenant.memory.close()
                del self._neighbours[name]
            return
        if tenant is None:
            tenant = self._neighbours[name] = Neighbour(
                cpu=self.cpu.group(name, request=0.0, limit=None),
                memory=self.memory.group(request=memory, limit=None),
            )
        tenant.cpu.request = threads * 0.25 if weight is None else weight
        tenant.cpu.spin(max(0.0, threads))
        tenant.memory.request = memory
        tenant.memory.hold("resident", memory)
