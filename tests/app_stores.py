"""All data stores of an app, real and seeded: what its services find when they run as processes.

One PostgreSQL has the databases of all stores, whose limits on connections add up; each cache and
each queue is a server of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from stores import SUPERUSER_PASSWORD, Address, Process, start_nats, start_postgres, start_valkey

from aiopslab.models.app import App
from aiopslab.models.store import Store
from aiopslab.services.config import as_text
from aiopslab.services.real.seeding import seed

USER = "default"
"""The only user of a cache or a queue."""
_SPARE = 20
"""Connections for the tests themselves."""


def cut(app: App, rows: int = 20_000) -> App:
    """Return the app with no table longer than that: enough for what its users ask for."""
    stores = {}
    for name, store in app.stores.items():
        tables = {
            key: table.model_copy(update={"rows": min(table.rows, rows)})
            for key, table in store.tables.items()
        }
        stores[name] = store.model_copy(update={"tables": tables})
    return app.model_copy(update={"stores": stores})


@asynccontextmanager
async def running(app: App, password: Callable[[str, str], str]) -> AsyncIterator[
    dict[Address, Address]
]:  # fmt: skip
    """Run and seed the stores of an app.

    Args:
        app: The app.
        password: Gives the password of a store's user.

    Yields:
        The name and port of each store, to where it listens.
    """
    async with AsyncExitStack() as stack:

        async def start(make: Callable[[], Process]) -> Process:
            server = await asyncio.to_thread(make)
            stack.callback(server.stop)
            return server

        book: dict[Address, Address] = {}
        databases = [store for store in app.stores.values() if store.kind == "postgres"]
        if databases:
            most = sum(int(store.config.get("max_connections", 100)) for store in databases)
            setting = f"max_connections = {most + _SPARE}"
            database = await start(lambda: start_postgres(setting))
        for name, store in app.stores.items():
            passwords = {user: password(name, user) for user in store.users}
            if store.kind == "postgres":
                address, admin = database.address, SUPERUSER_PASSWORD
            else:
                admin = passwords.get(USER, "")
                server = await start(lambda store=store, admin=admin: _make(store, admin))
                address = server.address
            await seed(app, name, address, admin, passwords)
            book[name, store.port] = address
        yield book


def _make(store: Store, password: str) -> Process:
    if store.kind == "valkey":
        args = [word for k, v in store.config.items() for word in (f"--{k}", as_text(v))]
        return start_valkey(*args, *(["--requirepass", password] if password else []))
    inner = ("max_file_store", "max_memory_store")
    lines = [f"{k}: {as_text(v)}" for k, v in store.config.items() if k not in inner]
    if password:
        # A server that is given a password without a name for it asks nobody for it.
        lines.append(f"authorization {{ user: {USER}, password: {password} }}")
    jetstream = [f"  {k}: {as_text(v)}" for k, v in store.config.items() if k in inner]
    return start_nats(*lines, jetstream=jetstream)
