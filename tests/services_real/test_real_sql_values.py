"""Which parameter a value belongs to, and text as a value of a type."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from aiopslab.services.net_errors import SqlError
from aiopslab.services.real.sql_values import Value, bound

LINES = "INSERT INTO lines (order_id, product, quantity) VALUES ($1, $2, $3)"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int4", "7", 7),
        ("int8", "-9000000000", -9_000_000_000),
        ("numeric", "12.50", Decimal("12.50")),
        ("float8", "1e3", 1000.0),
        ("bool", "on", True),
        ("text", "7", "7"),
        ("date", "2026-03-10", dt.date(2026, 3, 10)),
        ("timestamptz", "2026-03-10T09:00:00+00:00", dt.datetime(2026, 3, 10, 9, tzinfo=dt.UTC)),
        ("bytea", "\\x00ff", b"\x00\xff"),
        ("citext", "as it is", "as it is"),
    ],
)
def test_text_becomes_a_value_of_its_type(kind: str, text: str, value: Value) -> None:
    assert bound("SELECT $1", [kind], {"p": text}) == [value]


@pytest.mark.parametrize(
    ("kind", "text", "sqlstate", "message"),
    [
        ("int4", "seven", "22P02", 'invalid input syntax for type integer: "seven"'),
        ("int2", "40000", "22003", 'value "40000" is out of range for type smallint'),
        ("bool", "maybe", "22P02", 'invalid input syntax for type boolean: "maybe"'),
        ("date", "soon", "22007", 'invalid input syntax for type date: "soon"'),
    ],
)
def test_other_text_is_refused(kind: str, text: str, sqlstate: str, message: str) -> None:
    with pytest.raises(SqlError) as caught:
        bound("SELECT $1", [kind], {"p": text})
    assert (caught.value.sqlstate, caught.value.message) == (sqlstate, message)


def test_parameters_go_by_their_order() -> None:
    text = "UPDATE rooms SET free = free - 1 WHERE hotel = $1 AND day = $2"
    assert bound(text, ["int4", "int4"], {"day": "3", "hotel": "9"}) == [3, 9]


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"product": "7"}, [None, 7, None]),
        ({"quantity": "2", "product": "7"}, [None, 7, 2]),
        ({"order": "5", "product": "7"}, [5, 7, None]),
        ({}, [None, None, None]),
    ],
)
def test_an_insert_with_too_few_values_takes_them_by_name(
    given: dict[str, str], values: list[Value]
) -> None:
    assert bound(LINES, ["int8", "int4", "int4"], given) == values
