"""What postgres_exporter says of a database. Not here: who asks (``asking``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiopslab.telemetry.otlp.metrics import Sample

if TYPE_CHECKING:
    import asyncpg

EXPORTER = "postgres_exporter"
"""What the session is called in ``pg_stat_activity``."""
STATES = ("active", "idle", "idle in transaction", "idle in transaction (aborted)")
_DATABASE = (
    "xact_commit", "xact_rollback", "deadlocks", "tup_returned", "tup_fetched", "tup_inserted",
    "tup_updated", "tup_deleted",
)  # fmt: skip
_FIGURES = f"""
SELECT current_setting('max_connections')::int AS max_connections,
       pg_database_size(current_database()) AS size,
       (SELECT count(*) FROM pg_locks
         WHERE database = d.datid AND pid <> pg_backend_pid()) AS locks,
       (SELECT count(*) FROM pg_stat_activity
         WHERE datid = d.datid AND wait_event_type = 'Lock') AS waiting,
       {", ".join(f"d.{name}" for name in _DATABASE)}
  FROM pg_stat_database d WHERE d.datname = current_database()
"""
_STATES = """
SELECT state, count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND state IS NOT NULL
 GROUP BY state
"""
_TABLES = "SELECT relname, seq_scan, idx_scan FROM pg_stat_user_tables ORDER BY relname"


async def figures(connection: asyncpg.Connection[asyncpg.Record], database: str) -> list[Sample]:
    """Ask a server through a session on one of its databases.

    Raises:
        asyncpg.PostgresError: It refused.
        OSError: The session is lost; ``asyncpg.InterfaceError`` too.
    """
    row = await connection.fetchrow(_FIGURES)
    states = {str(r[0]): int(r[1]) for r in await connection.fetch(_STATES)}
    tables = await connection.fetch(_TABLES)
    of = (("datname", database),)
    found = [up(1.0)]
    if row is not None:
        found += _of_database(dict(row), of)
    found += [
        Sample("pg_stat_activity_count", (*of, ("state", state)), float(states.get(state, 0)))
        for state in STATES
    ]
    for table in tables:
        labels = (*of, ("relname", str(table["relname"])))
        for scan in ("seq_scan", "idx_scan"):
            # A table without an index has no count of its scans.
            if table[scan] is not None:
                found.append(Sample(f"pg_stat_user_tables_{scan}", labels, float(table[scan])))
    return found


def up(value: float) -> Sample:
    """Return the sample that says whether the server answers."""
    return Sample("pg_up", (), value)


def _of_database(row: dict[str, Any], of: tuple[tuple[str, str], ...]) -> list[Sample]:
    named = {
        "pg_database_size_bytes": row["size"],
        "pg_locks_count": row["locks"],
        "pg_stat_activity_waiting_count": row["waiting"],
        **{f"pg_stat_database_{name}": row[name] for name in _DATABASE},
    }
    found = [Sample("pg_settings_max_connections", (), float(row["max_connections"]))]
    return found + [Sample(n, of, float(value)) for n, value in named.items() if value is not None]
