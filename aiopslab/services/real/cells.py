"""Cells of the apps' tables as SQL: the rules of ``services.sample_cells``, run by the server.

Millions of rows are made where they are kept; only the statement travels. Not here: how values
repeat (``spread``), creating the tables (``tables``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiopslab.services.real.spread import Marked, Raised, Repeated, Spread
from aiopslab.services.sample_cells import EPOCH, WORDS, salt

_MASK = 2**32 - 1
_INTEGERS = ("bigint", "integer", "int", "smallint", "serial", "bigserial")
_FRACTIONS = ("numeric", "decimal", "real", "double precision", "float")
_FAR = 10_000
"""Far above zero: more than users take out in a day."""


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def salts_of(
    table: str, columns: Mapping[str, str], spreads: Mapping[str, Spread]
) -> dict[str, int]:
    """Return the salts of the columns whose cells are mixed, by the names ``cell`` knows them."""
    return {
        _mixed(column): salt(table, column)
        for column in columns
        if not isinstance(spreads.get(column), Repeated)
    }


def source(salts: Mapping[str, int], rows: int) -> str:
    """Return FROM of the rows: their numbers as ``key``, and ``sample_cells.mix`` of each salt.

    A level of subqueries for each step: PostgreSQL would compute an expression as often as it is
    named.

    Args:
        salts: Names to salts.
        rows: How many rows.
    """
    steps: list[Callable[[str], str]] = [
        lambda name: f"({salts[name]} # (key * 2654435761)) & {_MASK}",
        lambda name: f"{name} # ({name} >> 16)",
        lambda name: _times(name, 2246822507),
        lambda name: f"{name} # ({name} >> 13)",
        lambda name: _times(name, 3266489909),
        lambda name: f"{name} # ({name} >> 16)",
    ]
    text = f"generate_series(1, {rows}::bigint) AS key"
    for step in steps if salts else []:
        mixed = ", ".join(f"{step(name)} AS {name}" for name in salts)
        text = f"(SELECT key, {mixed} FROM {text} OFFSET 0) AS step"
    return text


def _times(name: str, factor: int) -> str:
    """Multiply modulo 2^32 in halves, which do not overflow a bigint."""
    high = f"((({name} >> 16) * {factor}) & 65535) << 16"
    return f"(({high}) + ({name} & 65535) * {factor}) & {_MASK}"


def cell(column: str, kind: str, *, key: bool, rows: int, spread: Spread | None) -> str:
    """Return the expression of a column over what ``source`` returns.

    Args:
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
            usual = _cell(column, plain)
            return f"CASE WHEN key > {rows - marked} THEN {literal(value)} ELSE {usual} END"
        case Raised(ahead=True):
            return f"now() + interval '1 day' + ({_cell(column, plain)} - {_epoch()})"
        case Raised():
            return f"{_FAR} + {_cell(column, plain)}"
    if key:
        # A number is the key itself; a text key is made unique by it.
        return "key" if plain in _INTEGERS else f"{_cell(column, plain)} || '-' || key"
    return _cell(column, plain)


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


def _cell(column: str, kind: str) -> str:
    mixed = _mixed(column)
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


def _mixed(column: str) -> str:
    return f'"mixed {column}"'


def _epoch() -> str:
    return f"timestamptz {literal(EPOCH.isoformat())}"
