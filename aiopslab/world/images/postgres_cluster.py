"""A database cluster as it lies on its volume: roles, grants, settings, tables.

What outlives the server process: it is kept by the volume and opened again at the next start.
Not here: sessions and locks (``postgres_sessions``, ``postgres_locks``), SQL
(``postgres_sql``, ``postgres_execute``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiopslab.models.store import Store
from aiopslab.services.tables import columns_of, indexes_of
from aiopslab.services.tables import where_columns as where_columns
from aiopslab.services.tables import where_terms as where_terms
from aiopslab.world.images.postgres_sequences import Sequence, owned_by

SUPERUSER = "postgres"
PRIVILEGES = ("INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
"""Table privileges in the order in which ``\\dp`` prints their letters (arwdDxt)."""
PAGE = 8192
_TUPLE_OVERHEAD = 28
_DATABASE_BASE = 7_500_000
"""Bytes of a fresh database: the system catalogues."""


@dataclass(slots=True)
class Role:
    """A role; ``password`` None cannot log in over the network."""

    name: str
    password: str | None = None
    superuser: bool = False
    login: bool = True
    connection_limit: int = -1
    oid: int = 0


@dataclass(slots=True)
class TableState:
    """A table: which keys exist, who may do what, what it has been through.

    Rows are the keys from ``first_key`` to before ``next_key`` without ``gone``; their cells are
    derived from key and column (``postgres_rows``) unless ``edits`` says otherwise.
    """

    name: str
    row_bytes: int
    columns: dict[str, str]
    indexes: dict[str, str]
    """Name to indexed column."""
    oid: int
    next_key: int
    first_key: int = 1
    gone: set[int] = field(default_factory=set)
    edits: dict[int, dict[str, Any]] = field(default_factory=dict)
    acl: dict[str, set[str]] = field(default_factory=dict)
    """Role to privileges; superusers need none."""
    allocated: int = 0
    """Bytes of its file."""
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    dead: int = 0
    seq_scans: int = 0
    idx_scans: int = 0
    analyzed: bool = True
    """Whether the planner has statistics."""
    analyzed_at: float | None = None
    lost: set[str] = field(default_factory=set)
    """Columns that were dropped or renamed."""
    sequence: Sequence | None = None
    """Of the key."""

    @property
    def key(self) -> str:
        """Name of the key column, the first."""
        return next(iter(self.columns))

    @property
    def rows(self) -> int:
        """Rows now."""
        return self.next_key - self.first_key - len(self.gone)

    @property
    def bytes(self) -> int:
        """Bytes that live and dead rows need, in whole pages."""
        return -(-(self.rows + self.dead) * (self.row_bytes + _TUPLE_OVERHEAD) // PAGE) * PAGE

    def remove_oldest(self, count: int) -> int:
        """Delete the rows with the lowest keys; return how many there were."""
        removed = 0
        while removed < count and self.first_key < self.next_key:
            if self.first_key in self.gone:
                self.gone.discard(self.first_key)
            else:
                removed += 1
            self.edits.pop(self.first_key, None)
            self.first_key += 1
        return removed

    def rename(self, column: str, name: str) -> None:
        """Give a column another name; its place, its indexes and its values stay."""
        self.columns = {name if c == column else c: kind for c, kind in self.columns.items()}
        self.indexes = {n: name if c == column else c for n, c in self.indexes.items()}
        for cells in self.edits.values():
            if column in cells:
                cells[name] = cells.pop(column)
        self.lost.add(column)
        self.lost.discard(name)

    def clear(self) -> None:
        """Delete every row."""
        self.first_key = self.next_key
        self.gone.clear()
        self.edits.clear()
        self.dead = 0

    def vacuum(self) -> None:
        """Make the space of dead rows reusable."""
        self.dead = 0


@dataclass(slots=True)
class Cluster:
    """Everything initdb and later statements wrote."""

    database: str
    roles: dict[str, Role]
    tables: dict[str, TableState]
    overrides: dict[str, str] = field(default_factory=dict)
    """``postgresql.auto.conf``: what ALTER SYSTEM wrote."""
    connect_revoked: set[str] = field(default_factory=set)
    """Roles without CONNECT on the database."""
    next_oid: int = 16500
    wal_written: int = 0
    """Bytes of WAL since initdb."""
    wal_segments: int = 1
    """Segments of 16 MiB on disk."""
    clean: bool = True
    """False while a server runs, and after a crash."""

    def take_oid(self) -> int:
        """Return a fresh object id."""
        self.next_oid += 1
        return self.next_oid

    def size(self) -> int:
        """Bytes of the app's database."""
        return _DATABASE_BASE + sum(table.allocated for table in self.tables.values())

    def row_counts(self) -> dict[str, int]:
        """Rows by table, in name order."""
        return {name: self.tables[name].rows for name in sorted(self.tables)}


def initdb(store: Store, passwords: Mapping[str, str]) -> Cluster:
    """Create the cluster of a store.

    Args:
        store: Users, grants and tables.
        passwords: Role to password; a role without an entry cannot log in over the network.
    """
    cluster = Cluster(database=store.database or SUPERUSER, roles={}, tables={})
    cluster.roles[SUPERUSER] = Role(SUPERUSER, passwords.get(SUPERUSER), superuser=True, oid=10)
    for name in sorted({*store.users, *passwords} - {SUPERUSER}):
        user = store.users.get(name)
        limit = None if user is None else user.connection_limit
        cluster.roles[name] = Role(
            name,
            passwords.get(name),
            connection_limit=-1 if limit is None else limit,
            oid=cluster.take_oid(),
        )
    for name in sorted(store.tables):
        cluster.tables[name] = _create_table(store, name, cluster.take_oid())
    return cluster


def _create_table(store: Store, name: str, oid: int) -> TableState:
    spec = store.tables[name]
    columns = columns_of(store, name)
    table = TableState(name, spec.row_bytes, columns, {}, oid, next_key=spec.rows + 1)
    table.indexes = {f"{name}_pkey": table.key, **indexes_of(store, name)}
    table.allocated = table.bytes
    kind = columns[table.key]
    table.sequence = owned_by(name, table.key, kind, spec.rows, spec.sequence)
    for user in sorted(store.users):
        if granted := store.users[user].grants.get(name):
            table.acl[user] = set(granted)
    return table
