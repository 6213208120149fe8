"""The cache client against a real Valkey: hits, expiry, limits, and servers that fail."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from stores import CACHE_PASSWORD as PASSWORD
from stores import Address, Process, free_port, run, start_valkey
from valkey.asyncio import Valkey
from waiting import until

from aiopslab.services.net_errors import (
    CacheError,
    ConnectionRefused,
    ConnectionReset,
    ConnectTimeout,
    NoSuchHost,
    PoolTimeout,
    RequestTimeout,
)
from aiopslab.services.protocols import PoolStats
from aiopslab.services.real.cache import CacheClient

SOON_S = 5.0


@asynccontextmanager
async def cache_of(address: Address, **options: Any) -> AsyncIterator[CacheClient]:
    given: dict[str, Any] = {"password": PASSWORD, "pool": 4, "pool_timeout_s": SOON_S, **options}
    client = CacheClient(address, **given)
    try:
        yield client
    finally:
        client.close()


@asynccontextmanager
async def operator(server: Process, password: str = PASSWORD) -> AsyncIterator[Valkey]:
    async with Valkey(
        host=server.address[0], port=server.address[1], password=password or None
    ) as client:
        yield client


async def ask(address: Address, **options: Any) -> str | None:
    async with cache_of(address, **options) as cache:
        return await cache.get("nothing", timeout_s=SOON_S)


# -- keys -----------------------------------------------------------------------------------------


def test_a_key_is_there_from_set_to_delete(valkey: Process) -> None:
    async def scenario() -> list[bool]:
        async with cache_of(valkey.address) as cache:
            found = [await cache.get("rates:7", timeout_s=SOON_S)]
            await cache.set("rates:7", 24 * 1024, None, timeout_s=SOON_S)
            found.append(await cache.get("rates:7", timeout_s=SOON_S))
            async with operator(valkey) as client:
                assert await client.strlen("rates:7") == 24 * 1024
                assert await client.ttl("rates:7") == -1
            await cache.delete("rates:7", timeout_s=SOON_S)
            found.append(await cache.get("rates:7", timeout_s=SOON_S))
            return [value is not None for value in found]

    assert run(scenario()) == [False, True, False]


def test_a_key_with_a_time_to_live_expires(valkey: Process) -> None:
    async def scenario() -> None:
        async with cache_of(valkey.address) as cache, operator(valkey) as client:
            await cache.set("long", 10, 600.0, timeout_s=SOON_S)
            assert 590 < await client.ttl("long") <= 600
            await cache.set("short", 10, 0.05, timeout_s=SOON_S)

            async def gone() -> bool:
                return await cache.get("short", timeout_s=SOON_S) is None

            await until(gone)

    run(scenario())


# -- the server's refusals ------------------------------------------------------------------------


async def fill(cache: CacheClient) -> None:
    for number in range(64):
        await cache.set(f"big:{number}", 1 << 20, None, timeout_s=SOON_S)


def test_a_full_cache_that_may_not_evict_says_so(valkey: Process) -> None:
    async def scenario() -> tuple[str, PoolStats]:
        async with cache_of(valkey.address) as cache:
            try:
                with pytest.raises(CacheError) as caught:
                    await fill(cache)
                assert await cache.get("big:0", timeout_s=SOON_S), "reading goes on"
                return str(caught.value), cache.stats()
            finally:
                async with operator(valkey) as client:
                    await client.flushall()

    text, stats = run(scenario())
    assert text == "OOM command not allowed when used memory > 'maxmemory'."
    assert stats == PoolStats(0, 1, 0, 4)


@pytest.mark.parametrize(
    ("password", "text"),
    [
        ("wrong", "WRONGPASS invalid username-password pair or user is disabled."),
        ("", "NOAUTH Authentication required."),
    ],
)
def test_a_wrong_password_is_refused_in_the_servers_words(
    valkey: Process, password: str, text: str
) -> None:
    with pytest.raises(CacheError) as caught:
        run(ask(valkey.address, password=password))
    assert str(caught.value) == text


def test_a_password_that_nobody_asks_for_is_refused() -> None:
    server = start_valkey()
    try:
        with pytest.raises(CacheError, match=r"^ERR AUTH <password> called without any password"):
            run(ask(server.address))
    finally:
        server.stop()


def test_a_server_takes_no_more_clients_than_it_may(valkey: Process) -> None:
    async def scenario() -> str:
        async with operator(valkey) as client, cache_of(valkey.address) as cache:
            await client.config_set("maxclients", "1")
            try:
                with pytest.raises(CacheError) as caught:
                    await cache.get("nothing", timeout_s=SOON_S)
                return str(caught.value)
            finally:
                await client.config_set("maxclients", "10000")

    assert run(scenario()) == "ERR max number of clients reached"


# -- the pool -------------------------------------------------------------------------------------


def test_a_pool_has_no_more_connections_than_its_size(valkey: Process) -> None:
    async def scenario() -> PoolStats:
        async with cache_of(valkey.address, pool=3) as cache:
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    group.create_task(cache.get(f"key:{number}", timeout_s=SOON_S))
            return cache.stats()

    assert run(scenario()) == PoolStats(0, 3, 0, 3)


def test_who_waits_too_long_for_a_connection_is_told(valkey: Process) -> None:
    async def scenario() -> None:
        async with operator(valkey) as client, cache_of(
            valkey.address, pool=1, pool_timeout_s=0.1
        ) as cache:  # fmt: skip
            await cache.get("warm", timeout_s=SOON_S)
            await client.client_pause(1500)
            async with asyncio.TaskGroup() as group:
                group.create_task(cache.get("slow", timeout_s=SOON_S))
                await until(lambda: cache.stats().used == 1)
                with pytest.raises(PoolTimeout):
                    await cache.get("other", timeout_s=SOON_S)

    run(scenario())


# -- the network ----------------------------------------------------------------------------------


def test_an_answer_that_does_not_come_in_time_is_a_timeout(valkey: Process) -> None:
    async def scenario() -> PoolStats:
        async with operator(valkey) as client, cache_of(valkey.address) as cache:
            await cache.get("warm", timeout_s=SOON_S)
            await client.client_pause(1500)
            with pytest.raises(RequestTimeout):
                await cache.get("slow", timeout_s=0.05)
            await client.client_unpause()
            return cache.stats()

    assert run(scenario()) == PoolStats(0, 0, 0, 4)


def test_a_port_where_nobody_listens_refuses() -> None:
    address = ("127.0.0.1", free_port())
    with pytest.raises(ConnectionRefused) as caught:
        run(ask(address))
    assert caught.value.address == f"127.0.0.1:{address[1]}"


def test_a_name_that_does_not_resolve_is_no_such_host() -> None:
    with pytest.raises(NoSuchHost):
        run(ask(("rate-valkey.invalid", 6379)))


def test_a_peer_that_never_answers_is_a_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(ConnectTimeout):
        run(ask(mute.getsockname(), pool_timeout_s=0.1))


def test_a_server_that_goes_resets_what_is_under_way_and_then_refuses() -> None:
    server = start_valkey()

    async def scenario() -> None:
        async with operator(server, "") as client, cache_of(server.address, password="") as cache:
            await cache.get("warm", timeout_s=SOON_S)
            await client.client_pause(60_000)
            task = asyncio.create_task(cache.get("slow", timeout_s=30.0))
            await until(lambda: cache.stats().used == 1)
            server.kill()
            with pytest.raises(ConnectionReset):
                await task
            with pytest.raises(ConnectionRefused):
                await cache.get("more", timeout_s=SOON_S)

    try:
        run(scenario())
    finally:
        server.stop()


def test_a_connection_that_the_server_closed_is_replaced(valkey: Process) -> None:
    async def scenario() -> PoolStats:
        async with operator(valkey) as client, cache_of(valkey.address) as cache:
            await cache.get("warm", timeout_s=SOON_S)
            await client.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: cache._pool._pool._idle[0][0].closed)
            await cache.get("again", timeout_s=SOON_S)
            return cache.stats()

    assert run(scenario()) == PoolStats(0, 1, 0, 4)
