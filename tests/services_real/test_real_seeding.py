"""Real databases hold what the apps say, and answer their statements as the simulated ones do.

By default large tables are cut short, which changes none of the answers; ``-m slow`` seeds them
whole.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg
import pytest
from app_stores import cut
from nats.aio.client import Client
from simulated import PASSWORD, SimulatedWorld
from stores import (
    CACHE_PASSWORD,
    SUPERUSER_PASSWORD,
    Address,
    Process,
    admin,
    run,
    start_postgres,
    started,
)
from valkey.asyncio import Valkey

from aiopslab.models.app import App
from aiopslab.models.step import SqlStep
from aiopslab.models.store import Statement, Store
from aiopslab.services.catalogue import load_app
from aiopslab.services.database import statements_of
from aiopslab.services.net_errors import SqlError
from aiopslab.services.real.seeding import seed
from aiopslab.services.real.spread import Repeated, spreads_of
from aiopslab.services.real.sql import SqlPool
from aiopslab.services.tables import columns_of, indexes_of, where_terms
from aiopslab.services.walk import walk
from aiopslab.world.images.postgres_rows import cell

TRIES = (1, 2, 5)
SINGLE_VALUES = {("shop", "insert_lines"): 1}
"""Statements that insert one row by their text, and are declared with what an order has of them."""


class Place(NamedTuple):
    """One database of an app."""

    app: str
    store: str


def places() -> list[Place]:
    return [
        Place(name, store)
        for name in ("hotel", "shop")
        for store, spec in load_app(name).stores.items()
        if spec.kind == "postgres"
    ]


class Seeded(NamedTuple):
    """All databases of both apps on one server."""

    address: Address
    apps: dict[str, App]

    def app(self, place: Place) -> App:
        return self.apps[place.app]

    def store(self, place: Place) -> Store:
        return self.apps[place.app].stores[place.store]

    @asynccontextmanager
    async def superuser(self, place: Place) -> AsyncIterator[asyncpg.Connection]:
        connection = await admin(self.address, self.store(place).database)
        try:
            yield connection
        finally:
            await connection.close()


@pytest.fixture(scope="module", params=["short", pytest.param("whole", marks=pytest.mark.slow)])
def seeded(request: pytest.FixtureRequest) -> Iterator[Seeded]:
    apps = {name: load_app(name) for name in ("hotel", "shop")}
    if request.param == "short":
        apps = {name: cut(app) for name, app in apps.items()}
    for server in started(start_postgres):
        for place in places():
            passwords = dict.fromkeys(apps[place.app].stores[place.store].users, PASSWORD)
            work = seed(apps[place.app], place.store, server.address, SUPERUSER_PASSWORD, passwords)
            run(work, within_s=240.0)
        yield Seeded(server.address, apps)


each_place = pytest.mark.parametrize("place", places(), ids="/".join)


# -- what is there --------------------------------------------------------------------------------


@each_place
def test_tables_have_their_columns_and_rows(seeded: Seeded, place: Place) -> None:
    async def found() -> dict[str, Any]:
        async with seeded.superuser(place) as connection:
            tables = {}
            for table in store.tables:
                columns = await connection.fetch(
                    "SELECT attname, format_type(atttypid, atttypmod) AS kind FROM pg_attribute "
                    "WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum",
                    table,
                )
                rows = await connection.fetchval(f"SELECT count(*) FROM {table}")
                tables[table] = ([c["attname"] for c in columns], rows)
            return tables

    store = seeded.store(place)
    assert run(found()) == {
        name: (list(columns_of(store, name)), table.rows) for name, table in store.tables.items()
    }


@each_place
def test_tables_have_the_indexes_of_the_world(seeded: Seeded, place: Place) -> None:
    async def found() -> set[str]:
        async with seeded.superuser(place) as connection:
            rows = await connection.fetch(
                "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
            )
            return {row["indexname"] for row in rows}

    store = seeded.store(place)
    expected = set()
    for name in store.tables:
        key = next(iter(columns_of(store, name)))
        expected |= {f"{name}_pkey" if key == "id" else f"{name}_{key}_idx"}
        expected |= set(indexes_of(store, name))
    assert run(found()) == expected


@each_place
def test_users_may_do_what_they_are_granted_and_no_more(seeded: Seeded, place: Place) -> None:
    async def found() -> dict[str, dict[str, set[str]]]:
        async with seeded.superuser(place) as connection:
            rows = await connection.fetch(
                "SELECT grantee, table_name, privilege_type "
                "FROM information_schema.table_privileges "
                "WHERE table_schema = 'public' AND grantee <> 'postgres'"
            )
            granted: dict[str, dict[str, set[str]]] = {}
            for user, table, privilege in rows:
                granted.setdefault(user, {}).setdefault(table, set()).add(privilege)
            return granted

    assert run(found()) == {
        name: {table: set(granted) for table, granted in user.grants.items()}
        for name, user in seeded.store(place).users.items()
    }


@each_place
def test_keys_are_drawn_from_where_the_rows_end(seeded: Seeded, place: Place) -> None:
    async def found() -> dict[str, tuple[str, int]]:
        async with seeded.superuser(place) as connection:
            rows = await connection.fetch(
                "SELECT sequencename, data_type::text, last_value FROM pg_sequences"
            )
            return {name: (kind, last) for name, kind, last in rows}

    simulated = SimulatedWorld().postgres(place.store, seeded.store(place))
    expected = {}
    for name in seeded.store(place).tables:
        sequence = simulated.table(name).sequence
        if sequence is not None and simulated.table(name).key == "id":
            expected[sequence.name] = (sequence.type, sequence.last)
    assert run(found()) == expected


@each_place
def test_cells_that_no_statement_looks_up_are_those_of_the_world(
    seeded: Seeded, place: Place
) -> None:
    simulated = SimulatedWorld().postgres(place.store, seeded.store(place))
    numbered = {t: simulated.table(t) for t in seeded.store(place).tables}
    for name, table in numbered.items():
        if table.key != "id":
            continue  # nothing says which row is which
        spread = spreads_of(seeded.app(place), place.store, name)
        plain = [column for column in table.columns if column not in spread]
        rows = run(first_page(seeded, place, name, plain))
        assert rows
        for key, row in enumerate(rows, start=1):
            expected = {column: cell(table, key, column) for column in plain}
            if isinstance(expected.get("id"), str):
                expected["id"] += f"-{key}"  # unique, as a real key must be
            assert {column: plainly(row[column]) for column in plain} == expected, name


async def first_page(
    seeded: Seeded, place: Place, table: str, columns: list[str]
) -> list[asyncpg.Record]:
    async with seeded.superuser(place) as connection:
        return await connection.fetch(
            f"SELECT {', '.join(columns)} FROM {table} WHERE ctid < '(1,0)'"
        )


def plainly(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case bytes():
            return value.decode()
        case dt.datetime():
            return value.astimezone(dt.UTC)
        case dt.date():
            return value.isoformat()
    return value


def test_seeding_again_changes_nothing(seeded: Seeded) -> None:
    place = Place("hotel", "user-postgres")

    async def scenario() -> tuple[int, int]:
        passwords = dict.fromkeys(seeded.store(place).users, PASSWORD)
        async with seeded.superuser(place) as connection:
            before: int = await connection.fetchval("SELECT 'sessions'::regclass::oid")
            await seed(
                seeded.app(place), place.store, seeded.address, SUPERUSER_PASSWORD, passwords
            )
            return before, await connection.fetchval("SELECT 'sessions'::regclass::oid")

    before, after = run(scenario())
    assert before == after


# -- the statements of the apps -------------------------------------------------------------------


class Use(NamedTuple):
    """A statement as a service runs it."""

    service: str
    name: str
    statement: Statement
    given: tuple[str, ...]
    """Names of the parameters that the service gives."""


def uses(app: App, store: str) -> list[Use]:
    found = []
    for service, spec in app.services.items():
        if spec.uses.get("db") != store:
            continue
        statements = statements_of(app, service, spec.image.version)
        bodies = [*spec.endpoints.values(), *(c.steps for c in spec.consumers.values())]
        bodies += [job.steps for job in app.jobs.values() if job.service == service]
        seen: dict[str, tuple[str, ...]] = {}
        for step in (step for body in bodies for step in walk(body)):
            if isinstance(step, SqlStep):
                seen.setdefault(step.sql, tuple(step.params))
        found += [Use(service, name, statements[name], given) for name, given in seen.items()]
    return found


def user_of(store: Store, use: Use) -> str:
    """Return the user of a service: of its own name, or the only one with the grant."""
    if use.service in store.users:
        return use.service
    table, kind = use.statement.table, use.statement.kind
    [user] = [n for n, u in store.users.items() if kind in u.grants.get(table, [])]
    return user


def params_of(app: App, store: str, use: Use, number: int) -> dict[str, str]:
    """Return parameters as users send them: the n-th value of each."""
    spread = spreads_of(app, store, use.statement.table)
    compared = {n: column for column, n in where_terms(use.statement.text)}
    found = {}
    for position, name in enumerate(use.given, start=1):
        repeated = spread.get(compared.get(position, ""))
        words = repeated.words if isinstance(repeated, Repeated) else ()
        found[name] = words[(number - 1) % len(words)] if words else str(number)
    return found


@each_place
def test_every_statement_finds_as_many_rows_as_in_the_simulated_world(
    seeded: Seeded, place: Place
) -> None:
    app, store = seeded.app(place), seeded.store(place)
    simulated = SimulatedWorld().postgres(place.store, store)

    async def real(use: Use, params: dict[str, str]) -> int:
        pool = SqlPool(
            seeded.address, user=user_of(store, use), password=PASSWORD, database=store.database,
            application=use.service, statements={use.name: use.statement}, pool=1,
            pool_timeout_s=10.0,
        )  # fmt: skip
        try:
            return (await pool.execute(use.name, params, timeout_s=30.0)).rows
        finally:
            pool.close()

    found, expected = {}, {}
    # What is inserted is found afterwards, on a real server: reading comes first.
    for use in sorted(uses(app, place.store), key=lambda use: use.statement.kind == "INSERT"):
        for number in TRIES:
            params = params_of(app, place.store, use, number)
            label = (use.service, use.name, *params.values())
            found[label] = run(real(use, params))
            client = simulated.client(user_of(store, use), {use.name: use.statement})
            done = simulated.world.do(client.execute(use.name, params, timeout_s=60.0))
            there = done.rows
            expected[label] = SINGLE_VALUES.get((place.app, use.name), there)
    assert found == expected
    assert {use.name for use in uses(app, place.store)} == set(store.statements)


def test_a_release_that_words_a_statement_for_a_column_to_come_fails_until_it_is_there(
    seeded: Seeded,
) -> None:
    place = Place("hotel", "reservation-postgres")
    statements = statements_of(seeded.app(place), "reservation", "5.4.0")

    async def take() -> int:
        pool = SqlPool(
            seeded.address, user="reservation", password=PASSWORD, database="reservations",
            application="reservation", statements=statements, pool=1, pool_timeout_s=10.0,
        )  # fmt: skip
        try:
            params = {"hotel": "3", "day": "3"}
            return (await pool.execute("take_room", params, timeout_s=30.0)).rows
        finally:
            pool.close()

    async def rename(old: str, new: str) -> None:
        async with seeded.superuser(place) as connection:
            await connection.execute(f"ALTER TABLE rooms RENAME COLUMN {old} TO {new}")

    with pytest.raises(SqlError) as caught:
        run(take())
    assert (caught.value.sqlstate, caught.value.message) == (
        "42703", 'column "sellable" does not exist',
    )  # fmt: skip
    run(rename("free", "sellable"))
    try:
        assert run(take()) == 1
    finally:
        run(rename("sellable", "free"))


# -- caches and queues ----------------------------------------------------------------------------


def test_a_cache_has_the_limits_of_its_store(valkey: Process) -> None:
    async def scenario() -> dict[str, str]:
        async with Valkey(
            host=valkey.address[0], port=valkey.address[1], password=CACHE_PASSWORD,
            decode_responses=True,
        ) as client:  # fmt: skip
            before: dict[str, str] = await client.config_get("maxmemory*")
            await seed(load_app("shop"), "cart-valkey", valkey.address, CACHE_PASSWORD)
            found: dict[str, str] = await client.config_get("maxmemory*")
            for key in ("maxmemory", "maxmemory-policy"):
                await client.config_set(key, before[key])
            return found

    found = run(scenario())
    assert (found["maxmemory"], found["maxmemory-policy"]) == ("33554432", "allkeys-lru")


def test_a_queue_has_the_streams_of_its_store(nats: Process) -> None:
    async def scenario() -> dict[str, tuple[Any, ...]]:
        client = Client()
        await client.connect(f"nats://{nats.address[0]}:{nats.address[1]}", allow_reconnect=False)
        try:
            js = client.jetstream()
            for _ in range(2):  # the second time nothing is left to do
                await seed(load_app("shop"), "events-nats", nats.address)
            return {
                info.config.name or "": (
                    info.config.subjects, info.config.retention, info.config.max_msgs,
                    info.config.discard, info.config.max_age, info.config.duplicate_window,
                )
                for info in await js.streams_info()
            }  # fmt: skip
        finally:
            await client.close()

    assert run(scenario()) == {
        "ORDERS": (["orders.>"], "interest", 100000, "new", 0.0, 120.0),
        "DEAD": (["dead.>"], "limits", -1, "old", 259200.0, 120.0),
    }
