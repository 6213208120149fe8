"""Containers, memory, disks and nodes."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.app import NodeSpec
from aiopslab.models.kube import ExecResult
from aiopslab.seeds import Streams
from aiopslab.services.protocols import ConnectionRefused, ConnectionReset, RequestTimeout
from aiopslab.telemetry.store import Store
from aiopslab.world.clock import VirtualLoop, WorldFailure
from aiopslab.world.container import Container, ContainerSpec, Exit, PodIdentity, ProgramExit
from aiopslab.world.disk import Volume
from aiopslab.world.memory import MemoryGroup, NodeMemory
from aiopslab.world.network import Network
from aiopslab.world.node import SYSTEM_MEMORY, Node

START = 1_773_133_200.0
MIB = 2**20
Body = Callable[[Container], Awaitable[int]]


class Image:
    """A program made of one coroutine function."""

    def __init__(self, body: Body) -> None:
        self._body = body

    async def run(self, box: Container) -> int:
        return await self._body(box)

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        if argv[0] == "own":
            await box.burn(1.0)
            return ExecResult("own command\n", "", 0)
        if argv[0] == "quit":
            raise ProgramExit(3)
        return None


class Machine:
    """One node and a pod on it."""

    def __init__(self) -> None:
        self.loop = VirtualLoop(START)
        self.network = Network(self.loop, Streams(1))
        self.node = Node(self.loop, NodeSpec(name="n1", cpu=2.0, memory=1024 * MIB), "198.18.240.1")
        self.store = Store()
        self.pod = PodIdentity(
            "rate-1", "hotel", "uid", "198.19.0.2", {}, "rate", node_name=self.node.name
        )
        self.netns = self.network.netns(
            self.pod.ip, namespace="hotel", component="rate", labels={}, node="n1"
        )
        self.client = self.network.netns(
            "198.19.0.1", namespace="hotel", component="frontend", labels={}, node="n1"
        )

    def start(self, body: Body, **spec: Any) -> Container:
        spec = {"name": "app", "image_ref": "rate:1", "memory_limit": 100 * MIB, **spec}
        box = Container(
            ContainerSpec(**spec), self.pod, node=self.node, netns=self.netns, streams=Streams(5),
            store=self.store, shell=_shell,
        )  # fmt: skip
        box.start(Image(body))
        return box

    def end(self, box: Container) -> Exit:
        return self.loop.run_until_complete(box.wait())


async def _shell(box: Container, argv: Sequence[str], stdin: str) -> ExecResult:
    return ExecResult(f"{argv[0]} in {box.name}\n", "", 0)


async def _serve(box: Container) -> int:
    async def handler(message: Any, peer: Any) -> Any:
        if message == "slow":
            await asyncio.sleep(5.0)
        if message == "leak":
            box.memory.hold("leak", 200 * MIB)
        if message == "die":
            raise ProgramExit(2)
        return message

    box.netns.listen(8080, handler)
    await box.terminating.wait()
    box.log("bye")
    return 0


def test_a_program_ends_with_its_exit_code() -> None:
    async def short(box: Container) -> int:
        await asyncio.sleep(2.0)
        return 0

    async def wrong(box: Container) -> int:
        return 3

    machine = Machine()
    assert machine.end(machine.start(short)) == Exit(0, "Completed", START, START + 2.0)
    assert machine.end(machine.start(wrong)) == Exit(3, "Error", START + 2.0, START + 2.0)


def test_any_task_of_a_program_can_end_the_process() -> None:
    async def main(box: Container) -> int:
        async def crash() -> None:
            await asyncio.sleep(1.0)
            raise ProgramExit(7)

        box.spawn(crash())
        await asyncio.sleep(100.0)
        return 0

    machine = Machine()
    ended = machine.end(machine.start(main))
    assert (ended.code, ended.reason, ended.finished_at) == (7, "Error", START + 1.0)


def test_an_exception_that_is_no_exit_is_our_defect() -> None:
    async def main(box: Container) -> int:
        raise KeyError("ours")

    machine = Machine()
    machine.start(main)
    with pytest.raises(WorldFailure, match="ours"):
        machine.loop.run_until(START + 1.0)


def test_sigterm_is_for_the_program_and_sigkill_is_not() -> None:
    machine = Machine()
    box = machine.start(_serve)
    machine.loop.call_at(START + 1.0, box.terminate)
    assert machine.end(box) == Exit(0, "Completed", START, START + 1.0)
    assert [line for _, line in box.log_lines()] == ["bye"]

    stubborn = machine.start(_serve)
    machine.loop.call_at(START + 2.0, stubborn.kill)
    ended = machine.end(stubborn)
    assert (ended.code, ended.reason) == (137, "Error")
    stubborn.kill()
    assert stubborn.exit is ended


def test_a_suspended_process_is_connected_to_and_answers_only_when_it_goes_on() -> None:
    machine = Machine()
    box = machine.start(_serve)

    async def call(patience_s: float) -> float:
        connection = await machine.client.connect(machine.pod.ip, 8080, timeout_s=1.0)
        await connection.call("hello", timeout_s=patience_s)
        return machine.loop.time()

    box.suspend(True)
    with pytest.raises(RequestTimeout):
        machine.loop.run_until_complete(call(1.0))
    machine.loop.call_later(5.0, box.suspend, False)
    answered = machine.loop.run_until_complete(call(60.0))
    assert answered == pytest.approx(START + 6.0, abs=0.01)
    assert not box.suspended


def test_a_suspended_process_burns_no_cpu_and_gets_its_sigterm_afterwards() -> None:
    async def work(box: Container) -> int:
        await box.burn(1.0)
        await box.terminating.wait()
        return 0

    machine = Machine()
    box = machine.start(work)
    machine.loop.call_at(START + 0.5, box.suspend, True)
    machine.loop.call_at(START + 2.0, box.terminate)
    machine.loop.run_until(START + 10.0)
    assert box.cpu.usage_seconds == pytest.approx(0.5)
    assert box.exit is None
    box.suspend(False)
    assert machine.end(box).finished_at == pytest.approx(START + 10.5)
    assert box.cpu.usage_seconds == pytest.approx(1.0)


def test_a_suspended_container_is_not_entered_and_dies_of_sigkill() -> None:
    machine = Machine()
    box = machine.start(_serve)
    box.suspend(True)
    refused = machine.loop.run_until_complete(box.exec(["ls"]))
    assert refused.code == 1
    assert "cannot exec in a paused container" in refused.stderr
    box.kill()
    assert machine.end(box).code == 137


def test_memory_beyond_the_limit_kills_and_gives_everything_back() -> None:
    machine = Machine()
    box = machine.start(_serve, cpu_limit=1.0)

    async def leak() -> None:
        connection = await machine.client.connect(machine.pod.ip, 8080, timeout_s=1.0)
        assert box.memory.working_set == 0
        with pytest.raises(ConnectionReset):
            await connection.call("leak", timeout_s=10.0)
        with pytest.raises(ConnectionRefused):
            await machine.client.connect(machine.pod.ip, 8080, timeout_s=1.0)

    machine.loop.run_until_complete(leak())
    ended = machine.end(box)
    assert (ended.code, ended.reason) == (137, "OOMKilled")
    assert machine.node.memory.used == SYSTEM_MEMORY
    box.log("from beyond")
    assert box.log_lines() == []


def test_calls_in_flight_are_reset_when_the_server_process_ends() -> None:
    machine = Machine()
    box = machine.start(_serve)

    async def call(message: str) -> float:
        connection = await machine.client.connect(machine.pod.ip, 8080, timeout_s=1.0)
        with pytest.raises(ConnectionReset):
            await connection.call(message, timeout_s=10.0)
        return machine.loop.time()

    machine.loop.call_at(START + 2.0, box.kill)
    assert machine.loop.run_until_complete(call("slow")) == pytest.approx(START + 2.0, abs=0.01)
    box = machine.start(_serve)
    machine.loop.run_until_complete(call("die"))
    assert machine.end(box).code == 2


def test_a_restarted_process_draws_other_numbers_from_the_same_seed() -> None:
    machine = Machine()

    async def draw(box: Container) -> int:
        await asyncio.sleep(1.0)
        return box.streams("ids").randrange(1, 2**31)

    first, second = (machine.end(machine.start(draw)).code for _ in range(2))
    assert first != second
    machine = Machine()
    assert first == machine.end(machine.start(draw)).code


def test_output_goes_to_a_bounded_ring_and_to_telemetry() -> None:
    async def chat(box: Container) -> int:
        for n in range(2500):
            box.log(f"line {n}", severity="WARN" if n == 2400 else "INFO", trace_id=9)
            await asyncio.sleep(0.001)
        return 0

    machine = Machine()
    box = machine.start(chat)
    machine.end(box)
    assert len(box.log_lines()) == 2000
    assert [line for _, line in box.log_lines(tail=2)] == ["line 2498", "line 2499"]
    assert box.log_lines(tail=0) == []
    assert [line for _, line in box.log_lines(since=START + 2.4985)] == ["line 2499"]


def test_commands_are_the_programs_own_or_the_shells() -> None:
    machine = Machine()
    box = machine.start(_serve)
    run = machine.loop.run_until_complete
    assert run(box.exec(["own"])) == ExecResult("own command\n", "", 0)
    assert run(box.exec(["ls"])).stdout == "ls in app\n"
    assert run(box.exec(["quit"])).code == 137
    assert box.exit is not None
    assert box.exit.code == 3
    assert "not running" in run(box.exec(["ls"])).stderr


def test_a_command_dies_with_its_container_or_with_its_caller() -> None:
    machine = Machine()
    box = machine.start(_serve)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await box.exec(["own"])

    machine.loop.run_until_complete(impatient())
    machine.loop.run_until(machine.loop.time() + 0.1)
    assert box.cpu.runnable == 0
    machine.loop.call_later(0.5, box.kill)
    assert machine.loop.run_until_complete(box.exec(["own"])).code == 137


# -- memory ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=40))
def test_the_working_set_is_what_is_held(holds: list[tuple[str, int]]) -> None:
    node = NodeMemory(10_000, system=7)
    group = node.group(request=0, limit=None)
    held: dict[str, int] = {}
    for label, size in holds:
        group.hold(label, size)
        held[label] = size
        assert group.working_set == sum(held.values())
        assert node.used == group.working_set + 7
    group.close()
    assert node.used == 7


def test_the_limit_kills_once() -> None:
    killed: list[int] = []
    group = MemoryGroup(100)
    group.on_oom = lambda: killed.append(group.working_set)
    group.hold("a", 60)
    group.add("a", 40)
    assert (killed, group.held("a")) == ([], 100)
    group.hold("b", 1)
    group.hold("b", 2)
    assert killed == [101]


def test_a_full_node_kills_whoever_is_furthest_above_its_request() -> None:
    node = NodeMemory(1000 * MIB)
    killed: list[str] = []
    groups = {}
    for name, request in (("modest", 100), ("greedy", 0), ("entitled", 600)):
        group = groups[name] = node.group(request=request * MIB, limit=None)

        def die(name: str = name, group: MemoryGroup = group) -> None:
            killed.append(name)
            group.close()

        group.on_oom = die
    groups["entitled"].hold("x", 600 * MIB)
    groups["greedy"].hold("x", 250 * MIB)
    assert not node.pressure
    groups["modest"].hold("x", 149 * MIB)
    assert node.pressure
    groups["modest"].hold("x", 160 * MIB)
    assert killed == ["greedy"]
    assert node.available == 240 * MIB


# -- disks and nodes ------------------------------------------------------------------------------


def test_a_volume_fills_up_and_what_did_not_fit_was_not_written() -> None:
    volume = Volume(100)
    volume.write("wal", 60)
    volume.append("wal", 20)
    with pytest.raises(OSError, match="No space left on device") as caught:
        volume.append("table", 21)
    assert caught.value.errno == errno.ENOSPC
    assert (volume.used, volume.available, volume.size("table")) == (80, 20, 0)
    volume.write("wal", 10)
    volume.append("table", 90)
    volume.remove("wal")
    volume.remove("wal")
    assert volume.files() == {"table": 90}
    assert volume.used == 90


def test_a_neighbour_takes_cpu_and_memory_until_it_is_removed() -> None:
    machine = Machine()
    node = machine.node
    node.neighbour("batch", threads=6.0, memory=256 * MIB, weight=1.0)
    machine.loop.run_until(START + 10.0)
    assert node.cpu.usage_seconds == pytest.approx(20.0)
    assert node.memory.used == SYSTEM_MEMORY + 256 * MIB
    node.neighbour("batch", threads=0.5)
    assert node.cpu.runnable == 0.5
    assert node.memory.used == SYSTEM_MEMORY
    node.neighbour("batch", threads=0.0)
    node.neighbour("batch", threads=0.0)
    assert node.cpu.runnable == 0.0
    assert not node.neighbours
