"""The server on loopback: small answers at once, open connections cut, nothing left behind."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from starlette.responses import PlainTextResponse

from aiopslab.wire import server
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
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
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
            held = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
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
