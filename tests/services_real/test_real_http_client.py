"""What a client of the real binding sees when the network or a peer misbehaves, and its pool."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import ExitStack, closing

import pytest
from real_hosts import LOOPBACK, Raw, client, raw_server, request_of, reserved, server
from waiting import until

from aiopslab.services import protocols as p
from aiopslab.services.protocols import Request, Response
from aiopslab.services.real.addresses import AddressBook
from aiopslab.services.real.http_client import HttpClient

GET = Request("GET", "/quote", {"item": "cup"}, client="front-0")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def failure(port: int, timeout_s: float = 20.0, request: Request = GET) -> p.NetError:
    async with client(port) as http:
        with pytest.raises(p.NetError) as caught:
            await http.send(request, timeout_s=timeout_s)
        assert http.stats().used == 0
    return caught.value


def test_a_port_nobody_listens_on_refuses() -> None:
    with closing(reserved()) as held:
        port = held.getsockname()[1]
        error = asyncio.run(failure(port))
    assert type(error) is p.ConnectionRefused
    assert (error.host, error.port, error.address) == ("peer", 8080, f"{LOOPBACK}:{port}")


def test_a_name_nobody_knows_has_no_host() -> None:
    async def scenario() -> None:
        http = HttpClient(("nowhere.invalid", 8080), AddressBook(), 1, 60.0, None)
        with pytest.raises(p.NoSuchHost) as caught:
            await http.send(GET, timeout_s=60.0)
        assert caught.value.address == ""
        await http.aclose()

    asyncio.run(scenario())


def test_a_peer_that_hangs_up_in_the_middle_resets() -> None:
    async def leave(state: Raw, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await request_of(state, reader)

    async def reset(state: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(state, reader)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def half(state: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(state, reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")

    async def scenario() -> None:
        for behave in (leave, reset, half):
            async with raw_server(behave) as peer:
                assert type(await failure(peer.port)) is p.ConnectionReset, behave

    asyncio.run(scenario())


def test_silence_after_the_connection_is_a_request_timeout() -> None:
    async def silent(state: Raw, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await request_of(state, reader)
        await reader.read()

    async def scenario() -> None:
        async with raw_server(silent) as peer:
            error = await failure(peer.port, 0.2)
            assert type(error) is p.RequestTimeout
            assert error.address == f"{LOOPBACK}:{peer.port}"

    asyncio.run(scenario())


def test_packets_that_vanish_are_a_connect_timeout() -> None:
    with ExitStack() as held:
        full = held.enter_context(closing(reserved()))
        full.listen(0)
        # A queue that is full drops what would open another connection.
        for _ in range(4):
            waiting = held.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        error = asyncio.run(failure(full.getsockname()[1], 0.3))
    assert type(error) is p.ConnectTimeout


def test_what_is_no_http_is_said_to_be_malformed() -> None:
    async def babble(
        state: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await request_of(state, reader)
        writer.write(b"-ERR unknown command 'GET'\r\n\r\n")
        await writer.drain()

    async def scenario() -> None:
        async with raw_server(babble) as peer:
            error = await failure(peer.port)
            assert type(error) is p.NetError
            assert "malformed HTTP response" in str(error)

    asyncio.run(scenario())


def test_a_request_is_never_sent_twice_by_itself() -> None:
    """An attempt that fails is the program's to repeat: it counts and logs that."""

    async def once(state: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(state, reader)
        writer.write(OK)
        await request_of(state, reader)

    async def scenario() -> None:
        async with raw_server(once) as peer, client(peer.port) as http:
            assert (await http.send(GET, timeout_s=20)).body == "ok"
            with pytest.raises(p.ConnectionReset):
                await http.send(GET, timeout_s=20)
            assert (len(peer.requests), peer.connections) == (2, 1)

    asyncio.run(scenario())


async def talk(state: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await request_of(state, reader)
        writer.write(OK)


@pytest.mark.parametrize(("max_age_s", "connections"), [(60.0, 1), (0.0, 3)])
def test_connections_are_kept_until_they_are_old(max_age_s: float, connections: int) -> None:
    async def scenario() -> None:
        async with raw_server(talk) as peer, client(peer.port, max_age_s=max_age_s) as http:
            for _ in range(3):
                await http.send(GET, timeout_s=20)
            assert peer.connections == connections
            assert http.stats() == p.PoolStats(used=0, idle=1, pending=0, size=4)

    asyncio.run(scenario())


def test_a_connection_the_server_gives_up_is_not_used_again() -> None:
    async def scenario() -> None:
        async def handler(request: Request) -> Response:
            return Response(200, close=True)

        async with server(handler) as port, client(port) as http:
            assert (await http.send(GET, timeout_s=20)).close
            assert http.stats().idle == 0

    asyncio.run(scenario())


def test_the_pool_bounds_connections_and_turns_away_who_waits_too_long() -> None:
    async def scenario() -> None:
        leave, active = asyncio.Event(), []

        async def handler(request: Request) -> Response:
            active.append(request)
            await leave.wait()
            return Response(200)

        async with server(handler) as port, client(port, pool=2) as http:
            sent = [asyncio.create_task(http.send(GET, timeout_s=30)) for _ in range(5)]
            await until(lambda: len(active) == 2)
            assert http.stats() == p.PoolStats(used=2, idle=0, pending=3, size=2)
            with pytest.raises(p.PoolTimeout, match=r"after 50ms \(total=2, active=2, idle=0"):
                await http.send(GET, timeout_s=0.05)
            leave.set()
            assert [r.status for r in await wait(sent)] == [200] * 5
            assert http.stats() == p.PoolStats(used=0, idle=2, pending=0, size=2)

    async def wait(tasks: list[asyncio.Task[Response]]) -> list[Response]:
        return [await task for task in tasks]

    asyncio.run(scenario())


def test_a_caller_that_is_cancelled_gives_its_connection_back() -> None:
    async def scenario() -> None:
        seen = asyncio.Event()

        async def silent(state: Raw, reader: asyncio.StreamReader, _: object) -> None:
            await request_of(state, reader)
            seen.set()
            await reader.read()

        async with raw_server(silent) as peer, client(peer.port, pool=1) as http:
            sent = asyncio.create_task(http.send(GET, timeout_s=30))
            await seen.wait()
            sent.cancel()
            await asyncio.wait([sent])
            assert http.stats() == p.PoolStats(used=0, idle=0, pending=0, size=1)

    asyncio.run(scenario())


def test_requests_travel_with_trace_caller_and_parameters() -> None:
    async def scenario() -> None:
        async with raw_server(talk) as peer, client(peer.port) as http:
            params = {"area": "Zürich & more", "day": "3"}
            await http.send(Request("GET", "/near", params, 0xA1, 0xB2, "front-0"), timeout_s=20)
            await http.send(Request("GET", "/near", {}, 0, 0, "front-0"), timeout_s=20)
            traced, poll = (head.decode() for head in peer.requests)
            assert traced.startswith("GET /near?area=Z%C3%BCrich+%26+more&day=3 HTTP/1.1\r\n")
            assert f"traceparent: 00-{0xA1:032x}-{0xB2:016x}-01\r\n" in traced
            assert "User-Agent: front-0\r\n" in traced
            assert "Host: peer:8080\r\n" in traced
            assert "traceparent" not in poll

    asyncio.run(scenario())
