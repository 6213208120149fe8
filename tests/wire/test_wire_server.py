"""The server on loopback: small answers at once, crowds, silent clients, nothing left behind."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse

from aiopslab.wire import accepting, server
from aiopslab.wire.accepting import room
from aiopslab.wire.certificate import self_signed
from aiopslab.wire.server import listening

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import Receive, Scope, Send

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[uvicorn.Server]:
    """Every server that the test starts."""
    found: list[uvicorn.Server] = []

    class Noted(server._Server):
        def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
            super().__init__(config, listener)
            found.append(self)

    monkeypatch.setattr(server, "_Server", Noted)
    return found


def test_an_answer_in_two_writes_does_not_wait_for_an_acknowledgement(
    started: list[uvicorn.Server],
) -> None:
    async def nodelay() -> int:
        async with listening(hello) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            (connection,) = started[0].server_state.connections
            held = connection.transport.get_extra_info("socket")
            flag: int = held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            return flag

    assert asyncio.run(nodelay()) != 0


def test_a_client_that_stays_is_cut_when_the_server_ends() -> None:
    async def rest() -> bytes:
        async with listening(hello) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            await reader.readuntil(b"hello")
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    assert asyncio.run(rest()) == b""


def test_a_port_is_free_again_afterwards() -> None:
    async def once() -> int:
        async with listening(hello) as port:
            return port

    port = asyncio.run(once())
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def several(server: uvicorn.Server, number: int) -> None:
    """Wait until a server holds so many connections."""
    while len(server.server_state.connections) != number:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)


def test_connections_beyond_the_room_wait_until_others_end(
    started: list[uvicorn.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "MOST", 2)

    async def crowd() -> list[bytes]:
        async with asyncio.timeout(60), listening(hello) as port:
            held = [await connected(port) for _ in range(2)]
            await several(started[0], 2)
            waiting = [await connected(port) for _ in range(20)]
            for _, writer in waiting:
                writer.write(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            # One that is served says that all before it in the kernel's queue had to wait.
            held[0][1].close()
            answers = []
            for reader, writer in waiting:
                answers.append(await reader.read())
                assert len(started[0].server_state.connections) <= 2
                writer.close()
            held[1][1].close()
            return answers

    answers = asyncio.run(crowd())
    assert len(answers) == 20
    assert all(a.startswith(b"HTTP/1.1 200 OK") and a.endswith(b"hello") for a in answers)


@pytest.mark.parametrize("sent", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_client_that_asks_nothing_is_cut(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWEEP_TICKS", 1)

    async def silence() -> bytes:
        async with asyncio.timeout(60), listening(hello) as port:
            reader, writer = await connected(port)
            writer.write(sent)
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

    assert asyncio.run(silence()) == b""


def test_a_client_that_waits_for_its_answer_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWEEP_TICKS", 1)
    looks: list[None] = []
    enough = asyncio.Event()
    sweep = accepting.Acceptor.sweep

    def counted(acceptor: accepting.Acceptor) -> None:
        sweep(acceptor)
        looks.append(None)
        if len(looks) > 4:
            enough.set()

    monkeypatch.setattr(accepting.Acceptor, "sweep", counted)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await enough.wait()
        await hello(scope, receive, send)

    async def patience() -> bytes:
        async with asyncio.timeout(60), listening(slow) as port:
            reader, writer = await connected(port)
            writer.write(REQUEST)
            answer = await reader.readuntil(b"hello")
            writer.close()
            return answer

    assert asyncio.run(patience()).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_does_not_speak_tls_is_dropped_and_the_next_is_served(tmp_path: Path) -> None:
    certificate = self_signed("127.0.0.1")
    trust = ssl.create_default_context(cadata=certificate.certificate.decode())

    async def scene() -> tuple[bytes, bytes]:
        async with asyncio.timeout(60), listening(hello, tls=certificate.files(tmp_path)) as port:
            reader, writer = await connected(port)
            writer.write(REQUEST)
            refused = await reader.read()
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
            writer.write(REQUEST)
            served = await reader.readuntil(b"hello")
            writer.close()
            return refused, served

    refused, served = asyncio.run(scene())
    assert b"HTTP" not in refused
    assert served.startswith(b"HTTP/1.1 200 OK")


@given(st.integers(1, 2**40))
def test_the_room_is_a_part_of_the_files_that_may_be_open(files: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resource, "getrlimit", lambda _: (files, files))
        assert 1 <= room() <= accepting.MOST
        assert files < 6 or 2 * room() < files
