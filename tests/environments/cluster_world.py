"""A simulated cluster with nothing on it, to which an app is deployed as to any other.

Stores fill themselves there, and the lab's own images do nothing but answer. What users see is
made by the real load generator against an entry of the test's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster_served import Around, Run, end, standing
from cluster_served import Cluster as Served
from cluster_users import Entry, Proxy, users

from aiopslab.environments.cluster import environment as cluster
from aiopslab.environments.cluster import warm as cluster_warm
from aiopslab.environments.cluster.environment import Cluster, Patience, Rooms, Terms
from aiopslab.environments.cluster.images import Images
from aiopslab.environments.cluster.manifests import Placement, placed
from aiopslab.environments.cluster.stores import ClusterStores
from aiopslab.environments.sim import Sim
from aiopslab.models.app import App
from aiopslab.models.kube import ExecResult, Object
from aiopslab.problems.draw import world_key
from aiopslab.services.catalogue import load_app
from aiopslab.services.protocols import Request, Response
from aiopslab.world.container import Container
from aiopslab.world.images.renewer import Renewer
from aiopslab.world.world import World

TRIAL = "x7k2p"
FACTOR = 25.0
"""Virtual seconds a second."""
ROWS = 1000
IMAGES = Images(registry="registry.example/lab/", stores={"valkey": "valkey:8.1.1"})
PATIENCE = Patience(stores_s=40.0, ready_s=60.0, warm_s=40.0, clean_s=60.0)


class LabImage:
    """The lab's images, and that of partners: a port that answers, or the renewal of certificates.

    Args:
        world: Where it runs.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def accepts(self, command: Sequence[str]) -> bool:
        return True

    async def run(self, box: Container) -> int:
        if box.args and box.args[0] == "renew":
            return await Renewer(self._world.api, self._world.app).run(box)
        port = next((int(p) for w, p in zip(box.args, box.args[1:], strict=False) if w == "--port"))
        listener = box.netns.listen(port, self._answer)
        await box.terminating.wait()
        listener.close()
        return 0

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        return None

    async def _answer(self, message: Any, peer: Any) -> Response:
        assert isinstance(message, Request)
        return Response(200)


def observer(app: App, placement: Placement) -> list[Object]:
    metadata = {"name": "observer", "namespace": placement.lab, "labels": placement.labels}
    return [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}]


class Lab:
    """One app on one simulated cluster."""

    def __init__(self, sim: Sim, served: Served, run: Run, proxy: Proxy, entry: Entry) -> None:
        self.sim, self.served, self.run, self.proxy, self.entry = sim, served, run, proxy, entry
        self.placement = Placement(TRIAL, IMAGES)
        self.env = self.environment()

    def environment(self, **terms: Any) -> Cluster:
        """Return an environment on the cluster, with a connection of its own."""
        rooms = Rooms(observer, telemetry=lambda _: self.sim.telemetry,
                      substrate=lambda _: self.sim.substrate)  # fmt: skip
        found = Terms(7, patience=terms.pop("patience", PATIENCE), **terms)
        connection = self.served.connect()
        return Cluster(
            self.sim.app, self.placement, connection, rooms, found, self.sim.now
        )  # fmt: skip

    def exists(self, kind: str, name: str, namespace: str | None = None) -> bool:
        return self.sim.world.api.find(kind, name, namespace) is not None


def small(app: App) -> App:
    """Return the app with no table longer than that: counting takes virtual time."""
    stores = {}
    for name, store in app.stores.items():
        tables = {
            key: table.model_copy(update={"rows": min(table.rows, ROWS)})
            for key, table in store.tables.items()
        }
        stores[name] = store.model_copy(update={"tables": tables})
    return app.model_copy(update={"stores": stores})


def empty_world() -> Sim:
    """Return a cluster that has the images of a hotel, and nothing that runs them."""
    app = placed(small(load_app("hotel")), Placement(TRIAL, IMAGES))
    key = world_key(app, 31)
    sim = Sim(app, key.seed, epoch=key.epoch, load=0.05)
    for ref in (IMAGES.lab, IMAGES.partners(app)):
        sim.world.registry.add(ref, lambda: LabImage(sim.world))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("aiopslab.world.world.manifests", lambda *_: [])
        sim.run_sync(sim._boot())
    return sim


@contextmanager
def laboratory(home: Path, around: Callable[[Sim], Around] | None = None) -> Iterator[Lab]:
    """Serve an empty cluster with users beside it."""
    sim, proxy, entry = empty_world(), Proxy(f"lab-{TRIAL}"), Entry()

    def both(api: Any, tokens: Any) -> Any:
        inner = around(sim)(api, tokens) if around else api
        return proxy.around(inner, tokens)

    async def filled(*_: object) -> None:
        await asyncio.sleep(0)

    async def fingerprints(self: ClusterStores) -> dict[str, str]:
        caches = [s for s, spec in self._app.stores.items() if spec.kind == "valkey"]
        return {store: await self._config(store) for store in caches}

    async def logins(self: ClusterStores) -> dict[str, dict[str, str]]:
        return {}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cluster, "seed", filled)
        patched.setattr(ClusterStores, "fingerprints", fingerprints)
        patched.setattr(ClusterStores, "logins", logins)
        patched.setattr(cluster_warm, "_CALM_S", 1.0)
        patched.setattr(cluster_warm, "_POLL_S", 0.2)
        with standing(sim, home, both, factor=FACTOR) as (served, run):
            program = users(entry)
            proxy.port = run(program.__aenter__())
            try:
                yield Lab(sim, served, run, proxy, entry)
            finally:
                run(program.__aexit__(None, None, None))
    end(sim)
