"""Bringing a real PostgreSQL to what ``app.yaml`` says: roles, tables with rows, indexes, grants.

Each step does nothing where it was done before, so that an interrupted run is finished by the next.
Not here: the statements (``table_sql``).
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from aiopslab.models.app import App
from aiopslab.models.store import Store
from aiopslab.services.real.table_sql import SUPERUSER, name, role_sql, table_sql


async def create_roles(
    server: asyncpg.Connection, store: Store, passwords: Mapping[str, str]
) -> None:
    """Create the roles of a store, or give them their passwords and limits again."""
    for user in sorted(store.users):
        known = await server.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", user)
        await server.execute(role_sql("ALTER" if known else "CREATE", store, user, passwords[user]))


async def create_database(server: asyncpg.Connection, store: Store) -> None:
    """Create the database."""
    database = store.database or SUPERUSER
    if not await server.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
        await server.execute(f"CREATE DATABASE {name(database)}")


async def create_tables(database: asyncpg.Connection, app: App, store: str) -> None:
    """Create the tables that are missing, each with its rows, in one transaction a table."""
    for table in sorted(app.stores[store].tables):
        known = await database.fetchval("SELECT to_regclass($1)::text", f"public.{name(table)}")
        if known is None:
            async with database.transaction():
                for sql in table_sql(app, store, table):
                    await database.execute(sql)
            await database.execute(f"ANALYZE {name(table)}")
