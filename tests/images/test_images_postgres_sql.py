"""SQL as people type it: tokens, statements, expressions, locks."""

from __future__ import annotations

import asyncio
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.world.clock import VirtualLoop
from aiopslab.world.images import postgres_locks as lk
from aiopslab.world.images.postgres_cluster import where_terms
from aiopslab.world.images.postgres_expressions import ExprParser, SqlFailure, tokenize
from aiopslab.world.images.postgres_options import parse_options
from aiopslab.world.images.postgres_psql import split
from aiopslab.world.images.postgres_settings import accepts, seconds, size
from aiopslab.world.images.postgres_sql import parse
from aiopslab.world.images.postgres_syntax import Grant, RoleChange, Select
from aiopslab.world.images.postgres_values import evaluate, text


def value(sql: str) -> Any:
    expr = ExprParser(sql, tokenize(sql)).expression()
    return evaluate(expr, lambda _q, name: {"a": 1, "n": None}[name], lambda _n, _r: None)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 / 2", 3),
        ("7.0 / 2", 3.5),
        ("'a' || 'b'", "ab"),
        ("a = 1 AND NOT a > 1", True),
        ("n = 1", None),
        ("n = 1 OR true", True),
        ("n = 1 AND false", False),
        ("n IS NULL", True),
        ("n IS NOT NULL", False),
        ("a IN (3, 1)", True),
        ("a NOT IN (3, n)", None),
        ("a BETWEEN 0 AND 2", True),
        ("'rate' LIKE 'r%'", True),
        ("'rate' NOT LIKE 'r_te'", False),
        ("'rate-postgres' LIKE '%-%gr_s%'", True),
        ("'aab' LIKE '%a%b'", True),
        ("'aba' LIKE 'a%a%a'", False),
        ("'" + "a" * 300 + "' LIKE '" + "%a" * 40 + "%b'", False),
        ("'Rate' ~* '^r'", True),
        ("CASE WHEN a > 1 THEN 'x' ELSE 'y' END", "y"),
        ("'12'::int + a", 13),
        ("a = '1'", True),
        ("-a", -1),
        ("- - a", 1),
        ("not not a = 1", True),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2.0**63),
    ],
)
def test_expressions_have_the_values_of_sql(sql: str, expected: object) -> None:
    assert value(sql) == expected


@pytest.mark.parametrize(
    ("sql", "sqlstate"),
    [
        ("1 / 0", "22012"),
        ("'x'::int", "22P02"),
        ("'x' ~ '['", "2201B"),
        ("a::shoe", "42704"),
        ("'inf'::float::int", "22003"),
        ("'nan'::float::bigint", "22003"),
        ("'" + "9" * 5000 + "'::int", "22003"),
        ("9223372036854775807 + 1", "22003"),
        ("interval '99999999999999 days'", "22003"),
        ("interval '1 day' * 'nan'::float", "22003"),
        ("not " * 5000 + "true", "54001"),
        ("- " * 5000 + "1", "54001"),
        ("'" + "a" * 3000 + "' ~ 'a*a*a*a*b'", "2201B"),
        ("'x' ~ '(x+)+'", "2201B"),
        ("- 'a'", "42883"),
        ("+".join(["1"] * 3000), "54001"),
        ("'2026-01-01'::timestamp - '9999999 days'::interval", "22003"),
    ],
)
def test_bad_values_have_their_sqlstate(sql: str, sqlstate: str) -> None:
    with pytest.raises(SqlFailure) as failure:
        value(sql)
    assert failure.value.error.sqlstate == sqlstate


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT 1 FROM", "syntax error at end of input"),
        ("SELECT 'x", "unterminated quoted string"),
        ("GRANT SELECT ON t", "syntax error at end of input"),
        ("SELECT 1 LIMIT x", 'syntax error at or near "x"'),
    ],
)
def test_what_cannot_be_read_is_a_syntax_error(sql: str, message: str) -> None:
    with pytest.raises(SqlFailure) as failure:
        parse(sql)
    assert failure.value.error.sqlstate == "42601"
    assert message in failure.value.error.message


def outcome(sql: str) -> str:
    """Parse; return the SQLSTATE of a refusal, or nothing."""
    try:
        parse(sql)
    except SqlFailure as failure:
        return failure.error.sqlstate
    return ""


