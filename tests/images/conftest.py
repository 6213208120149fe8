"""A small world for images: one node, containers on it, a client outside."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from aiopslab.models.app import NodeSpec
from aiopslab.models.store import Store
from aiopslab.seeds import Streams
from aiopslab.telemetry.store import Store as Telemetry
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.container import Container, ContainerSpec, PodIdentity, Program
from aiopslab.world.disk import Volume
from aiopslab.world.images.shell import shell
from aiopslab.world.netns import Netns
from aiopslab.world.network import Network
from aiopslab.world.node import Node

T = TypeVar("T")
START = 1_773_133_200.0  # 2026-03-10T09:00:00Z


class Bench:
    """The small world."""

    def __init__(self, seed: int = 1) -> None:
        self.loop = VirtualLoop(START)
        self.streams = Streams(seed)
        self.network = Network(self.loop, self.streams)
        self.node = Node(self.loop, NodeSpec(name="node-a"), "198.18.240.1")
        self.telemetry = Telemetry()
        self.volumes: dict[str, Volume] = {}
        self._ips = 0

    def client(self) -> Netns:
        """Bring up an address of a client."""
        self._ips += 1
        return self.network.netns(
            f"198.19.9.{self._ips}", namespace="app", component="api", labels={}, node="node-a"
        )

    def run(self, component: str, program: Program, **spec: Any) -> Container:
        """Start a container; its name resolves as ``<component>``."""
        netns = self.client()
        self.network.dns.publish(f"{component}.app.svc.cluster.local", [netns.ip])
        pod = PodIdentity(f"{component}-0", "app", "u-1", netns.ip, {}, component)
        box = Container(
            ContainerSpec(component, spec.pop("image", "image:1"), **spec),
            pod,
            node=self.node,
            netns=netns,
            streams=self.streams,
            store=self.telemetry,
            shell=shell,
        )
        box.start(program)
        return box

    def pass_time(self, seconds: float) -> None:
        """Let the world run."""
        self.loop.run_until(self.loop.time() + seconds)

    def do(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(coro)

    def sh(self, box: Container, *argv: str, stdin: str = "") -> tuple[str, str, int]:
        """Run a command in a container: stdout, stderr, code."""
        result = self.do(box.exec(list(argv), stdin))
        return result.stdout, result.stderr, result.code


@pytest.fixture
def bench() -> Bench:
    return Bench()


STORE = {
    "kind": "postgres",
    "image": {"name": "postgres", "version": "16.4"},
    "summary": "rates",
    "owner": "team-rates",
    "port": 5432,
    "config": {"max_connections": 12, "shared_buffers": "32MB"},
    "database": "rates",
    "users": {
        "rate": {"grants": {"rates": ["SELECT", "INSERT", "UPDATE", "DELETE"]}},
        "report": {"grants": {"rates": ["SELECT"]}, "connection_limit": 1},
    },
    "tables": {
        "rates": {
            "rows": 5000,
            "columns": {"id": "bigint", "hotel_id": "integer", "price": "numeric", "code": "text"},
        }
    },
    "statements": {
        "by_hotel": {
            "text": "SELECT price FROM rates WHERE hotel_id = $1",
            "table": "rates",
            "kind": "SELECT",
            "rows": 3,
        },
        "book": {
            "text": "UPDATE rates SET price = $1 WHERE hotel_id = $2",
            "table": "rates",
            "kind": "UPDATE",
            "lock": "row",
            "ms": 5.0,
        },
        "add": {
            "text": "INSERT INTO rates VALUES ($1)",
            "table": "rates",
            "kind": "INSERT",
        },
    },
}


@pytest.fixture
def store() -> Store:
    return Store.model_validate(STORE)


@pytest.fixture
def make_store() -> Callable[..., Store]:
    return lambda **fields: Store.model_validate({**STORE, **fields})
