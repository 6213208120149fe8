"""The simulated PostgreSQL of one store in a small world, for comparison with a real one."""

from __future__ import annotations

from collections.abc import Mapping

from aiopslab.models.app import App, NodeSpec
from aiopslab.models.store import Statement
from aiopslab.seeds import Streams
from aiopslab.services.config import prefix
from aiopslab.telemetry.store import Store as Telemetry
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.container import Container, ContainerSpec, PodIdentity
from aiopslab.world.disk import Volume
from aiopslab.world.images.app_clients import SqlClient
from aiopslab.world.images.messages import Startup
from aiopslab.world.images.postgres import DATA, Postgres
from aiopslab.world.images.postgres_cluster import TableState
from aiopslab.world.images.shell import shell
from aiopslab.world.network import Network
from aiopslab.world.node import Node

PASSWORD = "secret"


class SimulatedPostgres:
    """A database server in the world.

    Args:
        app: The app.
        store: Name of its database.
    """

    def __init__(self, app: App, store: str) -> None:
        self._store = app.stores[store]
        self._name = store
        self._loop = VirtualLoop(1_773_133_200.0)
        streams = Streams(1)
        network = Network(self._loop, streams)
        netns = network.netns(
            "198.19.9.1", namespace="app", component=store, labels={}, node="node-a"
        )
        network.dns.publish(f"{store}.app.svc.cluster.local", [netns.ip])
        env = {"POSTGRES_DB": self._store.database}
        env |= {f"ROLE_{prefix(user)}_PASSWORD": PASSWORD for user in self._store.users}
        self._box = Container(
            ContainerSpec(store, "postgres:17.5", env=env, volumes={DATA: Volume(8 * 2**30)}),
            PodIdentity(f"{store}-0", "app", "u-1", netns.ip, {}, store),
            node=Node(self._loop, NodeSpec(name="node-a"), "198.18.240.1"),
            netns=netns,
            streams=streams,
            store=Telemetry(),
            shell=shell,
        )
        self.program = Postgres(self._store)
        self._box.start(self.program)
        self._loop.run_until(self._loop.time() + 10.0)

    def rows(self, user: str, statement: Statement, params: Mapping[str, str]) -> int:
        """Run a statement of the app; return its rows."""
        startup = Startup(user, PASSWORD, self._store.database, "test")
        place = (self._name, self._store.port)
        client = SqlClient(self._box, place, startup, {"it": statement}, 1, 5.0)
        return self._loop.run_until_complete(client.execute("it", params, timeout_s=60.0)).rows

    def table(self, name: str) -> TableState:
        assert self.program.cluster is not None
        return self.program.cluster.tables[name]
