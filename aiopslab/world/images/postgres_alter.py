"""ALTER TABLE and ALTER SEQUENCE: what migrations do to columns and to the keys of new rows.

Not here: rows, indexes and locks themselves (``postgres_cluster``, ``postgres_locks``).
"""

from __future__ import annotations

from aiopslab.world.images import postgres_locks as lk
from aiopslab.world.images.messages import PgError, Rows
from aiopslab.world.images.postgres_cluster import TableState
from aiopslab.world.images.postgres_expressions import SqlFailure
from aiopslab.world.images.postgres_functions import require_superuser, sequence_of
from aiopslab.world.images.postgres_sequences import HIGHEST
from aiopslab.world.images.postgres_server import Database
from aiopslab.world.images.postgres_sessions import Session
from aiopslab.world.images.postgres_syntax import AlterSequence, AlterTable

_REWRITES = ("TYPE",)


async def alter_table(db: Database, session: Session, statement: AlterTable) -> Rows:
    """Change a column, under an ACCESS EXCLUSIVE lock. Raises SqlFailure 42701 or 42703."""
    table = db.table(statement.table)
    require_superuser(session, f"must be owner of table {table.name}")
    await db.lock(session, lk.Lockable(table.name), lk.ACCESS_EXCLUSIVE)
    if statement.action in _REWRITES:
        await db.burn_text(table)
    _change(table, statement)
    return Rows(0, tag="ALTER TABLE")


def _change(table: TableState, statement: AlterTable) -> None:
    column = statement.column
    if statement.action == "ADD":
        if column in table.columns:
            if not statement.if_exists:
                raise _exists(table, column)
            return
        table.columns[column] = statement.value
        table.lost.discard(column)
        return
    if column not in table.columns:
        if statement.if_exists:
            return
        message = f'column "{column}" of relation "{table.name}" does not exist'
        raise SqlFailure(PgError("42703", message))
    match statement.action:
        case "RENAME":
            if statement.value in table.columns:
                raise _exists(table, statement.value)
            table.rename(column, statement.value)
        case "TYPE":
            table.columns[column] = statement.value
        case "DROP":
            del table.columns[column]
            table.indexes = {n: c for n, c in table.indexes.items() if c != column}
            table.lost.add(column)


def _exists(table: TableState, column: str) -> SqlFailure:
    message = f'column "{column}" of relation "{table.name}" already exists'
    return SqlFailure(PgError("42701", message))


def alter_sequence(db: Database, session: Session, statement: AlterSequence) -> Rows:
    """Change type, bound or next value of a sequence. Raises SqlFailure 42P01, 22003 or 22023."""
    sequence = sequence_of(db, statement.name)
    require_superuser(session, f"must be owner of sequence {statement.name}")
    highest = statement.highest
    if statement.unbounded:
        highest = HIGHEST.get(statement.type or sequence.type)
    sequence.alter(statement.type, highest)
    if statement.restart is not None:
        sequence.set(statement.restart)
        sequence.last -= 1
    return Rows(0, tag="ALTER SEQUENCE")
