"""Cells of the apps' tables at start, derived from table, column and key: the same everywhere.

``services.real.cells`` writes the same rules as SQL. Not here: which keys exist, and what people
changed since (``world.images.postgres_rows``).
"""

from __future__ import annotations

import datetime as dt
import zlib

WORDS = (
    "amber", "birch", "coral", "delta", "ember", "fjord", "grove", "harbor", "ivory", "juniper",
    "krona", "linden", "maple", "north", "opal", "prairie", "quartz", "river", "sierra", "tundra",
)  # fmt: skip
EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def salt(table: str, column: str) -> int:
    """Return what makes the cells of one column differ from those of the next."""
    return zlib.crc32(f"{table}.{column}".encode())


def value(kind: str, column: str, key: int, mixed: int) -> int | float | bool | str | dt.datetime:
    """Return the cell of a column that is not the table's key.

    Args:
        kind: SQL type, lower case, without length.
        column: Name of the column.
        key: Number of the row.
        mixed: ``mix`` of the column's salt and the key.
    """
    match kind:
        case "bigint" | "integer" | "int" | "smallint" | "serial" | "bigserial":
            return 1 + mixed % (5000 if column.endswith("_id") else 100)
        case "numeric" | "decimal" | "real" | "double precision" | "float":
            return round(10 + mixed % 49000 / 100, 2)
        case "boolean" | "bool":
            return mixed % 8 != 0
        case "timestamptz" | "timestamp" | "timestamp with time zone":
            return EPOCH + dt.timedelta(seconds=mixed % (60 * 86400))
        case "date":
            return (EPOCH + dt.timedelta(days=mixed % 365)).strftime("%Y-%m-%d")
        case "uuid":
            tail = mix(mixed, key)
            return (
                f"{mixed:08x}-{tail >> 16:04x}-4{tail & 0xFFF:03x}-8{key & 0xFFF:03x}-{tail:012x}"
            )
    word = WORDS[mixed % len(WORDS)]
    if "email" in column:
        return f"{word}.{key}@example.com"
    return f"{word}-{key}" if "name" in column or "title" in column else f"{word}{mixed % 977}"


def mix(salt: int, key: int) -> int:
    """Scatter a key over 32 bits (the finaliser of MurmurHash3)."""
    value = (salt ^ key * 0x9E3779B1) & 0xFFFFFFFF
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16
