"""Bringing a real PostgreSQL to what ``app.yaml`` says: roles, tables with rows, indexes, grants.

Each step does nothing where it was done before, so that an interrupted run is finished by the next.
The columns and indexes are those of the world (``services.tables``), but a first column with
repeated values has an ordinary index instead of a primary key. As in the world, sequences are
everybody's: INSERT on a table is all that a role needs, and all that must be revoked before it can
be dropped. Settings of the server belong to its configuration (``services.store_manifests``).
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from aiopslab.models.app import App
from aiopslab.models.store import Store
from aiopslab.services.real.cells import cell, literal, salts_of, source
from aiopslab.services.real.spread import spreads_of
from aiopslab.services.tables import columns_of, indexes_of, sequence_type

SUPERUSER = "postgres"
_HIGHEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


async def create_roles(
    server: asyncpg.Connection, store: Store, passwords: Mapping[str, str]
) -> None:
    """Create the roles of a store, or give them their passwords and limits again."""
    for user in sorted(store.users):
        known = await server.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", user)
        limit = store.users[user].connection_limit
        await server.execute(
            f"{'ALTER' if known else 'CREATE'} ROLE {name(user)} LOGIN "
            f"CONNECTION LIMIT {-1 if limit is None else limit} "
            f"PASSWORD {literal(passwords[user])}"
        )


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


def table_sql(app: App, store: str, table: str) -> list[str]:
    """Return the SQL that makes a table: its columns, rows, keys and grants."""
    spec, columns = app.stores[store].tables[table], columns_of(app.stores[store], table)
    spreads = spreads_of(app, store, table)
    key = next(iter(columns))
    unique = key == "id"
    if unique:
        spreads.pop(key, None)
    cells = [
        cell(column, kind, key=column == key, rows=spec.rows, spread=spreads.get(column))
        for column, kind in columns.items()
    ]
    listed = ", ".join(f"{name(column)} {kind}" for column, kind in columns.items())
    sql = [
        f"CREATE TABLE {name(table)} ({listed})",
        f"INSERT INTO {name(table)} SELECT {', '.join(cells)} "
        f"FROM {source(salts_of(table, columns, spreads), spec.rows)}",
    ]
    if unique:
        sql.append(f"ALTER TABLE {name(table)} ADD PRIMARY KEY ({name(key)})")
        sql += _sequence(table, key, columns[key], spec.sequence, spec.rows)
    else:
        sql.append(f"CREATE INDEX {name(f'{table}_{key}_idx')} ON {name(table)} ({name(key)})")
    sql += [
        f"CREATE INDEX {name(index)} ON {name(table)} ({name(column)})"
        for index, column in indexes_of(app.stores[store], table).items()
    ]
    return [*sql, *_grants(app.stores[store], table)]


def _sequence(table: str, key: str, kind: str, made_as: str, rows: int) -> list[str]:
    chosen = sequence_type(kind, made_as)
    if chosen is None:
        return []
    sequence = name(f"{table}_{key}_seq")
    return [
        f"CREATE SEQUENCE {sequence} AS {chosen} MAXVALUE {_HIGHEST[chosen]} "
        f"OWNED BY {name(table)}.{name(key)}",
        f"SELECT setval('{sequence}', {max(rows, 1)}, {str(rows > 0).lower()})",
        f"ALTER TABLE {name(table)} ALTER COLUMN {name(key)} SET DEFAULT nextval('{sequence}')",
        f"GRANT USAGE ON SEQUENCE {sequence} TO PUBLIC",
    ]


def _grants(store: Store, table: str) -> list[str]:
    return [
        f"GRANT {', '.join(granted)} ON {name(table)} TO {name(user)}"
        for user in sorted(store.users)
        if (granted := store.users[user].grants.get(table))
    ]


def name(identifier: str) -> str:
    """Quote an identifier."""
    return '"' + identifier.replace('"', '""') + '"'
