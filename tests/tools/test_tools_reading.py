from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools_fakes import START, toolbox

from aiopslab import content
from aiopslab.environments.commands import cache_effect, queue_effect, shell_effect, sql_effect
from aiopslab.environments.protocol import SpanRow
from aiopslab.models.observation import Observation
from aiopslab.telemetry.traces import Tree
from aiopslab.tools import Toolbox
from aiopslab.tools.times import TimeError, parse_time, parse_window
from aiopslab.world.kube.difference import SERVER_SET, difference


def call(tools: Toolbox, name: str, /, **arguments: Any) -> Observation:
    return asyncio.run(tools.call(name, arguments))


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("now", 0), ("", 0), ("now-15m", 900), ("-900", 900), ("-15m", 900), ("now-1h30m", 5400),
        ("2026-03-10T08:59:00Z", 60), ("2026-03-10T09:59:00+01:00", 60), (str(START - 5), 5),
    ],
)  # fmt: skip
def test_times_are_read_in_every_accepted_form(text: str, ago: float) -> None:
    assert parse_time(text, START) == START - ago


@pytest.mark.parametrize("text", ["yesterday", "15", "now-", "now-5parsecs", "--5", "2026-13-01"])
def test_other_times_are_refused_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(TimeError, match="RFC 3339"):
        parse_time(text, START)


@given(st.integers(min_value=int(1e9), max_value=int(4e9)))
def test_a_printed_time_is_read_back(seconds: int) -> None:
    stamp = datetime.fromtimestamp(seconds, UTC).isoformat()
    assert parse_time(stamp, START) == seconds
    assert parse_time(str(seconds), START) == seconds


@given(st.text(max_size=20))
def test_no_text_breaks_the_reading_of_times(text: str) -> None:
    with contextlib.suppress(TimeError):
        parse_time(text, START)


def test_a_window_ends_now_at_the_latest_and_is_never_empty() -> None:
    assert parse_window("-60", "now+5m", START) == (START - 60, START)
    with pytest.raises(TimeError, match="window is empty"):
        parse_window("now", "-60", START)


@pytest.mark.parametrize(
    "command",
    [
        "env", "cat /etc/hosts | grep web", "curl -sv -m 2 http://web:8080/readyz",
        "curl -s -o /dev/null -w '%{http_code}' http://web", "nslookup web", "df -h && ps aux",
        "psql -U postgres -c 'SELECT * FROM pg_stat_activity'", "valkey-cli -a x INFO memory",
        "sh -c 'ls /tmp; df'", "cat x 2>/dev/null", "",
        "sleep 5", "env -0", "env A=b", "sort -rn /var/log/x", "ls /x 2>&1 | head",
        "psql -U postgres -Atc 'SELECT 1'", "psql -c'SELECT 1; SELECT 2' -d shop", "nc -zv web 80",
        "psql -c 'SELECT a FROM t WHERE a > 1' | head -3", "sh -c \"psql -c 'SELECT 1'; df\"",
        "echo 'SELECT 1' | psql -U postgres", "echo INFO memory | valkey-cli -p 6379",
        "echo PING | nc web 6379", "find / -name x", "date -u",
        "psql --command='SHOW all' >/dev/null", "/usr/bin/env A=b",
    ],
)  # fmt: skip
def test_commands_that_only_look_are_reads(command: str) -> None:
    assert shell_effect(command) == "read"


