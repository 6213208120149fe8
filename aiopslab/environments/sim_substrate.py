"""The Environment's ``Substrate`` on a simulated world: what lies below Kubernetes."""

from __future__ import annotations

import dataclasses

from aiopslab.environments.bridge import Bridge
from aiopslab.errors import InfraError
from aiopslab.models.external import Disturbance
from aiopslab.models.network import Shape
from aiopslab.models.signal import Change
from aiopslab.world.images.messages import Startup
from aiopslab.world.node import Node
from aiopslab.world.world import World


class SimSubstrate:
    """Network paths, neighbours, stores and disks of one world."""

    def __init__(self, world: World, bridge: Bridge) -> None:
        self._world = world
        self._bridge = bridge

    async def link(
        self,
        source: str,
        target: str,
        *,
        delay_s: float = 0.0,
        loss: float = 0.0,
        cut: bool = False,
    ) -> None:
        self._world.network.shape(source, target, delay_s=delay_s, loss=loss, cut=cut)

    async def uplink(self, node: str, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        self._world.network.ways.shape_node(node, Shape(delay_s=delay_s, loss=loss))

    async def zone(self, zone: str, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        self._world.network.ways.shape_zone(zone, Shape(delay_s=delay_s, loss=loss))

    async def bulk(self, node: str, *, name: str, rate: float) -> None:
        machine = self._machine(node)
        machine.uplink.stream(name, rate)
        self._world.network.ways.shape_queue(node, machine.uplink.shape)

    async def pod_path(self, pod: str, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        place = self._world.api.get("Pod", pod, self._world.app.namespace)
        ip = str(place["status"]["podIP"])
        self._world.network.ways.shape_address(ip, Shape(delay_s=delay_s, loss=loss))

    async def clock(self, node: str, *, ahead_s: float) -> None:
        self._world.nodes[node].clock.ahead_s = ahead_s

    async def neighbour(self, node: str, *, name: str, threads: float, memory: int = 0) -> None:
        self._machine(node).neighbour(name, threads=threads, memory=memory)

    async def host(
        self, node: str, *, cores: float | None = None, backed: int | None = None,
        unlimited: bool = True,
    ) -> None:  # fmt: skip
        host = self._machine(node).host
        if host.cores != cores:
            host.give_cores(cores)
        if host.backing.bytes != backed:
            host.back(backed)
        if host.credits is not None and host.credits.unlimited != unlimited:
            host.lift_credit_limit(unlimited)

    async def memory_stream(self, node: str, *, name: str, rate: float) -> None:
        self._machine(node).host.stream(name, rate)

    async def memory_held(self, node: str) -> int:
        return self._machine(node).memory.used

    async def take_back(self, *, every_s: float) -> None:
        await self._bridge.enter(self._take_back(every_s))

    async def _take_back(self, every_s: float) -> None:
        # On the world's loop, because the waves are a task.
        self._world.reclaimer.every(every_s)

    def _machine(self, node: str) -> Node:
        if node not in self._world.nodes:
            raise InfraError("inject", f"no node {node!r}")
        return self._world.nodes[node]

    async def power(self, node: str, *, on: bool) -> None:
        if node not in self._world.kubelets:
            raise InfraError("inject", f"no node {node!r}")
        await self._bridge.enter(self._power(node, on))

    async def _power(self, node: str, on: bool) -> None:
        # On the world's loop, because pods that come back are tasks.
        self._world.kubelets[node].power(on)

    async def suspend(self, pod: str, *, on: bool) -> None:
        await self._bridge.enter(self._suspend(pod, on))

    async def _suspend(self, pod: str, on: bool) -> None:
        # On the world's loop, because whoever waited goes on as a task of it.
        for place, box in self._world.boxes():
            first = place["spec"]["containers"][0]["name"]
            named = (pod, self._world.app.namespace, first)
            if (box.pod.name, box.pod.namespace, box.name) == named:
                box.suspend(on)

    async def leave_file(self, claim: str, path: str, size: int) -> None:
        volume = self._world.claims.get((self._world.app.namespace, claim))
        if volume is None:
            raise InfraError("inject", f"no volume for claim {claim!r}")
        volume.write(path, min(size, volume.size(path) + volume.available))

    async def hardware(self, node: str, condition: str, value: float | None) -> None:
        self._machine(node).condition(condition, value)

    async def partner(self, name: str, disturbance: Disturbance) -> None:
        self._world.parties[name].disturb(disturbance)

    async def disturbance(self, partner: str) -> Disturbance:
        return self._world.parties[partner].disturbance

    async def announce(self, partner: str, *, begins_at: float, lasts_s: float) -> None:
        self._world.parties[partner].announce(begins_at, lasts_s)

    async def store_admin(self, store: str, command: str) -> str:
        return await self._bridge.enter(self._world.registry.admin(store, command))

    async def terminal(self, store: str, sql: str, *, application: str = "psql") -> None:
        await self._bridge.enter(
            self._world.outsiders.terminal(store, sql, application=application)
        )

    async def tool(
        self,
        store: str,
        *,
        application: str,
        user: str,
        password: str,
        address: str,
        sessions: int,
        again_s: float = 10.0,
    ) -> None:
        await self._bridge.enter(
            self._tool(store, Startup(user, password, "", application), address, sessions, again_s)
        )

    async def _tool(
        self, store: str, startup: Startup, address: str, sessions: int, again_s: float
    ) -> None:
        # On the world's loop, because the tool's sessions are tasks.
        spec = self._world.app.stores[store]
        self._world.outsiders.tool(
            store,
            dataclasses.replace(startup, database=spec.database),
            address=address,
            port=spec.port,
            sessions=sessions,
            again_s=again_s,
        )

    async def record_change(self, change: Change) -> None:
        self._world.store.change(change)
