"""Cells of the app's tables: derived from table, column and key, so that they cost no memory.

The same key always shows the same values; what people INSERT or UPDATE is kept on top. Not here:
which keys exist (``postgres_cluster.TableState``), the rules (``services.sample_cells``).
"""

from __future__ import annotations

from collections.abc import Iterator

from aiopslab.services import sample_cells
from aiopslab.world.images.postgres_cluster import TableState
from aiopslab.world.images.postgres_expressions import Value


def keys(table: TableState) -> Iterator[int]:
    """Yield the keys of a table in order."""
    gone = table.gone
    for key in range(table.first_key, table.next_key):
        if key not in gone:
            yield key


def cell(table: TableState, key: int, column: str) -> Value:
    """Return the value of a column in the row with this key."""
    edited = table.edits.get(key)
    if edited is not None and column in edited:
        return edited[column]
    kind = table.columns[column].lower().split("(")[0].strip()
    if column == table.key and kind in ("bigint", "integer", "int", "serial", "bigserial"):
        return key
    mixed = sample_cells.mix(sample_cells.salt(table.name, column), key)
    return sample_cells.value(kind, column, key, mixed)
