"""A simulated world behind real HTTPS, asked twice: in process, and as any cluster would be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aiopslab.environments.cluster.connection import Connection, Reach
from aiopslab.environments.cluster.kube import ClusterKube, Recorder
from aiopslab.environments.sim import Sim
from aiopslab.models.kube import Object
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.wire.certificate import self_signed
from aiopslab.wire.gate import StandingGate
from aiopslab.wire.identity import Identity, Tokens, administrator
from aiopslab.wire.kubernetes.app import kubernetes_app, status_refusal
from aiopslab.wire.kubernetes.kubeconfig import kubeconfig
from aiopslab.wire.server import listening
from aiopslab.wire.site import Mount, Site

pytest.importorskip("kubernetes", reason="the official Python client is not installed")

NAMESPACE = "hotel"
Around = Callable[[Any, Tokens], Any]
"""Wraps the API's application, which is given with the tokens that are accepted."""
Run = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine on the loop that serves."""


def hotel() -> Sim:
    """Boot a hotel without users; it stands still unless somebody lets it run."""
    app = load_app("hotel")
    key = world_key(app, 31)
    sim = Sim(app, key.seed, epoch=key.epoch, load=0.05)
    sim.boot()
    return sim


def end(sim: Sim) -> None:
    """Close a world; what the last writes woke is begun first, so that nothing never ran."""
    sim.run_for(1.0)
    asyncio.run(sim.aclose())


@dataclass(slots=True)
class Cluster:
    """A served world, and how to reach it."""

    sim: Sim
    home: Path
    url: str
    authority: str
    tokens: Tokens
    gate: StandingGate
    connections: list[Connection] = field(default_factory=list)

    def config_of(self, who: Identity | None = None) -> Path:
        """Write a kubeconfig for somebody and return where it is."""
        return self.config_with(self.tokens.issue(who or administrator()))

    def config_with(self, token: str) -> Path:
        path = self.home / f"kubeconfig-{len(list(self.home.glob('kubeconfig-*')))}"
        path.write_text(kubeconfig(self.url, token, self.authority, NAMESPACE))
        return path

    def connect(self, config: Path | None = None, **reach: Any) -> Connection:
        connection = Connection(Reach(str(config or self.config_of()), **reach))
        self.connections.append(connection)
        return connection

    def kube(
        self,
        config: Path | None = None,
        *,
        recorder: Recorder | None = None,
        manager: str = "",
        **reach: Any,
    ) -> ClusterKube:
        connection = self.connect(config, **reach)
        return ClusterKube(connection, now=self.sim.now, recorder=recorder, manager=manager)


@asynccontextmanager
async def served(
    sim: Sim, home: Path, around: Around | None = None, *, factor: float = 0.0
) -> AsyncIterator[Cluster]:
    """Serve a world whose time stands still; ``around`` may answer some requests itself.

    With a ``factor`` its time follows the host's, and what is woken by writes runs.
    """
    certificate, tokens = self_signed("127.0.0.1"), Tokens()
    gate = StandingGate(sim, factor)
    api = kubernetes_app(sim.world, gate, env=sim)
    site = Site([Mount("", around(api, tokens) if around else api, status_refusal)], tokens)
    pacing = asyncio.create_task(gate.pace() if factor else gate.closing.wait())
    try:
        async with listening(site, tls=certificate.files(home)) as port:
            authority = certificate.certificate.decode()
            cluster = Cluster(sim, home, f"https://127.0.0.1:{port}", authority, tokens, gate)
            try:
                yield cluster
            finally:
                for connection in cluster.connections:
                    await connection.aclose()
                gate.close()
    finally:
        pacing.cancel()
        await asyncio.wait([pacing])


@contextmanager
def standing(
    sim: Sim, home: Path, around: Around | None = None, *, factor: float = 0.0
) -> Iterator[tuple[Cluster, Run]]:
    """Serve a world for as long as the block lasts; it answers while something runs."""
    with asyncio.Runner() as runner:
        serving = served(sim, home, around, factor=factor)
        cluster = runner.run(serving.__aenter__())
        try:
            yield cluster, runner.run
        finally:
            runner.run(serving.__aexit__(None, None, None))


def config_map(name: str, namespace: str = NAMESPACE, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }
