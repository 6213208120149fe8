"""Ports of a pod on loopback: bytes both ways, and what a failed connection is called."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_served import NAMESPACE, Cluster, end, hotel, standing

from aiopslab.environments.cluster.forwarding import forwarded
from aiopslab.environments.sim import Sim

POD = "geo-postgres-0"
PORT = 5432


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    found = hotel()
    found.run_for(40.0)
    yield found
    end(found)


def echoing(*, error: bytes = b"", ends: bool = False) -> Any:
    """Answer every port with what it is sent, in capitals; or fail it."""

    def around(api: Any, _tokens: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "websocket":
                await api(scope, receive, send)
                return
            await receive()
            await send({"type": "websocket.accept", "subprotocol": "v4.channel.k8s.io"})
            for channel in (0, 1):
                start = bytes([channel]) + struct.pack("<H", PORT)
                await send({"type": "websocket.send", "bytes": start})
            if error:
                await send({"type": "websocket.send", "bytes": b"\x01" + error})
            while not ends and (message := await receive())["type"] != "websocket.disconnect":
                answer = b"\x00" + message["bytes"][1:].upper()
                await send({"type": "websocket.send", "bytes": answer})
            if ends:
                await send({"type": "websocket.close", "code": 1000})

        return app

    return around


async def said(address: tuple[str, int], text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(text)
    try:
        async with asyncio.timeout(120.0):
            return await reader.read(len(text))
    finally:
        writer.close()


def test_bytes_go_both_ways_on_connections_side_by_side(sim: Sim, tmp_path: Path) -> None:
    texts = [b"one", b"two" * 40_000, b"\x00\xff three"]

    async def scenario(cluster: Cluster) -> list[bytes]:
        async with forwarded(cluster.connect(), NAMESPACE, POD, PORT) as port:
            found = []
            for text in texts:
                reader, writer = await asyncio.open_connection(*port.address)
                writer.write(text)
                found.append(await reader.readexactly(len(text)))
                writer.close()
            async with asyncio.TaskGroup() as tasks:
                both = [tasks.create_task(said(port.address, t)) for t in (b"a", b"b")]
            assert port.failure == ""
            return [*found, *(task.result() for task in both)]

    with standing(sim, tmp_path, echoing()) as (cluster, run):
        assert run(scenario(cluster)) == [t.upper() for t in [*texts, b"a", b"b"]]


@pytest.mark.parametrize(
    "around", [echoing(error=b"connection refused in pod"), echoing(ends=True)]
)
def test_a_port_that_fails_is_hung_up_on(sim: Sim, tmp_path: Path, around: Any) -> None:
    async def scenario(cluster: Cluster) -> tuple[bytes, str]:
        async with forwarded(cluster.connect(), NAMESPACE, POD, PORT) as port:
            return await said(port.address, b"hello"), port.failure

    with standing(sim, tmp_path, around) as (cluster, run):
        data, failure = run(scenario(cluster))
    assert data == b""
    assert failure in ("connection refused in pod", "")


def test_a_pod_that_is_not_there_is_named(sim: Sim, tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> tuple[bytes, str]:
        async with forwarded(cluster.connect(), NAMESPACE, "nobody", PORT) as port:
            return await said(port.address, b"hello"), port.failure

    with standing(sim, tmp_path) as (cluster, run):
        data, failure = run(scenario(cluster))
    assert data == b""
    assert 'pods "nobody" not found' in failure


def test_a_connection_that_is_open_ends_with_the_block(sim: Sim, tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> bytes:
        async with forwarded(cluster.connect(), NAMESPACE, POD, PORT) as port:
            reader, writer = await asyncio.open_connection(*port.address)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"X"
        async with asyncio.timeout(120.0):
            rest = await reader.read()
        writer.close()
        return rest

    with standing(sim, tmp_path, echoing()) as (cluster, run):
        assert run(scenario(cluster)) == b""
