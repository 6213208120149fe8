"""How a table is read: by an index, or whole; and whether a statement still fits its columns.

The planner takes an index on a compared column if statistics tell it that few rows match. Without
statistics (``pg_class.reltuples`` -1) it reads the table, as after a restore that nobody followed
with ANALYZE. Not here: what the rest of a statement costs (``postgres_server``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from aiopslab.world.images.messages import PgError
from aiopslab.world.images.postgres_cluster import TableState, where_terms
from aiopslab.world.images.postgres_expressions import SqlFailure

_SCAN_ROW_S = 150e-9
_SCAN_BYTE_S = 0.5e-9
"""Sequential scan: 150 ns a row and 2 GB/s, what warm buffers give."""
_WORD = re.compile(r"[a-z_]\w*", re.IGNORECASE)


def scan_s(table: TableState) -> float:
    """Return the CPU seconds of reading a whole table."""
    return table.rows * _SCAN_ROW_S + table.allocated * _SCAN_BYTE_S


def index_for(table: TableState, compared: Collection[str]) -> str | None:
    """Name the index that a query comparing these columns is answered with, if any."""
    if not table.analyzed:
        return None
    return min([name for name, column in table.indexes.items() if column in compared], default=None)


def check_columns(table: TableState, text: str) -> None:
    """Refuse a statement of the app that names a column the table has lost.

    Raises:
        SqlFailure: 42703.
    """
    if not table.lost:
        return
    for word in _WORD.findall(text):
        if word.lower() in table.lost:
            raise SqlFailure(PgError("42703", f'column "{word}" does not exist'))


def row_key(text: str, params: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values that a statement's WHERE compares with: which row it locks."""
    values = list(params.values())
    chosen = [values[n - 1] for _, n in where_terms(text) if 0 < n <= len(values)]
    return tuple(chosen or values or ["*"])
