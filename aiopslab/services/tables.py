"""How the tables of a database are built from ``app.yaml``, whatever the database runs in.

Columns beyond those that are named, and which of them have an index, follow from the statements of
the app; so does the type of a key's sequence. Not here: the rows (``sample_cells``), who builds
the tables (``world.images.postgres_cluster``, ``services.real.tables``).
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache

from aiopslab.models.store import Store

_WHERE = re.compile(r"\bwhere\b(.*)", re.IGNORECASE | re.DOTALL)
_COMPARED = re.compile(
    r"(\w+)\s*(?:<=|>=|<>|!=|=|<|>|\bin\b|\blike\b|\bilike\b|\bbetween\b|\bis\b)\s*(?:any\s*\()?(\$\d+)?",
    re.IGNORECASE,
)
_SEQUENCES = {
    "smallint": "smallint", "integer": "integer", "int": "integer", "serial": "integer",
    "bigint": "bigint", "bigserial": "bigint",
}  # fmt: skip


@lru_cache(maxsize=1024)
def where_terms(text: str) -> tuple[tuple[str, int], ...]:
    """Return the columns that a statement compares in WHERE, each with its ``$n`` (or 0).

    >>> where_terms("UPDATE t SET a = $1 WHERE id = $2 AND day > now()")
    (('id', 2), ('day', 0))
    """
    found = _WHERE.search(text)
    if found is None:
        return ()
    return tuple(
        (column.lower(), int(parameter[1:]) if parameter else 0)
        for column, parameter in _COMPARED.findall(found.group(1))
    )


def where_columns(text: str) -> list[str]:
    """Return the columns that a statement compares in WHERE."""
    return [column for column, _ in where_terms(text)]


def columns_of(store: Store, table: str) -> dict[str, str]:
    """Return the columns of a table with their SQL types; the first is its key."""
    columns = dict(store.tables[table].columns) or {"id": "bigint"}
    for column in itertools.chain.from_iterable(_predicates(store, table)):
        columns.setdefault(column, "text")
    return columns


def indexes_of(store: Store, table: str) -> dict[str, str]:
    """Return the indexes beside that of the key: name to column."""
    key = next(iter(columns_of(store, table)))
    indexes: dict[str, str] = {}
    for found in _predicates(store, table) if store.tables[table].indexed else []:
        if not set(found) & {key, *indexes.values()}:
            indexes[f"{table}_{found[0]}_idx"] = found[0]
    return indexes


def sequence_type(column_type: str, made_as: str) -> str | None:
    """Return the type of a key's sequence; None where the key is no number.

    Args:
        column_type: SQL type of the key.
        made_as: Type the sequence was created with; empty for the column's.
    """
    return made_as or _SEQUENCES.get(column_type.lower())


def _predicates(store: Store, table: str) -> list[list[str]]:
    return [
        compared
        for key in sorted(store.statements)
        if store.statements[key].table == table
        and (compared := where_columns(store.statements[key].text))
    ]
