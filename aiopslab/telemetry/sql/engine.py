"""SQL over the signals: one judged SELECT, bounded in time, memory and rows.

Each statement has a connection of its own: DuckDB keeps threads while one is open, and a world must
have none when it is forked. Nothing of the host can be reached: no files, no extensions, no Python
variables, no clock. Neighbours: ``guard`` (what may run), ``tables`` (what can be read), ``bounds``
(how long and how large).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aiopslab.models.timestamps import rfc3339
from aiopslab.telemetry.answers import SqlAnswer
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.sql import guard
from aiopslab.telemetry.sql.bounds import memory_limit, time_limit
from aiopslab.telemetry.sql.tables import SETUP, VIEWS, Tables

if TYPE_CHECKING:
    import duckdb

    from aiopslab.telemetry.store import Store

MAX_ROWS = 10_000
"""Rows of one answer."""
MAX_CHARACTERS = 2_000_000
"""Text of one answer; what follows is cut off as if beyond the limit."""
MAX_CELL = 20_000
"""Characters of one value."""
_FETCH = 64
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "256MB",
    "max_temp_directory_size": "0B",
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "max_expression_depth": 250,
}
_PLAIN = (str, bool, int, type(None))


class SqlEngine:
    """Runs SELECT statements over a store.

    Args:
        store: The telemetry.
        now: The world's clock, which is what SQL's clocks tell.
        time_limit_s: Seconds of the host that a statement may take.
    """

    def __init__(
        self, store: Store, now: Callable[[], float], *, time_limit_s: float = 5.0
    ) -> None:
        self._tables = Tables(store)
        self._now = now
        self._time_limit_s = time_limit_s

    def query(self, query: str, *, limit: int = 1000) -> SqlAnswer:
        """Run one SELECT.

        Raises:
            QueryError: Refused, malformed, or over a limit of time or memory.
        """
        import duckdb  # noqa: PLC0415 - slow to import, needed for SQL only

        if not 1 <= limit <= MAX_ROWS:
            raise QueryError(f"limit must lie between 1 and {MAX_ROWS}")
        connection = duckdb.connect(":memory:", config=_CONFIG)
        try:
            statement = guard.check(connection, query)
            self._open(connection, statement.tables)
            with memory_limit(), time_limit(connection, self._time_limit_s):
                cursor = connection.execute(query)
                description = cursor.description or []
                rows, more = _fetched(cursor, limit)
        except duckdb.InterruptException as error:
            raise QueryError(
                f"the statement took longer than {self._time_limit_s:g} s; select less"
            ) from error
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise QueryError("the statement needs too much memory; select less") from error
        except duckdb.Error as error:
            raise QueryError(_worded(error)) from error
        except (RecursionError, UnicodeError, OverflowError, ValueError) as error:
            raise QueryError("the values of the answer cannot be shown") from error
        finally:
            connection.close()
        return SqlAnswer(
            columns=[column[0] for column in description],
            types=[str(column[1]) for column in description],
            rows=rows,
            truncated=more,
            ordered=statement.ordered,
        )

    def _open(self, connection: duckdb.DuckDBPyConnection, tables: Sequence[str]) -> None:
        """Make the views that a statement reads and the clocks; then lock the settings."""
        now = self._now()
        stamp = rfc3339(now).removesuffix("Z").replace("T", " ") + f"{now % 1.0:.6f}"[1:]
        literals = {"TIMESTAMP": stamp, "DATE": stamp[:10], "TIME": stamp[11:]}
        for kind, names in guard.CLOCKS.items():
            for name in names:
                connection.execute(f"CREATE MACRO {name}() AS {kind} '{literals[kind]}'")
        for table in tables:
            for name, frame in self._tables.raw(table, now).items():
                connection.register(name, frame)
            if table in SETUP:
                connection.execute(SETUP[table])
            connection.execute(f"CREATE VIEW {table} AS {VIEWS[table]}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")


def _fetched(cursor: duckdb.DuckDBPyConnection, limit: int) -> tuple[list[tuple[Any, ...]], bool]:
    """Read up to a limit of rows, and say whether there are more."""
    rows: list[tuple[Any, ...]] = []
    characters = 0
    while batch := cursor.fetchmany(_FETCH):
        for row in batch:
            shown = tuple(_json(value) for value in row)
            characters += sum(len(v) if isinstance(v, str) else 8 for v in shown)
            if len(rows) == limit or characters > MAX_CHARACTERS:
                return rows, True
            rows.append(shown)
    return rows, False


def _json(value: Any) -> Any:
    """Return a value as JSON has it."""
    match value:
        case str() if len(value) > MAX_CELL:
            return f"{value[:MAX_CELL]}... ({len(value)} characters)"
        case _ if isinstance(value, _PLAIN):
            return value
        case float():
            # JSON has no infinities; as text they are at least readable.
            return value if math.isfinite(value) else str(value)
        case datetime.datetime():
            return value.isoformat() + ("" if value.tzinfo else "Z")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return str(value)
        case Decimal():
            return float(value)
        case bytes():
            return value[:MAX_CELL].hex()
        case dict():
            return {str(_json(k)): _json(v) for k, v in value.items()}
        case list() | tuple():
            return [_json(item) for item in value]
        case _:
            return str(value)


def _worded(error: duckdb.Error) -> str:
    """Return what DuckDB says, but for what it says of its settings and of Python modules."""
    text = guard.first_line(error)
    if "expression depth" in text:
        return "the statement is nested too deeply"
    if "Required module" in text:
        return "timestamps with a time zone cannot be shown; cast them to TIMESTAMP"
    return text