@pytest.mark.parametrize(
    "command",
    [
        "kill 1", "rm -rf /data", "echo x > /etc/config", "curl -X POST http://web/orders",
        "curl -d a=b http://web", "wget --post-data x http://web", "psql -c 'DROP TABLE t'",
        "psql -f x.sql", "valkey-cli FLUSHALL", "env; kill 1", "cat $(rm x)", "sh -c 'kill 1'",
        "echo `kill 1`", "bash", "curl -o /etc/x http://web",
        "curl -sXPOST http://web", "curl -sd a=b http://web", "curl --json {} http://web",
        "curl -K x", "curl --output=/x http://web", "env & kill 1", "wget --method=PUT http://web",
        "env psql -c 'DROP TABLE t'", "env A=b sh -c 'kill 1'", "sort -o /etc/config x",
        "psql -U postgres -Atc 'DELETE FROM t'", "psql -c'DROP TABLE t'", "psql -qcDROP",
        "psql --comm 'DROP TABLE t'", "psql --fil=x.sql", "psql -o /etc/x -c 'SELECT 1'",
        "sh -c \"psql -c 'SELECT 1'; kill 1\"", "psql -c 'SELECT 1' | sh", "psql < x.sql",
        "echo 'DELETE FROM t' | psql -U postgres", "cat x | psql", "echo FLUSHALL | valkey-cli",
        "echo 'SELECT 1\\073 DROP TABLE t' | psql", "echo FLUSHALL | nc web 6379",
        "cat x | nc web 6379", "sh -c \"kill 1 # don't\"", "env -S'kill 1'", "find . -execdir rm",
        "find . -fprint x", "date -s 1", "sysctl a=1", "openssl rand -out x 1", "kill 1\nls",
        "valkey-cli INFO < x", "nc -e sh web 80",
        "/usr/bin/env sh -c 'kill 1'", "/usr/bin/sort -o /etc/config x",
    ],
)  # fmt: skip
def test_commands_that_may_change_something_are_writes(command: str) -> None:
    assert shell_effect(command) == "write"


@pytest.mark.parametrize(
    ("sql", "effect"),
    [
        ("SELECT * FROM pg_stat_activity", "read"), ("\\dp", "read"),
        ("show max_connections", "read"),
        ("explain select 1", "read"), ("SELECT 'update t'", "read"), ("-- drop\nSELECT 1;", "read"),
        ("UPDATE t SET a = 1", "write"), ("SELECT 1; DROP TABLE t", "write"),
        ("SELECT pg_terminate_backend(7)", "write"), ("EXPLAIN ANALYZE DELETE FROM t", "write"),
        ("SELECT * INTO x FROM t", "write"), ("GRANT SELECT ON t TO r", "write"),
        ("SELECT '--'; DROP TABLE t", "write"), ("SELECT $$'$$; DROP TABLE t; --'", "write"),
        ("SELECT E'\\''; DROP TABLE t; --'", "write"), ("\\dt\nDROP TABLE t", "write"),
        ("SELECT 1 AS \"'\"; DROP TABLE t; --'", "write"), ("\\copy t from x", "write"),
        ("SELECT /* /* */ '*/ 1; DROP TABLE t; --'", "write"), ("\\d+ t", "read"),
        ("SELECT $a$ drop; $a$, 'it''s; x'", "read"),
        ("WITH d AS (DELETE FROM t RETURNING 1) SELECT 1", "write"),
        ("SELECT nextval('s')", "write"), ("SELECT setval('s', 1)", "write"),
        ("SELECT lo_import('x')", "write"), ("SELECT pg_stat_reset()", "write"),
        ("SELECT query_to_xml('DELETE FROM t', true, true, '')", "write"),
        ("SELECT pg_advisory_lock(1)", "write"), ("SELECT pg_drop_replication_slot('x')", "write"),
        ("SELECT dblink_exec('x')", "write"), ("SELECT pg_size_pretty(1::bigint)", "read"),
        ("SELECT last_value FROM s", "read"), ("SELECT * FROM pg_replication_slots", "read"),
        ("SELECT \"setval\"('s', 1)", "write"), ("SELECT 1 WHERE 'a' IN ('a', 'b')", "read"),
        ("SELECT stats_reset FROM pg_stat_database", "read"),
    ],
)  # fmt: skip
def test_statements_are_told_apart(sql: str, effect: str) -> None:
    assert sql_effect(sql) == effect


def test_cache_commands_are_told_apart() -> None:
    assert {cache_effect(c) for c in ("INFO", "get x", "CONFIG GET *", "CLIENT LIST")} == {"read"}
    writes = ("FLUSHALL", "SET x 1", "CONFIG SET maxmemory 1", "CONFIG", "CLIENT KILL x")
    assert {cache_effect(c) for c in writes} == {"write"}


