"""Logging in at a NATS server: one that found us slow is asked again, one that refuses is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from stores import Address, Process, start_nats, started

from aiopslab.environments.cluster import queue
from aiopslab.errors import InfraError

PASSWORD = "right"
SLOW = b"-ERR 'Authentication Timeout'\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    login = f"authorization {{ user: default, password: {PASSWORD} }}"
    yield from started(lambda: start_nats(login))


class Door:
    """Hangs up on the first callers as a server does that waited too long; lets later ones in."""

    def __init__(self, address: Address, slow: int) -> None:
        self.calls = 0
        self.carried: set[asyncio.Task[None]] = set()
        self._address = address
        self._slow = slow

    def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        self.carried.add(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.calls <= self._slow:
            writer.write(b"INFO {}\r\n")
            await reader.readline()
            writer.write(SLOW)
            await _closed(writer)
            return
        inner_reader, inner_writer = await asyncio.open_connection(*self._address)
        async with asyncio.TaskGroup() as group:
            group.create_task(_pumped(reader, inner_writer))
            group.create_task(_pumped(inner_reader, writer))


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(4096):
            writer.write(data)
    await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def door(server: Process, slow: int) -> AsyncIterator[tuple[Door, Address]]:
    """Stand before a server."""
    standing = Door(server.address, slow)
    listening = await asyncio.start_server(standing.answer, "127.0.0.1", 0)
    async with listening:
        host, port = listening.sockets[0].getsockname()[:2]
        yield standing, (host, port)
        await asyncio.wait(standing.carried)


async def asked(server: Process, slow: int, password: str = PASSWORD) -> tuple[int, str]:
    """Ask for the account's figures; return how often the server was called, and what came."""
    async with door(server, slow) as (standing, address):
        try:
            text = await queue.ask(address, password, "INFO {}")
        except InfraError as error:
            return standing.calls, error.message
        return standing.calls, text


@pytest.mark.parametrize("slow", [0, 1, 2])
def test_a_server_that_found_us_slow_is_asked_again(server: Process, slow: int) -> None:
    calls, text = asyncio.run(asked(server, slow))
    assert calls == slow + 1
    assert "streams" in json.loads(text)


def test_a_server_that_finds_us_slow_for_ever_is_given_up_with_its_words(server: Process) -> None:
    calls, text = asyncio.run(asked(server, 99))
    assert calls == 3
    assert "Authentication Timeout" in text


def test_a_wrong_password_is_not_tried_again(server: Process) -> None:
    calls, text = asyncio.run(asked(server, 0, "wrong"))
    assert calls == 1
    assert "Authorization Violation" in text


def test_a_list_is_done_one_after_another_on_one_connection(server: Process) -> None:
    stream = {"name": "LISTED", "config": {"subjects": ["listed.>"], "max_bytes": 1_000_000}}
    bodies = [{"subject": "listed.a", "data": {"n": str(n)}} for n in range(3)]

    async def done() -> tuple[int, list[dict[str, object]]]:
        async with door(server, 0) as (standing, address):
            await queue.ask(address, PASSWORD, f"STREAM.CREATE {json.dumps(stream)}")
            text = await queue.ask(address, PASSWORD, f"PUB {json.dumps(bodies)}")
            return standing.calls, json.loads(text)

    calls, answers = asyncio.run(done())
    assert calls == 2
    assert [one["seq"] for one in answers] == [1, 2, 3]
