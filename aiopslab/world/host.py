"""The physical host under a node: what the hypervisor gives it, and takes from it.

Cores that can be taken back, credits, a memory bus and memory that other guests share. As long as
nothing is short a host does nothing at all; otherwise it looks once a second and shapes the node's
cores accordingly. What a provider tells about it are counters of ``events``.

Neighbours: ``credits``, ``memory_bus``, ``backing`` are its parts; ``node`` owns one; ``cpu`` is
what it shapes.
"""

from __future__ import annotations

from aiopslab.models.app import NodeSpec
from aiopslab.world.backing import Backing
from aiopslab.world.clock import Handle, VirtualLoop
from aiopslab.world.cpu import NodeCpu
from aiopslab.world.credits import Credits
from aiopslab.world.memory import NodeMemory
from aiopslab.world.memory_bus import MemoryBus

BEAT_S = 1.0


class Host:
    """The host of one node.

    Args:
        loop: The world's clock.
        spec: The machine's type.
        cpu: The node's cores.
        memory: The node's memory.
    """

    def __init__(self, loop: VirtualLoop, spec: NodeSpec, cpu: NodeCpu, memory: NodeMemory) -> None:
        now = loop.time()
        self.credits = Credits(spec.credits, spec.cpu, now) if spec.credits else None
        """None: the machine's cores are its own."""
        self.bus = MemoryBus(spec.cpu, now)
        self.backing = Backing()
        self.events = {"capacity_changed": 0, "capacity_reclaimed": 0}
        """What the provider did to this machine, by kind, counted."""
        self.memory_pressure_s = 0.0
        """Seconds in which some thread waited for memory (PSI ``memory some``)."""
        self._loop = loop
        self._cores = spec.cpu
        self._cpu = cpu
        self._memory = memory
        self._stalled = 0.0
        self._beats: Handle | None = None

    # -- what the provider does -------------------------------------------------------------------

    def give_cores(self, cores: float | None) -> None:
        """Leave the machine so many of its cores; None gives all back."""
        self._cpu.shape(cores=self._cores if cores is None else min(cores, self._cores))
        self.events["capacity_changed"] += 1

    @property
    def cores(self) -> float | None:
        """Cores that are left; None while none was taken back."""
        return None if self._cpu.cores >= self._cores else self._cpu.cores

    def lift_credit_limit(self, unlimited: bool) -> None:
        """Let the machine go on at a balance of zero, or hold it at its baseline then.

        Raises:
            ValueError: It has no credits.
        """
        if self.credits is None:
            raise ValueError("the machine is not burstable")
        self.settle()
        self.credits.unlimited = unlimited
        self._reshape()

    def back(self, size: int | None) -> None:
        """Keep so many bytes for the machine's memory; None is as many as it holds."""
        self.backing.bytes = size
        self._reshape()

    def stream(self, guest: str, rate: float) -> None:
        """Let another guest move so many bytes per second through the memory bus; 0 ends it."""
        self.bus.stream(guest, rate, self._loop.time())
        self._reshape()

    # -- how it goes on ---------------------------------------------------------------------------

    def settle(self) -> None:
        """Book what was used until now."""
        spent = self._cpu.spent
        if self.credits is not None:
            self.credits.settle(self._loop.time(), spent.used)
        waited, self._stalled = spent.stalled - self._stalled, spent.stalled
        if waited > 0.0:
            self.backing.waited(waited)
            self.memory_pressure_s += min(BEAT_S, waited)

    def _reshape(self) -> None:
        """Shape the cores by what is short now, and look again while something is."""
        self.settle()
        held = self.credits is not None and self.credits.held
        steal = 1.0 - self.credits.baseline if self.credits is not None and held else 0.0
        stall = self.backing.stall(self._memory.used)
        self._cpu.shape(steal=steal, stall=stall, efficiency=self.bus.efficiency)
        if self._beats is not None:
            self._beats.cancel()
            self._beats = None
        limited = self.credits is not None and not self.credits.unlimited
        if limited or self.backing.bytes is not None:
            self._beats = self._loop.call_later(BEAT_S, self._reshape)