def test_queue_commands_are_told_apart() -> None:
    reads = ("stream ls", "stream info ORDERS", "str view ORDERS 3", "consumer info ORDERS a",
             "c ls ORDERS", "account info", "stream get ORDERS 7")  # fmt: skip
    assert {queue_effect(c) for c in reads} == {"read"}
    writes = ("stream purge ORDERS -f", "stream --x ls purge ORDERS -f", "consumer rm ORDERS a -f",
              "pub orders.placed {}", "stream edit ORDERS --max-msgs 1 -f", "-s ls stream ls",
              "stream rmm ORDERS 7 -f", "account")  # fmt: skip
    assert {queue_effect(c) for c in writes} == {"write"}
    assert shell_effect("nats stream info ORDERS | grep Messages") == "read"
    assert shell_effect("nats stream purge ORDERS -f") == "write"


def test_answers_about_a_window_begin_with_the_range_that_was_evaluated() -> None:
    _, tools = toolbox()
    for name, arguments in (
        ("logs_search", {"start": "-600"}),
        ("logs_patterns", {}),
        ("traces_search", {}),
        ("logs_query", {"query": '{app="web"}'}),
        ("metrics_range", {"query": "up"}),
        ("topology", {}),
        ("changes", {}),
        ("k8s_events", {}),
    ):
        seen = call(tools, name, **arguments)
        assert seen.ok
        assert seen.text.startswith("range: 2026-03-")


def test_empty_answers_carry_hints() -> None:
    _, tools = toolbox()
    assert (
        "labels of"
        in call(
            tools, "metrics_query", query="http_server_request_duration_seconds_count{x='y'}"
        ).text
    )
    assert "metrics_names lists them" in call(tools, "metrics_query", query="nothing_total").text
    assert "components: " in call(tools, "logs_search", service="wbe", contains="zzz").text
    assert "did you mean 'web'" in call(tools, "traces_search", service="wep").text
    assert "did you mean" in call(tools, "metrics_metadata", metric="upp").text


def test_a_query_that_cannot_be_parsed_is_answered_with_the_reason() -> None:
    _, tools = toolbox()
    seen = call(tools, "metrics_query", query="up{")
    assert not seen.ok
    assert "cannot be evaluated: unexpected end" in seen.text


def test_a_range_answer_summarises_and_chooses_a_step() -> None:
    env, tools = toolbox()
    seen = call(tools, "metrics_range", query="up", start="now-30m")
    assert env.telemetry.asked["step"] == 60.0
    assert "MIN  MEAN  MAX  LAST  SERIES" in seen.text
    assert seen.data[0]["points"][1][1] == 3.0
    assert not call(tools, "metrics_range", query="up", start="-86400", step=0.1).ok


def test_log_search_reports_the_total_beside_the_limit() -> None:
    _, tools = toolbox()
    seen = call(tools, "logs_search", limit=10)
    assert (len(seen.data), seen.total, seen.truncated) == (10, 300, True)
    assert "10 of 300 lines" in seen.text


def test_logql_lines_come_in_time_order_with_what_the_line_does_not_show() -> None:
    env, tools = toolbox()
    seen = call(tools, "logs_query", query='{app="web"} | json', start="-600", limit=4)
    assert env.telemetry.asked["newest_first"]
    assert [d["time"] - START for d in seen.data] == [-1.0, -2.0, -11.0, -12.0]
    assert seen.text.splitlines()[1].endswith('web-1 ERROR {code="E7"} request 1 failed')
    assert seen.truncated
    assert "streams of app: web" in call(tools, "logs_query", query='{app="nothing"}').text


def test_numbers_from_lines_are_printed_like_metrics() -> None:
    env, tools = toolbox()
    seen = call(tools, "logs_query", query='rate({app="web"}[5m])', start="now-30m")
    assert env.telemetry.asked["step"] == 60.0
    assert "MIN  MEAN  MAX  LAST  SERIES" in seen.text
    assert seen.data[0]["points"][1][1] == 3.0


def test_trace_search_takes_tags_or_traceql() -> None:
    env, tools = toolbox()
    call(tools, "traces_search", tags='http.response.status_code=500 db.system.name="a b"')
    assert env.telemetry.asked["tags"] == {
        "http.response.status_code": "500", "db.system.name": "a b",
    }  # fmt: skip
    assert "no value" in call(tools, "traces_search", tags="error").text
    assert "cannot be read" in call(tools, "traces_search", tags='a="b').text
    assert call(tools, "traces_search", query="{ duration > 1s }").total == 1


