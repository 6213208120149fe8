"""SQL against a real PostgreSQL: what a service sees when something is wrong, and its pool."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from stores import (
    Address,
    Process,
    admin,
    free_port,
    run,
    start_postgres,
    started,
)
from waiting import until

from aiopslab.models.store import Statement
from aiopslab.services.net_errors import (
    ConnectionRefused,
    ConnectionReset,
    ConnectTimeout,
    NoSuchHost,
    PoolTimeout,
    RequestTimeout,
    SqlError,
    TlsError,
)
from aiopslab.services.protocols import PoolStats
from aiopslab.services.real.sql import SqlPool

DATABASE = "clients"
SETUP = """
CREATE ROLE app LOGIN PASSWORD 'secret';
CREATE ROLE few LOGIN PASSWORD 'secret' CONNECTION LIMIT 1;
CREATE ROLE locked NOLOGIN PASSWORD 'secret';
"""
TABLES = """
CREATE TABLE items (id bigserial PRIMARY KEY, customer integer, amount numeric, label text,
                    added_at timestamptz);
INSERT INTO items (customer, amount, label) SELECT 1 + k % 10, k, 'item ' || k
FROM generate_series(1, 100) k;
CREATE TABLE vault (id integer);
GRANT SELECT, INSERT, UPDATE ON items TO app, few;
GRANT USAGE ON SEQUENCE items_id_seq TO app;
"""


def statement(text: str) -> Statement:
    return Statement(text=text, table="items", kind="SELECT")


STATEMENTS = {
    "by_customer": statement("SELECT id, label FROM items WHERE customer = $1"),
    "add": statement("INSERT INTO items (customer, amount, label) VALUES ($1, $2, $3)"),
    "touch": statement("UPDATE items SET amount = amount + 1 WHERE customer = $1"),
    "by_amount": statement("SELECT id FROM items WHERE amount > $1"),
    "since": statement("SELECT id FROM items WHERE added_at > $1"),
    "no_column": statement("SELECT colour FROM items WHERE customer = $1"),
    "no_table": statement("SELECT id FROM parcels WHERE customer = $1"),
    "vault": statement("SELECT id FROM vault"),
    "sleep": statement("SELECT pg_sleep(30)"),
    "pid": statement(
        "SELECT 1 FROM pg_stat_activity WHERE pid = pg_backend_pid() AND application_name = 'cart'"
    ),
}


@pytest.fixture(scope="module")
def server(postgres: Process) -> Process:
    async def prepare() -> None:
        connection = await admin(postgres.address)
        await connection.execute(SETUP)
        await connection.execute(f"CREATE DATABASE {DATABASE}")
        await connection.close()
        connection = await admin(postgres.address, DATABASE)
        await connection.execute(TABLES)
        await connection.close()

    run(prepare())
    return postgres


@asynccontextmanager
async def pool_of(address: Address, **options: Any) -> AsyncIterator[SqlPool]:
    given: dict[str, Any] = {
        "user": "app", "password": "secret", "database": DATABASE, "application": "cart",
        "statements": STATEMENTS, "pool": 2, "pool_timeout_s": 5.0, **options,
    }  # fmt: skip
    pool = SqlPool(address, **given)
    try:
        yield pool
    finally:
        pool.close()


async def rows(address: Address, name: str, params: dict[str, str] | None = None, **options: Any
               ) -> int:  # fmt: skip
    async with pool_of(address, **options) as pool:
        return (await pool.execute(name, params or {}, timeout_s=10.0)).rows


def refusal(address: Address, name: str, params: dict[str, str] | None = None, **options: Any
            ) -> tuple[str, str, str]:  # fmt: skip
    with pytest.raises(SqlError) as caught:
        run(rows(address, name, params, **options))
    return caught.value.sqlstate, caught.value.message, caught.value.severity


@asynccontextmanager
async def superuser(server: Process) -> AsyncIterator[asyncpg.Connection]:
    connection = await admin(server.address, DATABASE)
    try:
        yield connection
    finally:
        await connection.close()


# -- statements -----------------------------------------------------------------------------------


def test_statements_return_how_many_rows_they_found_or_touched(server: Process) -> None:
    async def scenario() -> list[int]:
        async with pool_of(server.address) as pool:
            calls = [
                ("by_customer", {"c": "3"}), ("touch", {"c": "3"}),
                ("add", {"c": "77", "a": "1.5", "l": "x"}), ("by_customer", {"c": "77"}),
                ("by_customer", {"c": "999"}),
            ]  # fmt: skip
            return [(await pool.execute(n, p, timeout_s=5.0)).rows for n, p in calls]

    assert run(scenario()) == [10, 10, 1, 1, 0]


def test_an_insert_that_is_given_less_than_it_has_columns_fills_them_by_name(
    server: Process,
) -> None:
    async def scenario() -> Any:
        await rows(server.address, "add", {"label": "lonely"})
        async with superuser(server) as connection:
            return await connection.fetchrow("SELECT * FROM items WHERE label = 'lonely'")

    found = run(scenario())
    assert (found["customer"], found["amount"]) == (None, None)


def test_the_session_carries_the_name_of_the_service(server: Process) -> None:
    assert run(rows(server.address, "pid")) == 1


def test_a_table_that_changed_is_read_again_with_its_new_shape(server: Process) -> None:
    async def scenario() -> int:
        statements = {"all": statement("SELECT a FROM shapes")}
        async with superuser(server) as connection, pool_of(
            server.address, statements=statements, pool=1
        ) as pool:  # fmt: skip
            await connection.execute("CREATE TABLE shapes AS SELECT 1 AS a")
            await connection.execute("GRANT SELECT ON shapes TO app")
            await pool.execute("all", {}, timeout_s=5.0)
            await connection.execute("ALTER TABLE shapes ALTER a TYPE bigint")
            return (await pool.execute("all", {}, timeout_s=5.0)).rows

    assert run(scenario()) == 1


# -- the server's refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("no_column", {"c": "1"}, ("42703", 'column "colour" does not exist', "ERROR")),
        ("no_table", {"c": "1"}, ("42P01", 'relation "parcels" does not exist', "ERROR")),
        ("vault", {}, ("42501", "permission denied for table vault", "ERROR")),
    ],
)
def test_what_a_statement_may_not_do_is_refused_in_the_servers_words(
    server: Process, name: str, params: dict[str, str], expected: tuple[str, str, str]
) -> None:
    assert refusal(server.address, name, params) == expected


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("by_customer", "seven", "integer"),
        ("by_customer", "99999999999", "integer"),
        ("by_amount", "much", "numeric"),
        ("since", "yesterdayish", "timestamp with time zone"),
    ],
)
def test_text_that_is_no_value_is_refused_as_the_server_would(
    server: Process, name: str, value: str, kind: str
) -> None:
    async def asked() -> tuple[str, str, str]:
        async with superuser(server) as connection:
            with pytest.raises(asyncpg.PostgresError) as caught:
                await connection.execute(f"SELECT '{value}'::{kind}")
        error = caught.value
        return error.sqlstate or "", error.message or "", error.severity or ""

    assert refusal(server.address, name, {"p": value}) == run(asked())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"password": "wrong"},
         ("28P01", 'password authentication failed for user "app"', "FATAL")),
        ({"user": "ghost"},
         ("28P01", 'password authentication failed for user "ghost"', "FATAL")),
        ({"user": "locked"}, ("28000", 'role "locked" is not permitted to log in', "FATAL")),
        ({"database": "nope"}, ("3D000", 'database "nope" does not exist', "FATAL")),
    ],
)  # fmt: skip
def test_a_session_is_refused_in_the_servers_words(
    server: Process, options: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert refusal(server.address, "pid", **options) == expected


def test_a_role_has_no_more_connections_than_its_limit(server: Process) -> None:
    async def scenario() -> SqlError:
        async with pool_of(server.address, user="few") as pool:
            await pool.execute("pid", {}, timeout_s=5.0, keep=True)
            with pytest.raises(SqlError) as caught:
                await pool.execute("pid", {}, timeout_s=5.0)
            return caught.value

    error = run(scenario())
    assert (error.sqlstate, error.severity) == ("53300", "FATAL")
    assert error.message == 'too many connections for role "few"'


@pytest.mark.parametrize(
    ("setting", "sqlstate", "message"),
    [
        ("lock_timeout", "55P03", "canceling statement due to lock timeout"),
        ("statement_timeout", "57014", "canceling statement due to statement timeout"),
    ],
)
def test_a_statement_that_waits_for_a_lock_ends_with_the_servers_patience(
    server: Process, setting: str, sqlstate: str, message: str
) -> None:
    async def scenario() -> SqlError:
        async with superuser(server) as connection, pool_of(server.address) as pool:
            await connection.execute(f"ALTER ROLE app SET {setting} = '50ms'")
            try:
                async with connection.transaction():
                    await connection.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
                    with pytest.raises(SqlError) as caught:
                        await pool.execute("touch", {"c": "1"}, timeout_s=20.0)
                assert pool.stats() == PoolStats(0, 1, 0, 2), "an ERROR leaves the session usable"
            finally:
                await connection.execute(f"ALTER ROLE app RESET {setting}")
            return caught.value

    error = run(scenario())
    assert (error.sqlstate, error.message, error.severity) == (sqlstate, message, "ERROR")


def test_a_deadline_that_passes_closes_the_connection(server: Process) -> None:
    async def scenario() -> PoolStats:
        async with pool_of(server.address) as pool:
            with pytest.raises(RequestTimeout) as caught:
                await pool.execute("sleep", {}, timeout_s=0.1)
            assert caught.value.address == f"127.0.0.1:{server.address[1]}"
            return pool.stats()

    assert run(scenario()) == PoolStats(0, 0, 0, 2)


def test_a_caller_that_is_cancelled_gives_its_slot_back(server: Process) -> None:
    async def scenario() -> int:
        async with pool_of(server.address, pool=1) as pool:
            task = asyncio.create_task(pool.execute("sleep", {}, timeout_s=20.0))
            await until(lambda: pool.stats().used == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await pool.execute("by_customer", {"c": "1"}, timeout_s=5.0)).rows

    assert run(scenario()) > 0


# -- the pool -------------------------------------------------------------------------------------


def test_a_pool_has_no_more_connections_than_its_size(server: Process) -> None:
    async def scenario() -> int:
        async with (
            superuser(server) as connection,
            pool_of(server.address, pool=3, application="crowd") as pool,
        ):
            async with asyncio.TaskGroup() as group:
                for _ in range(30):
                    group.create_task(pool.execute("by_customer", {"c": "1"}, timeout_s=10.0))
            assert pool.stats() == PoolStats(0, 3, 0, 3)
            count: int = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crowd'"
            )
            return count

    assert run(scenario()) == 3


def test_who_waits_too_long_for_a_connection_is_told_how_full_the_pool_is(
    server: Process,
) -> None:
    async def scenario() -> str:
        async with pool_of(server.address, pool=1, pool_timeout_s=0.1) as pool:
            await pool.execute("pid", {}, timeout_s=5.0, keep=True)
            assert pool.stats() == PoolStats(1, 0, 0, 1)
            with pytest.raises(PoolTimeout) as caught:
                await pool.execute("pid", {}, timeout_s=5.0)
            return caught.value.detail

    assert run(scenario()) == (
        "request timed out after 100ms (total=1, active=1, idle=0, waiting=0)"
    )


def test_connections_are_kept_ready(server: Process) -> None:
    async def scenario() -> PoolStats:
        async with pool_of(server.address, pool=5) as pool:
            await pool.keep(4)
            return pool.stats()

    assert run(scenario()) == PoolStats(0, 4, 0, 5)


# -- the network ----------------------------------------------------------------------------------


def test_a_port_where_nobody_listens_refuses() -> None:
    address = ("127.0.0.1", free_port())
    with pytest.raises(ConnectionRefused) as caught:
        run(rows(address, "pid"))
    assert (caught.value.host, caught.value.port) == address
    assert caught.value.address == f"127.0.0.1:{address[1]}"


def test_a_name_that_does_not_resolve_is_no_such_host() -> None:
    with pytest.raises(NoSuchHost):
        run(rows(("rate-postgres.invalid", 5432), "pid"))


def test_a_peer_that_never_answers_is_a_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(ConnectTimeout):
        run(rows(mute.getsockname(), "pid", pool_timeout_s=0.2))


def test_a_peer_that_hangs_up_is_a_reset() -> None:
    async def scenario() -> None:
        async with await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0) as rude:
            await rows(rude.sockets[0].getsockname(), "pid")

    with pytest.raises(ConnectionReset):
        run(scenario())


def test_tls_is_refused_by_a_server_without_it(server: Process) -> None:
    assert run(rows(server.address, "pid", sslmode="prefer")) == 1
    with pytest.raises(TlsError, match="server refused TLS connection"):
        run(rows(server.address, "pid", sslmode="require"))


def test_tls_is_used_where_the_server_has_it_and_the_client_asks() -> None:
    encrypted = statement("SELECT 1 FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl")

    async def scenario(server: Process) -> list[int]:
        await with_role(server)
        options = BARE | {"statements": {"tls": encrypted}}
        return [
            await rows(server.address, "tls", sslmode=mode, **options)
            for mode in ("disable", "prefer", "require")
        ]

    for server in started(lambda: start_postgres(tls=True)):
        assert run(scenario(server)) == [0, 1, 1]


# -- a server that fails --------------------------------------------------------------------------


@pytest.fixture
def fragile() -> Iterator[Process]:
    yield from started(lambda: start_postgres("max_connections = 5"))


BARE: dict[str, Any] = {
    "user": "app", "database": "postgres", "statements": {"sleep": STATEMENTS["sleep"]},
}  # fmt: skip


async def with_role(server: Process) -> None:
    connection = await admin(server.address)
    await connection.execute("CREATE ROLE app LOGIN PASSWORD 'secret'")
    await connection.close()


async def asleep(server: Process, pool: SqlPool) -> asyncio.Task[Any]:
    """Have a statement run on the server."""
    task = asyncio.create_task(pool.execute("sleep", {}, timeout_s=30.0))
    connection = await admin(server.address)
    await until(lambda: connection.fetchval(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'active' "
        "AND query = 'SELECT pg_sleep(30)'"
    ))  # fmt: skip
    await connection.close()
    return task


def test_a_server_full_of_users_keeps_slots_for_superusers(fragile: Process) -> None:
    async def scenario() -> SqlError:
        await with_role(fragile)
        async with pool_of(fragile.address, **BARE, pool=5) as pool:
            with pytest.raises(SqlError) as caught:
                await pool.keep(5)
            assert pool.stats().idle == 2
            return caught.value

    error = run(scenario())
    assert (error.sqlstate, error.severity) == ("53300", "FATAL")
    assert error.message.startswith("remaining connection slots are reserved for")


def test_a_server_that_shuts_down_tells_its_clients_and_then_refuses(fragile: Process) -> None:
    async def scenario() -> SqlError:
        await with_role(fragile)
        async with pool_of(fragile.address, **BARE) as pool:
            task = await asleep(fragile, pool)
            fragile.kill(signal.SIGINT)
            with pytest.raises(SqlError) as caught:
                await task
            with pytest.raises(ConnectionRefused):
                await pool.execute("sleep", {}, timeout_s=1.0)
            return caught.value

    error = run(scenario())
    assert (error.sqlstate, error.severity) == ("57P01", "FATAL")
    assert error.message == "terminating connection due to administrator command"


def test_a_server_that_dies_resets_its_connections(fragile: Process) -> None:
    async def scenario() -> None:
        await with_role(fragile)
        async with pool_of(fragile.address, **BARE) as pool:
            task = await asleep(fragile, pool)
            fragile.kill(signal.SIGQUIT)
            await task

    with pytest.raises(ConnectionReset):
        run(scenario())


def test_a_backend_that_is_killed_resets_the_connection(fragile: Process) -> None:
    async def scenario() -> None:
        await with_role(fragile)
        async with pool_of(fragile.address, **BARE) as pool:
            task = await asleep(fragile, pool)
            connection = await admin(fragile.address)
            pid = await connection.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)'"
            )
            connection.terminate()
            os.kill(pid, signal.SIGKILL)
            await task

    with pytest.raises(ConnectionReset):
        run(scenario())
