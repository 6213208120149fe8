"""SQL over the signals: what can be asked, and attacks on the host, the world and the clock."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.models.signal import Alert, Change, Event
from aiopslab.telemetry.answers import SqlAnswer
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.sql import TABLES, SqlEngine
from aiopslab.telemetry.sql.guard import CLOCKS, REFUSED
from aiopslab.telemetry.store import Store

NOW = 1_773_133_200.25
"""2026-03-10T09:00:00.25Z."""
TRACE = 0xABC << 64 | 0xDEF


def stored() -> Store:
    store = Store()
    for n in range(10):
        at = NOW - 100 + n
        error = "timeout" if n == 9 else ""
        store.span(
            TRACE + n, 1, 0, "web", "web-1", "GET /", "server", at, at + 0.5, error,
            {"http.response.status_code": 500 if error else 200},
        )  # fmt: skip
        store.span(TRACE + n, 2, 1, "db", "db-1", "SELECT", "server", at, at + 0.25, "", None)
        severity = "ERROR" if error else "INFO"
        store.log(at, "web", "shop", "web-1", "app", severity, f"request {n}", TRACE + n, 1)
    target = store.target({"job": "web"})
    column = target.column("requests_total", (("code", "200"),))
    for n in range(3):
        store.samples.row(NOW - 30 + 10 * n)[column] = 5.0 * n
    store.event(
        Event(
            time=NOW - 50, type="Warning", reason="BackOff", namespace="shop", kind="Pod",
            name="web-1", message="Back-off", component="kubelet", count=3,
        )
    )  # fmt: skip
    store.change(
        Change(time=NOW - 60, actor="ci", kind="rollout", component="web", summary="2.0.0")
    )
    store.alert(
        NOW - 40,
        Alert(
            name="HighErrorRatio", state="pending", severity="page", labels={"service": "web"},
            annotations={"summary": "web fails"}, active_at=NOW - 40, value=0.5,
        ),
    )  # fmt: skip
    return store


STORE = stored()
ENGINE = SqlEngine(STORE, lambda: NOW)
QUICK = SqlEngine(STORE, lambda: NOW, time_limit_s=0.3)


def ask(sql: str) -> SqlAnswer:
    return ENGINE.query(sql)


def refused(sql: str, engine: SqlEngine = ENGINE) -> str:
    with pytest.raises(QueryError) as refusal:
        engine.query(sql)
    return str(refusal.value)


# -- what can be asked ----------------------------------------------------------------------------


def test_spans_have_the_names_of_opentelemetry() -> None:
    found = ask("SELECT * FROM spans ORDER BY timestamp DESC, span_id LIMIT 1")
    assert dict(zip(found.columns, found.rows[0], strict=True)) == {
        "timestamp": "2026-03-10T08:58:29.250000Z", "trace_id": f"{TRACE + 9:032x}",
        "span_id": f"{1:016x}", "parent_span_id": "", "service_name": "web",
        "k8s_pod_name": "web-1", "span_name": "GET /", "span_kind": "server",
        "duration_ms": pytest.approx(500.0), "status_code": "Error", "status_message": "timeout",
        "attributes": {"http.response.status_code": "500"},
    }  # fmt: skip
    assert found.ordered


def test_logs_join_spans() -> None:
    found = ask(
        "SELECT l.body, l.severity_text, s.duration_ms FROM logs l"
        " JOIN spans s USING (trace_id, span_id) WHERE s.status_code = 'Error'"
    )
    assert found.rows == [("request 9", "ERROR", pytest.approx(500.0))]
    assert not found.ordered


def test_samples_have_their_labels_as_a_map() -> None:
    found = ask(
        "SELECT attributes['code'] AS code, max(value) AS most FROM samples"
        " WHERE metric_name = 'requests_total' GROUP BY ALL"
    )
    assert (found.columns, found.rows) == (["code", "most"], [("200", 10.0)])
    assert ask("SELECT count(*) FROM samples").rows == [(3,)]


def test_events_changes_and_alerts_can_be_read() -> None:
    assert ask("SELECT reason, object_name, count FROM events").rows == [("BackOff", "web-1", 3)]
    assert ask("SELECT actor, component, summary FROM changes").rows == [("ci", "web", "2.0.0")]
    found = ask("SELECT alert_name, labels['service'], fired_at, value FROM alerts")
    assert found.rows == [("HighErrorRatio", "web", None, 0.5)]


@pytest.mark.parametrize("table", TABLES)
def test_an_empty_store_has_every_table_with_the_same_columns(table: str) -> None:
    empty = SqlEngine(Store(), lambda: NOW)
    described = f"DESCRIBE {table}"
    assert empty.query(described).rows == ask(described).rows
    assert empty.query(f"SELECT * FROM {table}").rows == []


def test_clocks_tell_the_time_of_the_world() -> None:
    names = [name for names in CLOCKS.values() for name in names]
    found = ask(f"SELECT {', '.join(f'{name}()' for name in names)}")
    for name, value in zip(names, found.rows[0], strict=True):
        assert value.startswith(("2026-03-10", "09:00:00")), name
    [row] = ask(
        "SELECT now(), current_timestamp, current_date, localtimestamp, ago(INTERVAL 1 DAY)"
    ).rows
    stamp = "2026-03-10T09:00:00.250000Z"
    assert row == (stamp, stamp, "2026-03-10", stamp, "2026-03-09T09:00:00.250000Z")
    recent = "SELECT count(*) FROM logs WHERE timestamp > now() - INTERVAL 95 SECOND"
    assert ask(recent).rows == [(4,)]


def test_values_are_those_of_json() -> None:
    [row] = ask(
        "SELECT 1.50::DECIMAL(5, 2), 'nan'::DOUBLE, 1 / 0, [1, NULL], {'a': DATE '2026-01-02'},"
        " 'ab'::BLOB, INTERVAL 90 SECOND, NULL, TRUE, 2::HUGEINT ** 80"
    ).rows
    assert row[:9] == (
        1.5, "nan", "inf", [1, None], {"a": "2026-01-02"}, "6162", "0:01:30", None, True,
    )  # fmt: skip
    json.dumps(row, allow_nan=False)


def test_rows_and_values_are_bounded() -> None:
    found = ENGINE.query("SELECT * FROM range(100000000000)", limit=5)
    assert (found.rows, found.truncated) == ([(0,), (1,), (2,), (3,), (4,)], True)
    [(text,)] = ask("SELECT repeat('x', 1000000)").rows
    assert len(text) < 25_000
    assert text.endswith("(1000000 characters)")
    wide = ask("SELECT repeat('x', 19000) FROM range(1000)")
    assert wide.truncated
    assert len(wide.rows) < 120
    for limit in (0, -1, 10_001):
        with pytest.raises(QueryError, match="limit"):
            ENGINE.query("SELECT 1", limit=limit)


def test_the_same_statement_gives_the_same_answer() -> None:
    sql = "SELECT service_name, count(*), list(span_id) FROM spans GROUP BY ALL"
    assert ask(sql) == ask(sql) == SqlEngine(stored(), lambda: NOW).query(sql)


def test_tables_follow_the_world() -> None:
    store = stored()
    engine = SqlEngine(store, lambda: NOW)
    counts = [f"(SELECT count(*) FROM {table})" for table in TABLES]
    before = engine.query(f"SELECT {', '.join(counts)}").rows
    store.span(1, 1, 0, "new", "new-1", "GET", "server", NOW, NOW, "", {"x": "y"})
    store.log(NOW, "new", "shop", "new-1", "app", "INFO", "new line")
    after = engine.query(f"SELECT {', '.join(counts)}").rows
    assert [b - a for a, b in zip(before[0], after[0], strict=True)] == [1, 1, 0, 0, 0, 0]
    rows = engine.query("SELECT attributes['x'], service_name FROM spans WHERE span_name = 'GET'")
    assert rows.rows == [("y", "new")]


def test_nothing_stays_behind_a_statement() -> None:
    ask("SELECT 1")
    before = threading.active_count()
    with contextlib.suppress(QueryError):
        QUICK.query("SELECT count(*) FROM range(1000000000000)")
    assert threading.active_count() == before


# -- attacks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '/tmp/x'", "ATTACH '/tmp/x.db'", "INSTALL httpfs", "LOAD httpfs",
        "SET enable_external_access = true", "SET memory_limit = '9GB'", "RESET memory_limit",
        "PRAGMA version", "DROP VIEW spans", "CREATE TABLE t (a INT)",
        "INSERT INTO spans VALUES (1)", "DELETE FROM raw_spans", "UPDATE raw_spans SET name = 'x'",
        "BEGIN", "CALL pragma_version()", "EXPLAIN SELECT 1", "EXECUTE x", "PREPARE x AS SELECT 1",
        "PIVOT spans ON span_name", "SELECT * FROM (PIVOT spans ON span_name)", "CHECKPOINT",
        "USE memory", "EXPORT DATABASE 'x'", "SELECT 1; SELECT 2", "SELECT 1; DROP VIEW spans",
        "/**/ SELECT 1 /**/; -- x\nDROP VIEW spans", "", ";", "-- SELECT 1",
        "WITH a AS (DELETE FROM raw_spans RETURNING 1) SELECT * FROM a",
        "WITH a AS (INSERT INTO raw_logs VALUES (1) RETURNING 1) SELECT * FROM a",
    ],
)  # fmt: skip
def test_only_one_select_runs(sql: str) -> None:
    assert "SELECT" in refused(sql)


@pytest.mark.parametrize(
    "source",
    [
        "read_csv('{0}')", "read_csv_auto('{0}')", "read_text('{0}')", "read_blob('{0}')",
        "read_json('{0}')", "read_parquet('{0}')", "parquet_metadata('{0}')", "sniff_csv('{0}')",
        "glob('{0}*')", "'{0}'", "\"{0}\"", "duckdb_settings()", "duckdb_secrets()",
        "duckdb_tables", "duckdb_logs()", "information_schema.tables", "pg_catalog.pg_class",
        "sqlite_master", "system.information_schema.tables", "query('SELECT 1')",
        "query_table('spans')", "json_execute_serialized_sql('x')", "python_map_function(1)",
        "pandas_scan(1)", "test_all_types()", "repeat_row(1, num_rows=9)", "seq_scan('raw_spans')",
        "raw_spans", "main.spans", "memory.main.spans", "span_attributes",
        "spans AT (VERSION => 1)", "secret", "STORE", "pragma_database_size()",
        "pg_timezone_names()", "nosuch",
    ],
)  # fmt: skip
def test_only_signal_tables_are_read(source: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("a\nleaked\n", encoding="utf-8")
    secret = STORE.frame("changes")
    message = refused(f"SELECT * FROM {source.format(path)}")
    assert "leaked" not in message
    assert "table" in message
    assert len(secret)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_functions_of_the_process_of_chance_and_with_effects_are_refused(name: str) -> None:
    assert f"function {name!r} is refused" in refused(f"SELECT {name}()")
    assert "is refused" in refused(
        f"SELECT CASE WHEN true THEN list_transform([1], x -> {name}()) END"
    )
    assert "is refused" in refused(f"WITH a AS (SELECT {name.upper()}() AS x) SELECT x FROM a")
    assert "without a schema" in refused(f"SELECT system.main.{name}()")


def test_every_function_that_is_not_one_of_its_arguments_is_refused_or_replaced() -> None:
    with duckdb.connect(":memory:") as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions()"
            " WHERE function_type IN ('scalar', 'aggregate') AND stability <> 'CONSISTENT'"
        ).fetchall()
    clocks = {name for names in CLOCKS.values() for name in names}
    assert {name for (name,) in rows} - REFUSED - clocks == set()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT age(timestamp) FROM spans", "SELECT system.main.now()", "SELECT main.now()",
        "SELECT * FROM spans TABLESAMPLE 10%", "SELECT * FROM spans USING SAMPLE 3", "SHOW TABLES",
        "SHOW ALL TABLES", "SELECT ?", "SELECT $x",
        "SELECT (WITH duckdb_tables AS (SELECT 1) SELECT 1) FROM duckdb_tables",
    ],
)  # fmt: skip
def test_answers_that_would_change_or_tell_of_the_host_are_refused(sql: str) -> None:
    refused(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT count(*) FROM a",
        "SELECT count(*) FROM range(1000000000000)",
        "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b",
    ],
)
def test_what_never_ends_is_ended(sql: str) -> None:
    assert "took longer than 0.3 s" in refused(sql, QUICK)
    assert QUICK.query("SELECT 1").rows == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT list(range) FROM range(1000000000)",
        "SELECT string_agg(repeat('x', 1000), '') FROM range(10000000)",
        "SELECT range(0, 4000000000)",
        "SELECT repeat('x', 4000000000)",
        "SELECT repeat('x', 1000000) FROM range(10000)",
        "SELECT printf('%1000000000d', 1)",
        "SELECT s || s FROM (SELECT s || s || s || s AS s FROM (SELECT repeat('x', 99000000) s))",
    ],
)
def test_what_needs_too_much_memory_is_refused(sql: str) -> None:
    message = refused(sql, QUICK)
    assert "too much memory" in message or "took longer" in message
    assert QUICK.query("SELECT 1").rows == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 4000 + "1" + ")" * 4000,
        "SELECT " + "+".join(["1"] * 4000),
        "SELECT '" + "x" * 20_000 + "'",
        "SELECT '\ud800'",
        "SELECT \x00",
    ],
)
def test_malformed_and_oversized_statements_are_refused(sql: str) -> None:
    refused(sql)


def test_mistakes_are_worded_by_the_database_without_its_surroundings() -> None:
    message = refused("SELECT nosuch FROM spans")
    assert 'column "nosuch" not found' in message
    assert "\n" not in message
    assert "cast" in refused("SELECT timestamp::TIMESTAMPTZ FROM spans")


fragments = st.sampled_from(
    [
        "SELECT", "*", "FROM", "spans", "logs", "WITH", "a", "AS", "(", ")", ",", "1", "'x'", ";",
        "--", "/*", "*/", "JOIN", "USING", "ON", "WHERE", "=", "now()", "count(*)", "UNION", "::",
        "$1", "[", "]", "{", "}", "LIMIT", "ORDER BY", "INSERT", "DROP", "range(3)", "\"", "e'\\x'",
        ".",
    ]
)  # fmt: skip


@settings(max_examples=25)
@given(st.lists(fragments, max_size=12).map(" ".join))
def test_no_sequence_of_words_breaks_the_engine(text: str) -> None:
    with contextlib.suppress(QueryError):
        QUICK.query(f"SELECT {text}")
