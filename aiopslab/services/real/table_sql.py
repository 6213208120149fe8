"""The SQL that brings a PostgreSQL to what ``app.yaml`` says: roles, tables with rows, grants.

Statements only, for whoever has a way to run them (``tables``, ``environments.cluster.seeding``).
The columns and indexes are those of the world (``services.tables``), but a first column with
repeated values has an ordinary index instead of a primary key. As in the world, sequences are
everybody's: INSERT on a table is all that a role needs, and all that must be revoked before it can
be dropped. Settings of the server belong to its configuration (``services.store_manifests``).
"""

from __future__ import annotations

from typing import Literal

from aiopslab.models.app import App
from aiopslab.models.store import Store
from aiopslab.services.real.cells import cell, literal, salts_of, source
from aiopslab.services.real.spread import spreads_of
from aiopslab.services.tables import columns_of, indexes_of, sequence_type

SUPERUSER = "postgres"
_HIGHEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


def role_sql(verb: Literal["CREATE", "ALTER"], store: Store, user: str, password: str) -> str:
    """Return the SQL that makes a role of a store, or gives it its password and limit again."""
    limit = store.users[user].connection_limit
    return (
        f"{verb} ROLE {name(user)} LOGIN "
        f"CONNECTION LIMIT {-1 if limit is None else limit} PASSWORD {literal(password)}"
    )


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
