"""The simulated environment: one world behind the Environment protocol.

Before a trial it is driven synchronously (``boot``, ``run_for``, ``run_sync``): one process, no
thread, so it can be forked. During a trial the same methods are awaited from the agent's loop and
time passes in the world only then (``bridge``). Neighbours: ``sim_kube``, ``store_telemetry``,
``sim_substrate`` implement the parts.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from aiopslab.environments.bridge import Bridge
from aiopslab.environments.health import HEALTH_S, slo_checks
from aiopslab.environments.protocol import Kube, Substrate, Telemetry, Traffic
from aiopslab.environments.sim_kube import SimKube
from aiopslab.environments.sim_substrate import SimSubstrate
from aiopslab.environments.sim_traffic import SimTraffic
from aiopslab.environments.store_telemetry import StoreTelemetry
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.evidence import CheckResult
from aiopslab.models.task import Task
from aiopslab.world.world import World

T = TypeVar("T")

READY_S = 300.0
"""Virtual seconds in which an app must be ready after its manifests were applied."""
POLL_S = 2.0


class Sim:
    """One app on one simulated cluster.

    Args:
        app: What is deployed.
        seed: Determines everything together with what is done to the environment.
        epoch: Unix seconds of the world's clock at boot.
        load: Factor on the app's journeys.
    """

    kube: Kube
    telemetry: Telemetry
    traffic: Traffic
    substrate: Substrate

    def __init__(self, app: App, seed: int, *, epoch: float, load: float = 1.0) -> None:
        self.app = app
        self.namespace = app.namespace
        self.world = World(app, seed, epoch=epoch, load_scale=load)
        self._bridge = Bridge(self.world.loop)
        self.kube = SimKube(self.world, self._bridge)
        self.telemetry = StoreTelemetry(self.world.loop.time, self.world.store, self.world.rules)
        self.traffic = SimTraffic(self.world, self._bridge)
        self.substrate = SimSubstrate(self.world, self._bridge)

    # -- driving without an event loop ------------------------------------------------------------

    def boot(self) -> None:
        """Deploy the app and start its load."""
        self.run_sync(self.deploy())

    def run_for(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.world.loop.run_until(self.world.loop.time() + seconds)

    def run_sync(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that uses this environment to its end, on the world's own loop."""
        return self._bridge.run(coro)

    # -- the protocol -----------------------------------------------------------------------------

    def now(self) -> float:
        """Return unix seconds of the world's clock."""
        return self.world.loop.time()

    async def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        await self._bridge.advance(seconds)

    async def within(self, coro: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine of the world from whatever loop this is called on."""
        return await self._bridge.enter(coro)

    async def deploy(self) -> None:
        """Apply the manifests, wait until everything is ready, start the users.

        Raises:
            InfraError: Not ready in time; names what is not and why.
        """
        await self._bridge.enter(self._boot())
        deadline = self.now() + READY_S
        while unready := [c for c in await self._workloads() if not c.met]:
            if self.now() >= deadline:
                raise InfraError("ready", "; ".join(f"{c.id}: {c.detail}" for c in unready))
            await self.advance(POLL_S)
        await self.traffic.start()

    async def _boot(self) -> None:
        # On the world's loop, because controllers and kubelets create tasks when they start.
        self.world.boot()

    async def probe(self) -> list[CheckResult]:
        """Return the app's health: every workload ready, every SLO met in the last minute."""
        now = self.now()
        checks = await self._workloads()
        checks += slo_checks(await self.traffic.slis(now - HEALTH_S, now))
        return checks

    async def _workloads(self) -> list[CheckResult]:
        checks = []
        for kind in ("Deployment", "StatefulSet"):
            for obj in await self.kube.list(kind, self.namespace):
                name, want = obj["metadata"]["name"], obj["spec"].get("replicas", 1)
                ready = obj.get("status", {}).get("readyReplicas", 0)
                detail = f"{ready} of {want} replicas ready"
                if ready < want:
                    detail += await self._why(name)
                checks.append(CheckResult(id=f"ready:{name}", met=ready >= want, detail=detail))
        return checks

    async def _why(self, workload: str) -> str:
        """Return the latest warning about a workload's pods."""
        warnings = await self.telemetry.events(
            namespace=self.namespace, name=workload, warnings_only=True, since=0.0
        )
        return f"; {warnings[-1].reason}: {warnings[-1].message}" if warnings else ""

    async def data_digest(self) -> dict[str, int]:
        """Return rows of every database and messages lost by every queue, as last known."""
        return self.world.registry.rows() | self.world.registry.given_up()

    async def for_agent(self, task: Task) -> Sim:
        """Return the world itself: its tools tell the simulated API server who acts."""
        return self

    async def aclose(self) -> None:
        """End the worker thread; the world itself is memory."""
        self._bridge.close()
