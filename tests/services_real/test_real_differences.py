"""The same story told to a simulated store and to a real one: the app must hear the same.

What is compared is what a service sees: results, and the class and words of errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from app_stores import cut
from simulated import PASSWORD, SimulatedWorld
from stores import (
    SUPERUSER_PASSWORD,
    Process,
    admin,
    run,
    start_nats,
    start_postgres,
    start_valkey,
    started,
)

from aiopslab.models.app import App
from aiopslab.models.store import Store
from aiopslab.services.catalogue import load_app
from aiopslab.services.database import statements_of
from aiopslab.services.messaging import Message, Queue, QueueError, Subscription
from aiopslab.services.protocols import Cache, CacheError, NetError, Sql, SqlError
from aiopslab.services.real.cache import CacheClient
from aiopslab.services.real.queue import QueueClient
from aiopslab.services.real.seeding import seed
from aiopslab.services.real.sql import SqlPool

SOON_S = 5.0


async def told(work: Awaitable[Any]) -> Any:
    """Return what a caller gets, errors as their class and text."""
    try:
        return await work
    except (SqlError, CacheError, QueueError) as error:
        return type(error).__name__, str(error)
    except NetError as error:
        return type(error).__name__


# -- SQL ------------------------------------------------------------------------------------------

DATABASE = "reservation-postgres"
Dial = Callable[..., Sql]
Operate = Callable[..., Awaitable[None]]


async def sql_story(dial: Dial, operate: Operate) -> list[Any]:
    """What the reservation service sees while its database is broken in many ways."""
    heard: list[Any] = []
    place, day = {"hotel": "3"}, {"hotel": "3", "day": "3"}

    async def ask(name: str, params: dict[str, str], **who: str) -> None:
        client = dial(**who)
        heard.append(await told(client.execute(name, params, timeout_s=SOON_S)))

    async def broken(*sql: str, undo: tuple[str, ...], calls: Any = (("take_room", day),)) -> None:
        await operate(*sql)
        for name, params in calls:
            await ask(name, params)
        await operate(*undo)

    await ask("calendar_by_hotel", place)
    await ask("calendar_by_hotel", place, password="wrong")
    await ask("calendar_by_hotel", place, user="nobody")
    await ask("calendar_by_hotel", place, database="nowhere")
    reservation = {"hotel": "3", "customer": "9", "day": "3"}
    await ask("insert_reservation", reservation)
    await broken(
        "REVOKE UPDATE ON rooms FROM reservation",
        undo=("GRANT UPDATE ON rooms TO reservation",),
        calls=(("take_room", day), ("calendar_by_hotel", place)),
    )
    await broken(
        "ALTER TABLE rooms RENAME COLUMN free TO sellable",
        undo=("ALTER TABLE rooms RENAME COLUMN sellable TO free",),
        calls=(("take_room", day), ("calendar_by_hotel", place)),
    )
    await broken("ALTER ROLE reservation NOLOGIN", undo=("ALTER ROLE reservation LOGIN",))
    await broken(
        "ALTER ROLE reservation CONNECTION LIMIT 0",
        undo=("ALTER ROLE reservation CONNECTION LIMIT -1",),
    )
    await broken(
        "SELECT setval('reservations_id_seq', 2147483647)",
        undo=("ALTER SEQUENCE reservations_id_seq AS bigint",
              "SELECT setval('reservations_id_seq', 1000000)"),
        calls=(("insert_reservation", reservation),),
    )  # fmt: skip
    await ask("insert_reservation", reservation)
    tables = ("rooms", "allotments", "reservations")
    await broken(
        *(f"REVOKE ALL ON {table} FROM reservation" for table in tables),
        "DROP ROLE reservation",
        undo=(f"CREATE ROLE reservation LOGIN PASSWORD '{PASSWORD}'",
              "GRANT SELECT, UPDATE ON rooms TO reservation",
              "GRANT SELECT ON allotments TO reservation",
              "GRANT SELECT, INSERT ON reservations TO reservation"),
    )  # fmt: skip
    await ask("take_room", day)
    await ask("insert_reservation", reservation)
    await broken("DROP INDEX rooms_hotel_idx", undo=("CREATE INDEX ON rooms (hotel)",))
    await broken("DROP TABLE allotments", undo=(), calls=(("allotments", {"area": "1", **day}),))
    return heard


def database() -> tuple[App, Store]:
    app = cut(load_app("hotel"))
    return app, app.stores[DATABASE]


def simulated_sql(app: App, store: Store) -> list[Any]:
    world = SimulatedWorld()
    server = world.postgres(DATABASE, store)
    statements = statements_of(app, "reservation", app.services["reservation"].image.version)

    def dial(user: str = "reservation", **other: str) -> Sql:
        return server.client(user, statements, **other)

    async def operate(*sql: str) -> None:
        for text in sql:
            await server.program.admin(text.replace("INDEX ON", "INDEX rooms_hotel_idx ON"))

    return world.do(sql_story(dial, operate))


def real_sql(app: App, store: Store, server: Process) -> list[Any]:
    statements = statements_of(app, "reservation", app.services["reservation"].image.version)
    pools: list[SqlPool] = []

    def dial(user: str = "reservation", password: str = PASSWORD, database: str = "") -> Sql:
        pool = SqlPool(
            server.address, user=user, password=password, database=database or store.database,
            application="test", statements=statements, pool=2, pool_timeout_s=5.0,
        )  # fmt: skip
        pools.append(pool)
        return pool

    async def operate(*sql: str) -> None:
        while pools:
            pools.pop().close()
        connection = await admin(server.address, store.database)
        for text in sql:
            await connection.execute(text)
        await connection.close()

    async def story() -> list[Any]:
        await seed(app, DATABASE, server.address, SUPERUSER_PASSWORD, {"reservation": PASSWORD})
        heard = await sql_story(dial, operate)
        await operate()
        return heard

    return run(story())


def test_a_database_that_is_broken_sounds_the_same() -> None:
    app, store = database()
    for server in started(start_postgres):
        assert real_sql(app, store, server) == simulated_sql(app, store)


# -- caches ---------------------------------------------------------------------------------------


NOAUTH = "NOAUTH Authentication required."


async def cache_story(cache: Cache) -> list[Any]:
    heard = [await told(cache.get("a", timeout_s=SOON_S))]
    heard.append(await told(cache.set("a", 100, None, timeout_s=SOON_S)))
    heard.append(await told(cache.get("a", timeout_s=SOON_S)) is not None)
    heard.append(await told(cache.set("b", 100, 0.05, timeout_s=SOON_S)))
    await asyncio.sleep(0.2)
    heard.append(await told(cache.get("b", timeout_s=SOON_S)))
    heard.append(await told(cache.delete("a", timeout_s=SOON_S)))
    heard.append(await told(cache.get("a", timeout_s=SOON_S)))
    if ("CacheError", NOAUTH) in heard:
        return heard  # a real server takes nothing large from strangers, and hangs up
    for number in range(8):
        full = await told(cache.set(f"big:{number}", 2 << 20, None, timeout_s=SOON_S))
    return [*heard, full]


@pytest.mark.parametrize("password", [PASSWORD, "wrong", ""])
def test_a_cache_sounds_the_same(password: str) -> None:
    app = load_app("shop")
    limits: dict[str, Any] = {"maxmemory": 8 << 20, "maxmemory-policy": "noeviction"}
    store = app.stores["cart-valkey"].model_copy(update={"config": limits})
    world = SimulatedWorld()
    expected = world.do(cache_story(world.valkey("cart-valkey", store, password)))

    async def story(server: Process) -> list[Any]:
        client = CacheClient(server.address, password=password, pool=4, pool_timeout_s=5.0)
        try:
            return await cache_story(client)
        finally:
            client.close()

    args = [word for k, v in limits.items() for word in (f"--{k}", str(v))]
    for server in started(lambda: start_valkey("--requirepass", PASSWORD, *args)):
        assert run(story(server)) == expected


# -- queues ---------------------------------------------------------------------------------------

PACKER = Subscription("ORDERS", "packer", "orders.placed", 30.0, 5, 3, ())


async def queue_story(queue: Queue) -> list[Any]:
    heard: list[Any] = []

    async def publish(subject: str, order: str, size: int = 300, id: str = "") -> None:
        params = {"order": order}
        work = queue.publish(
            subject, params, size=size, id=id, trace_id=7, span_id=9, timeout_s=SOON_S
        )
        heard.append(await told(work))

    async def fetch(batch: int, wait_s: float = SOON_S, packer: Subscription = PACKER
                    ) -> list[Message]:  # fmt: skip
        found = await told(queue.fetch(packer, batch, wait_s=wait_s, timeout_s=wait_s + SOON_S))
        if isinstance(found, tuple | str):
            heard.append(found)
            return []
        heard.append([(m.stream, m.sequence, m.subject, m.params, m.size, m.delivery, m.trace_id,
                       m.span_id) for m in found])  # fmt: skip
        return list(found)

    async def answer(work: Awaitable[None]) -> None:
        heard.append(await told(work))

    await publish("returns.placed", "o-0")
    await fetch(1, packer=replace(PACKER, durable="nobody"))
    await answer(queue.subscribe(replace(PACKER, stream="RETURNS"), timeout_s=SOON_S))
    await answer(queue.subscribe(PACKER, timeout_s=SOON_S))
    await fetch(5, 0.1)
    for order in ("o-1", "o-2", "o-3", "o-4"):
        await publish("orders.placed", order, id=order)
    await publish("orders.placed", "o-4", id="o-4")
    await publish("orders.cancelled", "o-1")
    one, two, three = await fetch(5)
    await answer(queue.ack(PACKER, one, timeout_s=SOON_S))
    await answer(queue.nak(PACKER, two, 0.0, timeout_s=SOON_S))
    await answer(queue.term(PACKER, three, timeout_s=SOON_S))
    again, four = await fetch(5)
    await answer(queue.nak(PACKER, again, 0.3, timeout_s=SOON_S))
    await answer(queue.ack(PACKER, four, timeout_s=SOON_S))
    await fetch(5, 0.05)
    [again] = await fetch(5)
    await answer(queue.ack(PACKER, again, timeout_s=SOON_S))
    await answer(queue.ack(PACKER, again, timeout_s=SOON_S))
    hasty = replace(PACKER, durable="hasty", ack_wait_s=0.1, max_deliver=2)
    await answer(queue.subscribe(hasty, timeout_s=SOON_S))
    [_] = await fetch(1, packer=hasty)
    await asyncio.sleep(0.3)
    [_] = await fetch(1, packer=hasty)
    await publish("orders.placed", "o-5", size=2 << 20)
    for number in range(6, 12):
        await publish("orders.placed", f"o-{number}")
    return heard


def queue_store() -> Store:
    stream = {"subjects": ["orders.>"], "max_msgs": 8, "discard": "new"}
    spec = load_app("shop").stores["events-nats"].model_dump()
    return Store.model_validate({**spec, "streams": {"ORDERS": stream}})


def test_a_queue_sounds_the_same() -> None:
    store = queue_store()
    world = SimulatedWorld()
    expected = world.do(queue_story(world.nats("events-nats", store, PASSWORD)))
    shop = load_app("shop")
    app = shop.model_copy(update={"stores": {**shop.stores, "events-nats": store}})

    async def story(server: Process) -> list[Any]:
        await seed(app, "events-nats", server.address, PASSWORD)
        client = QueueClient(server.address, password=PASSWORD)
        try:
            return await queue_story(client)
        finally:
            await client.close()

    login = f"authorization {{ user: default, password: {PASSWORD} }}"
    for server in started(lambda: start_nats(login)):
        assert run(story(server)) == expected


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_queue_that_refuses_a_login_sounds_the_same(password: str) -> None:
    world = SimulatedWorld()
    queue = world.nats("events-nats", queue_store(), password)
    expected = world.do(told(queue.subscribe(PACKER, timeout_s=SOON_S)))

    async def story(server: Process) -> Any:
        return await told(
            QueueClient(server.address, password=password).subscribe(PACKER, timeout_s=SOON_S)
        )

    login = f"authorization {{ user: default, password: {PASSWORD} }}"
    for server in started(lambda: start_nats(login)):
        assert run(story(server)) == expected == ("QueueError", "Authorization Violation")