def test_sql_rows_come_as_a_table_and_as_objects() -> None:
    _, tools = toolbox()
    seen = call(tools, "telemetry_sql", sql="SELECT 1")
    assert seen.data == [
        {"s": "web", "s:1": 1.5, "m": {"a": "1"}},
        {"s": "web", "s:1": None, "m": {}},
    ]
    assert "without ORDER BY" in seen.text
    assert 'web  1.5  {"a": "1"}' in seen.text
    assert seen.truncated


def test_services_and_topology_show_components_and_edges() -> None:
    _, tools = toolbox()
    names = [r["component"] for r in call(tools, "services").data]
    assert names == ["web", "web-postgres", "web-valkey"]
    edges = {(r["caller"], r["callee"]): r for r in call(tools, "topology").data}
    assert edges["web", "web-postgres"]["errors"] == 2
    assert edges["web", "web-valkey"]["calls"] == 0
    assert "did you mean 'web'" in call(tools, "topology", component="wep").text


def test_a_trace_is_a_tree_that_marks_where_the_error_began() -> None:
    _, tools = toolbox()
    seen = call(tools, "traces_get", trace_id="a1")
    assert [(s["name"], s["origin"]) for s in seen.data] == [("GET /", False), ("SELECT", True)]
    assert seen.data[0]["self_ms"] == pytest.approx(15.0, abs=0.01)
    path = call(tools, "traces_critical_path", trace_id="a1").data
    assert {p["name"]: round(p["ms"]) for p in path} == {"GET /": 15, "SELECT": 15}
    assert "traces_search finds ids" in call(tools, "traces_get", trace_id="zz").text


spans_of_a_trace = st.lists(
    st.tuples(
        st.floats(0, 1, allow_nan=False), st.floats(0, 1000, allow_nan=False), st.integers(0, 9)
    ),
    min_size=1,
    max_size=10,
)


@given(spans_of_a_trace)
def test_the_critical_path_is_as_long_as_its_root(rows: list[tuple[float, float, int]]) -> None:
    spans = [
        SpanRow("t", str(n + 1), str(parent) if parent <= n else "", "s", "p", f"n{n}", "server",
                START + begin, duration, "")
        for n, (begin, duration, parent) in enumerate(rows)
    ]  # fmt: skip
    tree = Tree(spans)
    assert len(list(tree.walk())) == len(spans)
    total = sum(segment.ms for segment in tree.critical_path())
    assert total == pytest.approx(tree.roots[0].duration_ms, abs=0.01)


def test_differences_name_paths_and_skip_what_the_server_sets() -> None:
    old = {"a": 1, "resourceVersion": "1", "c": [{"name": "x", "v": 1}, {"name": "y"}]}
    new = {"a": 1, "resourceVersion": "2", "c": [{"name": "x", "v": 2}], "d": "new"}
    assert difference(old, new, skip=SERVER_SET) == [
        "c[x].v: 1 -> 2",
        'c[y]: {"name": "y"} -> (absent)',
        'd: (absent) -> "new"',
    ]


def test_runbooks_are_listed_and_read_from_the_content(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "services" / "shop" / "runbooks"
    folder.mkdir(parents=True)
    (folder / "high-latency.md").write_text("# High latency\n\nLook.\n", encoding="utf-8")
    monkeypatch.setattr(content, "roots", lambda: [tmp_path])
    _, tools = toolbox()
    assert call(tools, "runbooks").data == ["high-latency"]
    assert "Look." in call(tools, "runbooks", name="high-latency.md").text
    assert "did you mean 'high-latency'" in call(tools, "runbooks", name="latency-high").text
    assert call(tools, "docs").text == "the app has no docs"


@pytest.mark.parametrize(
    "text",
    [
        "9" * 400, "9" * 15, "now-99999999999d", "now+99999999999d", "-" + "9" * 30,
        "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00+01:00",
    ],
)  # fmt: skip
def test_times_that_no_date_can_print_are_refused(text: str) -> None:
    with pytest.raises(TimeError):
        parse_time(text, 1.8e9)
