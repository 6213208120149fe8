"""Cells of the apps' tables as SQL: the rules of ``services.sample_cells``, run by the server.

Millions of rows are made where they are kept; only the statement travels. Not here: how values
repeat (``spread``), creating the tables (``tables``).
"""

from __future__ import annotations

from aiopslab.services.real.spread import Marked, Raised, Repeated, Spread
from aiopslab.services.sample_cells import EPOCH, WORDS, salt

MIX = """CREATE FUNCTION pg_temp.mix(salt bigint, key bigint) RETURNS bigint
IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE value bigint := (salt # key * 2654435761) & 4294967295;
BEGIN
  value := ((value # (value >> 16))::numeric * 2246822507 % 4294967296)::bigint;
  value := ((value # (value >> 13))::numeric * 3266489909 % 4294967296)::bigint;
  RETURN value # (value >> 16);
END $$"""
"""``sample_cells.mix``; a session makes it before it uses ``cell``."""

_INTEGERS = ("bigint", "integer", "int", "smallint", "serial", "bigserial")
_FRACTIONS = ("numeric", "decimal", "real", "double precision", "float")
_FAR = 10_000
"""Far above zero: more than users take out in a day."""


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def cell(table: str, column: str, kind: str, *, key: bool, rows: int, spread: Spread | None) -> str:
    """Return the expression of a column over ``key``, the number of the row.

    Args:
        table: Name of the table.
        column: Name of the column.
        kind: Its SQL type.
        key: Whether it is the table's first column.
        rows: Rows of the table.
        spread: How its values repeat; None: the world's cells.
    """
    plain = kind.lower().split("(")[0].strip()
    match spread:
        case Repeated():
            return _repeated(spread, plain)
        case Marked(value=value, rows=marked):
            usual = _cell(table, column, plain)
            return f"CASE WHEN key > {rows - marked} THEN {literal(value)} ELSE {usual} END"
        case Raised(ahead=True):
            return f"now() + interval '1 day' + ({_cell(table, column, plain)} - {_epoch()})"
        case Raised():
            return f"{_FAR} + {_cell(table, column, plain)}"
    if key:
        # A number is the key itself; a text key is made unique by it.
        return "key" if plain in _INTEGERS else f"{_cell(table, column, plain)} || '-' || key"
    return _cell(table, column, plain)


def _repeated(spread: Repeated, kind: str) -> str:
    number = f"((key - 1) / {spread.block})"
    if spread.count:
        number = f"({number} % {spread.count})"
    if kind in _INTEGERS:
        return f"1 + {number}"
    if not spread.words:
        return f"(1 + {number})::text"
    words = ", ".join(literal(word) for word in spread.words)
    return f"coalesce((ARRAY[{words}])[1 + {number}], (1 + {number})::text)"


def _cell(table: str, column: str, kind: str) -> str:
    mixed = f"pg_temp.mix({salt(table, column)}, key)"
    if kind in _INTEGERS:
        return f"1 + {mixed} % {5000 if column.endswith('_id') else 100}"
    if kind in _FRACTIONS:
        return f"round(10 + ({mixed} % 49000) / 100.0, 2)"
    if kind in ("boolean", "bool"):
        return f"{mixed} % 8 <> 0"
    if kind in ("timestamptz", "timestamp", "timestamp with time zone"):
        return f"{_epoch()} + make_interval(secs => {mixed} % {60 * 86400})"
    if kind == "date":
        return f"{_epoch()}::date + ({mixed} % 365)::integer"
    if kind == "uuid":
        return f"lpad(to_hex({mixed}), 32, '0')::uuid"
    words = ", ".join(literal(word) for word in WORDS)
    word = f"(ARRAY[{words}])[1 + {mixed} % {len(WORDS)}]"
    if "email" in column:
        text = f"{word} || '.' || key || '@example.com'"
    elif "name" in column or "title" in column:
        text = f"{word} || '-' || key"
    else:
        text = f"{word} || {mixed} % 977"
    return f"({text})" if kind in ("text", "varchar", "character varying") else f"({text})::{kind}"


def _epoch() -> str:
    return f"timestamptz {literal(EPOCH.isoformat())}"
