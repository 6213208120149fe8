"""Bringing a real store to what ``app.yaml`` says, whichever kind it is.

The same source as in the world: users, grants and tables of the store, its limits, its streams.
Consumers are not made here: services create theirs at start, on both environments. Not here: the
configuration that a server starts with (``services.store_manifests``), a command line.
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from valkey.asyncio import Valkey

from aiopslab.models.app import App
from aiopslab.models.queue import Stream
from aiopslab.models.store import Store
from aiopslab.services.config import as_text
from aiopslab.services.real.queue import USER
from aiopslab.services.real.reach import Address
from aiopslab.services.real.table_sql import SUPERUSER
from aiopslab.services.real.tables import create_database, create_roles, create_tables

_CONNECT_S = 10.0


async def seed(
    app: App,
    store: str,
    address: Address,
    admin_password: str = "",
    passwords: Mapping[str, str] | None = None,
) -> None:
    """Bring a store to its state at the start of the app; what is there already stays.

    Args:
        app: The app.
        store: Name of the store.
        address: Where it listens.
        admin_password: Of ``postgres``; of the only user there is, for a cache or a queue.
        passwords: User to password, for the users of a database.

    Raises:
        OSError: The store cannot be reached.
        KeyError: A user of a database without a password.
    """
    spec = app.stores[store]
    match spec.kind:
        case "postgres":
            await _postgres(app, store, address, admin_password, passwords or {})
        case "valkey":
            await _valkey(spec, address, admin_password)
        case "nats":
            await _nats(spec, address, admin_password)


async def _postgres(
    app: App, store: str, address: Address, admin_password: str, passwords: Mapping[str, str]
) -> None:
    spec = app.stores[store]
    server = await _login(address, SUPERUSER, admin_password)
    try:
        await create_roles(server, spec, passwords)
        await create_database(server, spec)
    finally:
        await server.close()
    database = await _login(address, spec.database or SUPERUSER, admin_password)
    try:
        await create_tables(database, app, store)
    finally:
        await database.close()


async def _login(address: Address, database: str, password: str) -> asyncpg.Connection:
    host, port = address
    return await asyncpg.connect(
        host=host, port=port, user=SUPERUSER, password=password, database=database,
        ssl="disable", timeout=_CONNECT_S,
    )  # fmt: skip


async def _valkey(store: Store, address: Address, password: str) -> None:
    """Set the limits; a cache holds nothing at start."""
    async with Valkey(
        host=address[0], port=address[1], password=password or None,
        socket_connect_timeout=_CONNECT_S,
    ) as client:  # fmt: skip
        for key, value in store.config.items():
            await client.config_set(key, as_text(value))


async def _nats(store: Store, address: Address, password: str) -> None:
    client = Client()
    await client.connect(
        f"nats://{address[0]}:{address[1]}", allow_reconnect=False,
        connect_timeout=round(_CONNECT_S),
        user=USER if password else None, password=password or None,
    )  # fmt: skip
    try:
        js = client.jetstream()
        known = {info.config.name for info in await js.streams_info()}
        for name, stream in store.streams.items():
            if name not in known:
                await js.add_stream(stream_config(name, stream))
    finally:
        await client.close()


def stream_config(name: str, stream: Stream) -> StreamConfig:
    """Return the configuration of a stream as the server takes it."""
    return StreamConfig(
        name=name,
        subjects=list(stream.subjects),
        retention=RetentionPolicy(stream.retention),
        max_msgs=stream.max_msgs,
        max_bytes=stream.max_bytes,
        max_age=stream.max_age,
        discard=DiscardPolicy(stream.discard),
        storage=StorageType(stream.storage),
        duplicate_window=stream.duplicate_window,
        num_replicas=1,
    )