@given(st.text(alphabet=string.printable, max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_with_an_sqlstate(sql: str) -> None:
    assert outcome(sql) in ("", "42601", "0A000", "54001")


WORDS = [
    "select", "*", "from", "t", "where", "a", "=", "1", "(", ")", ",", "grant", "on", "to",
    "limit", "and", "not", "in", "case", "'x'", ";", "order", "by", "join", "alter", "role",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=14))
@settings(max_examples=300, deadline=None)
def test_any_words_are_read_or_refused_with_an_sqlstate(words: list[str]) -> None:
    assert outcome(" ".join(words)) in ("", "42601", "0A000")


def test_a_string_of_statements_is_split() -> None:
    found = parse(
        "SELECT 1; -- note\nGRANT SELECT, INSERT ON a, b TO r; ALTER ROLE r PASSWORD 'x;y'"
    )
    (_, select), (_, grant), (source, role) = found
    assert isinstance(select, Select)
    assert grant == Grant(False, ["SELECT", "INSERT"], "TABLE", ["a", "b"], ["r"])
    assert role == RoleChange("ALTER", ["r"], password="x;y")
    assert source == "ALTER ROLE r PASSWORD 'x;y'"


def test_where_terms_are_columns_with_their_parameters() -> None:
    sql = "UPDATE t SET a = $1 WHERE id = $2 AND day >= $3 AND kind IN ($4)"
    assert where_terms(sql) == (("id", 2), ("day", 3), ("kind", 0))
    assert where_terms("SELECT 1 FROM t") == ()


def test_settings_have_units() -> None:
    assert (seconds("5min"), seconds("250"), size("128MB"), size("64Mi")) == (
        300.0,
        0.25,
        128 * 2**20,
        64 * 2**20,
    )
    assert accepts("max_connections", "100")
    assert not accepts("max_connections", "many")


def test_values_print_as_postgres_prints_them() -> None:
    assert [text(v) for v in (None, True, 1.5, 2.0, [1, 2])] == [None, "t", "1.5", "2", "{1,2}"]


def test_psql_reads_its_command_line() -> None:
    words = ["-At", "-h", "db", "-Uapp", "--dbname=x", "-c", "select 1"]
    options = parse_options(words, {"PGPASSWORD": "p"})
    assert (options.host, options.user, options.database) == ("db", "app", "x")
    assert (options.aligned, options.tuples_only, options.password) == (False, True, "p")
    url = parse_options(["postgres://u:p%40@h:6000/d"], {})
    assert (url.user, url.password, url.host, url.port, url.database) == ("u", "p@", "h", 6000, "d")
    assert "requires an argument" in parse_options(["-c"], {}).error


def test_scripts_are_split_outside_of_quotes() -> None:
    assert split("select ';';\n\\dt\nselect\n2") == ["select ';'", "\\dt", "select\n2"]


# -- locks ----------------------------------------------------------------------------------------

TABLE, OTHER = lk.Lockable("t"), lk.Lockable("u")


def test_a_waiting_exclusive_lock_blocks_later_readers() -> None:
    loop = VirtualLoop(0.0)
    locks = lk.Locks(loop, 1.0)
    order: list[str] = []

    async def session(name: str, mode: int, start: float, hold: float) -> None:
        await asyncio.sleep(start)
        await locks.acquire(name, TABLE, mode)
        order.append(name)
        await asyncio.sleep(hold)
        locks.release(name)

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(session("reader", lk.ACCESS_SHARE, 0.0, 5.0))
            group.create_task(session("alter", lk.ACCESS_EXCLUSIVE, 1.0, 1.0))
            group.create_task(session("late", lk.ACCESS_SHARE, 2.0, 1.0))
            await asyncio.sleep(3.0)
            assert locks.blockers("late") == ["alter"]
            assert locks.blockers("alter") == ["reader"]
            assert [row.granted for row in locks.rows()] == [True, False, False]

    loop.run_until_complete(scenario())
    assert order == ["reader", "alter", "late"]
    assert locks.rows() == []


def test_a_deadlock_fails_one_and_lets_the_other_on() -> None:
    loop = VirtualLoop(0.0)
    locks = lk.Locks(loop, 1.0)
    ends: dict[str, str] = {}

    async def session(name: str, first: lk.Lockable, second: lk.Lockable) -> None:
        try:
            await locks.acquire(name, first, lk.EXCLUSIVE)
            await asyncio.sleep(0.1)
            await locks.acquire(name, second, lk.EXCLUSIVE)
            ends[name] = "done"
        except SqlFailure as failure:
            ends[name] = failure.error.sqlstate
        finally:
            locks.release(name)

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(session("one", TABLE, OTHER))
            group.create_task(session("two", OTHER, TABLE))

    loop.run_until_complete(scenario())
    assert sorted(ends.values()) == ["40P01", "done"]
    assert locks.deadlocks == 1


def test_lock_timeout_ends_the_wait() -> None:
    loop = VirtualLoop(0.0)
    locks = lk.Locks(loop, 1.0)
    assert locks.try_acquire("a", TABLE, lk.ACCESS_EXCLUSIVE)
    with pytest.raises(SqlFailure, match="lock timeout"):
        loop.run_until_complete(locks.acquire("b", TABLE, lk.ACCESS_SHARE, timeout_s=0.5))
    assert loop.time() == 0.5


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from([TABLE, OTHER]), st.integers(0, 7)),
        max_size=25,
    )
)
@settings(max_examples=100, deadline=None)
def test_holders_never_conflict_and_all_is_free_in_the_end(
    requests: list[tuple[str, lk.Lockable, int]],
) -> None:
    locks = lk.Locks(VirtualLoop(0.0), 1.0)
    for owner, target, mode in requests:
        locks.try_acquire(owner, target, mode)
    rows = [row for row in locks.rows() if row.granted]
    for one in rows:
        for two in rows:
            if one.target == two.target and one.owner != two.owner:
                assert two.mode not in lk._CONFLICTS[one.mode]
    for owner in "abcd":
        locks.release(owner)
    assert locks.rows() == []


@pytest.mark.parametrize(
    ("sql", "shown"),
    [("'nan'::float", "NaN"), ("-'inf'::float", "-Infinity"), ("9" * 400 + ".0", "Infinity")],
)
def test_numbers_beyond_all_bounds_are_written_as_words(sql: str, shown: str) -> None:
    assert text(value(sql)) == shown


def test_no_setting_takes_a_number_beyond_its_type() -> None:
    assert accepts("max_connections", "2147483647")
    for name in ("max_connections", "work_mem", "statement_timeout"):
        assert not accepts(name, "9" * 400)
