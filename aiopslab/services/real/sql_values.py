"""Parameters of statements: which ``$n`` a named value belongs to, and its text as a value.

The app names its parameters and knows text alone; PostgreSQL numbers and types them. Text that is
no value of the type is refused with the server's own words. Not here: sending them (``sql``).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from aiopslab.services.net_errors import SqlError

Value = str | int | float | bool | bytes | Decimal | dt.date | dt.datetime | None

_INSERT = re.compile(
    r"insert\s+into\s+\S+\s*\((?P<columns>[^)]*)\)\s*values\s*\((?P<values>.*)\)",
    re.IGNORECASE | re.DOTALL,
)
_BITS = {"int2": 16, "int4": 32, "int8": 64}
_NAMES = {
    "int2": "smallint", "int4": "integer", "int8": "bigint", "numeric": "numeric",
    "float4": "real", "float8": "double precision", "bool": "boolean", "date": "date",
    "timestamp": "timestamp", "timestamptz": "timestamp with time zone", "bytea": "bytea",
}  # fmt: skip
_BOOLEANS = {
    "t": True, "true": True, "y": True, "yes": True, "on": True, "1": True,
    "f": False, "false": False, "n": False, "no": False, "off": False, "0": False,
}  # fmt: skip


def bound(text: str, kinds: Sequence[str], params: Mapping[str, str]) -> list[Value]:
    """Return the values of ``$1``, ``$2``, ... of a statement.

    Args:
        text: Its SQL.
        kinds: Types of its parameters, as ``pg_type`` names them.
        params: What the app gives it, in order. An INSERT may be given less than it has columns:
            values then go to the columns of their names, and the others are NULL.

    Raises:
        SqlError: A value that the type does not have.
    """
    given: list[str | None] = list(params.values())
    if len(given) < len(kinds):
        columns = _inserted(text)
        known = dict(params)
        by_name = [known.pop(columns.get(n, ""), None) for n in range(1, len(kinds) + 1)]
        rest = iter(known.values())
        given = [next(rest, None) if value is None else value for value in by_name]
    return [_value(kind, value) for kind, value in zip(kinds, given, strict=False)]


def _inserted(text: str) -> dict[int, str]:
    """Return the columns that an INSERT fills from its parameters, by number."""
    found = _INSERT.search(text)
    if found is None:
        return {}
    columns = [column.strip() for column in found["columns"].split(",")]
    values = [value.strip() for value in found["values"].split(",")]
    return {
        int(value[1:]): column
        for column, value in zip(columns, values, strict=False)
        if re.fullmatch(r"\$\d+", value)
    }


def _value(kind: str, text: str | None) -> Value:
    if text is None:
        return None
    read = _READERS.get(kind)
    if read is None:
        return text
    try:
        return read(kind, text)
    except (ValueError, KeyError, InvalidOperation):
        state = "22007" if kind in ("date", "timestamp", "timestamptz") else "22P02"
        message = f'invalid input syntax for type {_NAMES[kind]}: "{text}"'
        raise SqlError(state, message) from None


def _integer(kind: str, text: str) -> int:
    value = int(text)
    if not -(2 ** (_BITS[kind] - 1)) <= value < 2 ** (_BITS[kind] - 1):
        message = f'value "{text}" is out of range for type {_NAMES[kind]}'
        raise SqlError("22003", message)
    return value


_READERS: dict[str, Callable[[str, str], Value]] = {
    "int2": _integer,
    "int4": _integer,
    "int8": _integer,
    "numeric": lambda _, text: Decimal(text),
    "float4": lambda _, text: float(text),
    "float8": lambda _, text: float(text),
    "bool": lambda _, text: _BOOLEANS[text.strip().lower()],
    "date": lambda _, text: dt.date.fromisoformat(text),
    "timestamp": lambda _, text: dt.datetime.fromisoformat(text),
    "timestamptz": lambda _, text: dt.datetime.fromisoformat(text),
    "bytea": lambda _, text: bytes.fromhex(text.removeprefix("\\x")),
}
