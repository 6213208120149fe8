"""What must emerge from CPU, network and deadlines together: nothing here is scripted."""

from __future__ import annotations

import asyncio
from typing import Any

from aiopslab.models.app import NodeSpec
from aiopslab.models.kube import ExecResult
from aiopslab.seeds import Streams
from aiopslab.services.protocols import RequestTimeout
from aiopslab.telemetry.store import Store
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.container import Container, ContainerSpec, PodIdentity
from aiopslab.world.network import Network
from aiopslab.world.node import Node

WORK_S = 0.01
"""CPU seconds a request costs at the server."""


class Server:
    """Burns CPU for each request."""

    async def run(self, box: Container) -> int:
        async def handler(message: Any, peer: Any) -> Any:
            await box.burn(WORK_S)
            return message

        box.netns.listen(8080, handler)
        await box.terminating.wait()
        return 0

    async def exec(self, box: Container, argv: Any, stdin: str) -> ExecResult | None:
        return None


class Shop:
    """A server under a CPU limit, and open-loop clients with a deadline."""

    def __init__(self, *, limit: float | None, cores: float = 4.0) -> None:
        self.loop = VirtualLoop(1_773_133_200.0)
        self.network = Network(self.loop, Streams(1))
        self.node = Node(self.loop, NodeSpec(name="n1", cpu=cores), "198.18.240.1")
        pod = PodIdentity("web-1", "shop", "uid", "198.19.0.2", {}, "web", node_name="n1")
        server, self.client = (
            self.network.netns(ip, namespace="shop", component=name, labels={}, node="n1")
            for ip, name in ((pod.ip, "web"), ("198.19.0.1", "client"))
        )
        spec = ContainerSpec("app", "web:1", cpu_request=0.5, cpu_limit=limit)
        self.box = Container(
            spec, pod, node=self.node, netns=server, streams=Streams(2), store=Store()
        )
        self.box.start(Server())
        self.latencies: list[float] = []
        self.failed = 0

    def load(self, per_second: float, seconds: float, *, attempts: int = 1) -> None:
        """Send requests at random instants; each is tried up to ``attempts`` times for 1 s."""
        pauses = Streams(3)("arrivals")

        async def request() -> None:
            begin = self.loop.time()
            for _ in range(attempts):
                connection = await self.client.connect(self.box.pod.ip, 8080, timeout_s=1.0)
                try:
                    await connection.call("x", timeout_s=1.0)
                except RequestTimeout:
                    continue
                else:
                    self.latencies.append(self.loop.time() - begin)
                    return
                finally:
                    connection.close()
            self.failed += 1

        async def users() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(int(per_second * seconds)):
                    group.create_task(request())
                    await asyncio.sleep(pauses.expovariate(per_second))

        self.loop.run_until_complete(users())

    @property
    def median(self) -> float:
        return sorted(self.latencies)[len(self.latencies) // 2]


def test_below_its_limit_a_server_answers_in_the_time_of_the_work() -> None:
    shop = Shop(limit=0.8)
    shop.load(per_second=20.0, seconds=10.0)
    assert shop.failed == 0
    assert WORK_S < shop.median < WORK_S + 0.005


def test_throttling_makes_the_tail_long_before_the_average_reaches_the_limit() -> None:
    calm, tight = Shop(limit=None), Shop(limit=0.3)
    for shop in (calm, tight):
        shop.load(per_second=20.0, seconds=20.0)
        assert shop.failed == 0
    assert tight.box.cpu.usage_seconds < 0.3 * 20.0 * 0.8
    assert tight.box.cpu.throttled_periods > 10
    assert tight.median < 2.0 * calm.median
    assert max(tight.latencies) > 5.0 * max(calm.latencies)


def test_beyond_capacity_requests_pile_up_and_time_out() -> None:
    shop = Shop(limit=0.3)
    shop.load(per_second=40.0, seconds=20.0)
    assert shop.failed > 300
    assert shop.box.cpu.throttled_periods > 0.9 * shop.box.cpu.periods
    # Processor sharing serves the dead along with the living: work for clients that have left.
    useful = len(shop.latencies) * WORK_S
    assert shop.box.cpu.usage_seconds > 2.0 * useful


def test_retries_keep_a_server_down_after_a_short_shortage_is_over() -> None:
    def failing_at_the_end(attempts: int) -> bool:
        shop = Shop(limit=1.0)
        shop.loop.call_later(5.0, setattr, shop.box.cpu, "limit", 0.2)
        shop.loop.call_later(8.0, setattr, shop.box.cpu, "limit", 1.0)
        failed: list[int] = []
        shop.loop.call_later(30.0, lambda: failed.append(shop.failed))
        shop.load(per_second=60.0, seconds=40.0, attempts=attempts)
        assert failed[0] > 0
        return shop.failed > failed[0]

    assert not failing_at_the_end(attempts=1)
    assert failing_at_the_end(attempts=4)


def test_a_noisy_neighbour_slows_a_server_that_is_far_below_its_own_limit() -> None:
    shop = Shop(limit=2.0, cores=2.0)
    shop.load(per_second=20.0, seconds=10.0)
    quiet = shop.median
    shop.latencies.clear()
    shop.node.neighbour("batch", threads=24.0)
    shop.load(per_second=20.0, seconds=10.0)
    assert shop.median > 2.0 * quiet
    assert shop.node.cpu.pressure_seconds > 9.0
    assert shop.box.cpu.throttled_periods == 0
