"""Family ``host``: what a provider gives a node, and takes from it, below the cluster.

No object of the cluster changes and no program does: the same pods come on more slowly, for a
reason that figures of the machine tell. As with family ``node``, what can be done is to run
elsewhere. Source: incidents.md CR-02, CR-04, CR-06, CR-08, CR-11, CR-18.
"""

from __future__ import annotations

from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.node import Machine
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.support import Support, simulated

_BELOW = simulated("nobody can change what a host gives to its machines through a cluster")
_QUIET, _LOUD = "bulk-b", "bulk-a"
"""The copy that harms, and the larger one that does not."""


class _Shortage(Machine):
    """A host gives its machine less than before; undone, it gives again what the app says."""

    support: ClassVar[Support] = _BELOW

    async def recover(self, env: Environment) -> None:
        await env.substrate.host(self.site.target)


class CreditsExhausted(_Shortage):
    """A burstable machine may not go beyond its credits any more, and then they run out."""

    kind = "host/credits-exhausted"
    cause = "cpu_credits_exhausted"
    system_level = "Virtualization"
    fault_type = "Operation Error"

    class Params(Model):
        """No parameters."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return any(n.name == component and n.credits is not None for n in app.nodes)

    async def inject(self, env: Environment) -> None:
        await env.substrate.host(self.site.target, unlimited=False)


class CoresReclaimed(_Shortage):
    """The provider takes most cores of a machine back; the cluster goes on to count on them."""

    kind = "host/cores-reclaimed"
    cause = "capacity_shrunk"
    system_level = "Virtualization"
    fault_type = "Dependency Problem"

    class Params(Model):
        """Parameters."""

        cores: float = 1.0
        """Cores that are left."""

    params: Params

    async def inject(self, env: Environment) -> None:
        await env.substrate.host(self.site.target, cores=self.params.cores)


class MemoryOvercommitted(_Shortage):
    """The peaks of two guests fall together, and their host has promised its memory twice."""

    kind = "host/memory-overcommitted"
    cause = "noisy_neighbour"
    system_level = "Virtualization"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        missing: float = 0.35
        """Share of what the machine holds that its host has given to the other guest."""

    params: Params

    async def inject(self, env: Environment) -> None:
        held = await env.substrate.memory_held(self.site.target)
        backed = int(held * (1.0 - self.params.missing))
        await env.substrate.host(self.site.target, backed=backed)


class MemoryBandwidth(Machine):
    """An analytics job on the same host streams through memory without a bandwidth class."""

    kind = "host/memory-bandwidth"
    support = _BELOW
    cause = "memory_bandwidth_contention"
    system_level = "Hardware"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        rate: float = 300e9
        """Bytes per second that it would move."""
        guest: str = "analytics"

    params: Params

    async def inject(self, env: Environment) -> None:
        await self._stream(env, self.params.rate)

    async def recover(self, env: Environment) -> None:
        await self._stream(env, 0.0)

    async def _stream(self, env: Environment, rate: float) -> None:
        await env.substrate.memory_stream(self.site.target, name=self.params.guest, rate=rate)

    def aliases(self) -> list[str]:
        return [*super().aliases(), self.params.guest]


class UplinkCrowded(Machine):
    """A bulk copy fills the uplink of a node of the app; a larger one elsewhere harms nobody."""

    kind = "host/uplink-crowded"
    support = _BELOW
    cause = "network_congestion"
    system_level = "Hardware"
    fault_type = "Network/Storage Issue"

    class Params(Model):
        """Parameters."""

        load: float = 1.2
        """What the copy offers, in times the link's speed."""
        louder: float = 3.0
        """What the other copy offers, in times this one; its link is wide enough."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        widest = _speed(app, _widest(app))
        return super().fits(app, component) and 5.0 * _speed(app, component) < widest

    async def inject(self, env: Environment) -> None:
        rate = self.params.load * _speed(self.site.app, self.site.target)
        await self._copy(env, rate, self.params.louder * rate)

    async def recover(self, env: Environment) -> None:
        await self._copy(env, 0.0, 0.0)

    async def _copy(self, env: Environment, here: float, elsewhere: float) -> None:
        await env.substrate.bulk(self.site.target, name=_QUIET, rate=here)
        await env.substrate.bulk(_widest(self.site.app), name=_LOUD, rate=elsewhere)

    def aliases(self) -> list[str]:
        return [*super().aliases(), _QUIET]


class ZoneLoss(Machine):
    """The network between one zone and the rest of the region loses packets."""

    kind = "host/zone-loss"
    support = simulated("a kind cluster has no zones")
    cause = "network_latency"
    system_level = "Hardware"
    fault_type = "Network/Storage Issue"

    class Params(Model):
        """Parameters."""

        loss: float = 0.1
        """Share of packets lost in each direction."""
        delay_ms: float = 5.0
        """Added in each direction."""

    params: Params

    @property
    def _zone(self) -> str:
        return next(n.zone for n in self.site.app.nodes if n.name == self.site.target)

    def place(self) -> tuple[str, list[str]]:
        return "topology.kubernetes.io/zone", [self._zone]

    def nodes(self) -> list[str]:
        return sorted(n.name for n in self.site.app.nodes if n.zone == self._zone)

    async def inject(self, env: Environment) -> None:
        delay_s = self.params.delay_ms / 1000.0
        await env.substrate.zone(self._zone, delay_s=delay_s, loss=self.params.loss)

    async def recover(self, env: Environment) -> None:
        await env.substrate.zone(self._zone)

    def accepted(self) -> list[tuple[str, str]]:
        return [(node, self.cause) for node in self.nodes() if node != self.site.target]

    def aliases(self) -> list[str]:
        return [*super().aliases(), self._zone]


def _speed(app: App, node: str) -> float:
    return next(n.uplink for n in app.nodes if n.name == node)


def _widest(app: App) -> str:
    """Name the node with the fastest uplink."""
    return max(app.nodes, key=lambda node: node.uplink).name


KINDS = (
    CreditsExhausted, CoresReclaimed, MemoryOvercommitted, MemoryBandwidth, UplinkCrowded, ZoneLoss,
)  # fmt: skip
