"""Cells of the app's tables: derived from table, column and key, so that they cost no memory.

The same key always shows the same values; what people INSERT or UPDATE is kept on top. Not here:
which keys exist (``postgres_cluster.TableState``).
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterator

from aiopslab.world.images.postgres_cluster import TableState
from aiopslab.world.images.postgres_expressions import Value

_WORDS = (
    "amber", "birch", "coral", "delta", "ember", "fjord", "grove", "harbor", "ivory", "juniper",
    "krona", "linden", "maple", "north", "opal", "prairie", "quartz", "river", "sierra", "tundra",
)  # fmt: skip
_EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


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
    mixed = _mix(zlib.crc32(f"{table.name}.{column}".encode()), key)
    return _value(kind, column, key, mixed)


def _value(kind: str, column: str, key: int, mixed: int) -> Value:
    match kind:
        case "bigint" | "integer" | "int" | "smallint" | "serial" | "bigserial":
            return 1 + mixed % (5000 if column.endswith("_id") else 100)
        case "numeric" | "decimal" | "real" | "double precision" | "float":
            return round(10 + mixed % 49000 / 100, 2)
        case "boolean" | "bool":
            return mixed % 8 != 0
        case "timestamptz" | "timestamp" | "timestamp with time zone":
            return _EPOCH + dt.timedelta(seconds=mixed % (60 * 86400))
        case "date":
            return (_EPOCH + dt.timedelta(days=mixed % 365)).strftime("%Y-%m-%d")
        case "uuid":
            tail = _mix(mixed, key)
            return (
                f"{mixed:08x}-{tail >> 16:04x}-4{tail & 0xFFF:03x}-8{key & 0xFFF:03x}-{tail:012x}"
            )
    word = _WORDS[mixed % len(_WORDS)]
    if "email" in column:
        return f"{word}.{key}@example.com"
    return f"{word}-{key}" if "name" in column or "title" in column else f"{word}{mixed % 977}"


def _mix(salt: int, key: int) -> int:
    """Scatter a key over 32 bits (the finaliser of MurmurHash3)."""
    value = (salt ^ key * 0x9E3779B1) & 0xFFFFFFFF
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16
