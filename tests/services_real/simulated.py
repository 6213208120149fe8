"""Simulated stores in a small world, for comparison with real ones."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aiopslab.models.app import NodeSpec
from aiopslab.models.store import Statement, Store
from aiopslab.seeds import Streams
from aiopslab.services.config import as_text, prefix
from aiopslab.services.store_manifests import store_files
from aiopslab.telemetry.store import Store as Telemetry
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.container import Container, ContainerSpec, PodIdentity, Program
from aiopslab.world.disk import Volume
from aiopslab.world.images.app_clients import CacheClient, SqlClient
from aiopslab.world.images.app_queue import WorldQueue
from aiopslab.world.images.messages import Startup
from aiopslab.world.images.nats import Nats
from aiopslab.world.images.postgres import DATA, Postgres
from aiopslab.world.images.postgres_cluster import TableState
from aiopslab.world.images.shell import shell
from aiopslab.world.images.valkey import Valkey
from aiopslab.world.network import Network
from aiopslab.world.node import Node

T = TypeVar("T")
PASSWORD = "secret"


class SimulatedWorld:
    """One node, containers on it, virtual time."""

    def __init__(self) -> None:
        self._loop = VirtualLoop(1_773_133_200.0)
        self._streams = Streams(1)
        self._network = Network(self._loop, self._streams)
        self._node = Node(self._loop, NodeSpec(name="node-a"), "198.18.240.1")

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return self._loop.run_until_complete(work)

    def run(self, name: str, program: Program, **spec: Any) -> Container:
        """Start a container; its name resolves as ``<name>``."""
        netns = self._network.netns(
            "198.19.9.1", namespace="app", component=name, labels={}, node="node-a"
        )
        self._network.dns.publish(f"{name}.app.svc.cluster.local", [netns.ip])
        box = Container(
            ContainerSpec(name, "image:1", **spec),
            PodIdentity(f"{name}-0", "app", "u-1", netns.ip, {}, name),
            node=self._node,
            netns=netns,
            streams=self._streams,
            store=Telemetry(),
            shell=shell,
        )
        box.start(program)
        self._loop.run_until(self._loop.time() + 10.0)
        return box

    def postgres(self, name: str, store: Store) -> SimulatedPostgres:
        """Start a database."""
        env = {"POSTGRES_DB": store.database}
        env |= {f"ROLE_{prefix(user)}_PASSWORD": PASSWORD for user in store.users}
        program = Postgres(store)
        box = self.run(name, program, env=env, volumes={DATA: Volume(8 * 2**30)})
        return SimulatedPostgres(self, box, program, name, store)

    def valkey(self, name: str, store: Store, client_password: str) -> CacheClient:
        """Start a cache; return a client of it."""
        args = ["valkey-server", "--port", str(store.port), "--requirepass", PASSWORD]
        args += [word for k, v in store.config.items() for word in (f"--{k}", as_text(v))]
        box = self.run(name, Valkey(store), args=args)
        return CacheClient(box, (name, store.port), client_password, 4, 5.0)

    def nats(self, name: str, store: Store, client_password: str) -> WorldQueue:
        """Start a queue; return a client of it."""
        files = {f"/etc/nats/{key}": text for key, text in store_files(store).items()}
        box = self.run(
            name, Nats(store), files=files, env={"NATS_PASSWORD": PASSWORD},
            volumes={"/data": Volume(2**30)},
        )  # fmt: skip
        return WorldQueue(box, (name, store.port), "test", client_password)


@dataclass(frozen=True, slots=True)
class SimulatedPostgres:
    """A database server in the world."""

    world: SimulatedWorld
    box: Container
    program: Postgres
    name: str
    store: Store

    def client(
        self, user: str, statements: Mapping[str, Statement], password: str = PASSWORD,
        database: str = "",
    ) -> SqlClient:  # fmt: skip
        """Return a client with a pool of two."""
        startup = Startup(user, password, database or self.store.database, "test")
        return SqlClient(self.box, (self.name, self.store.port), startup, statements, 2, 5.0)

    def table(self, name: str) -> TableState:
        assert self.program.cluster is not None
        return self.program.cluster.tables[name]
