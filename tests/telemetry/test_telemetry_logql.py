"""LogQL over a log table: lines, labels, stages, numbers over windows, limits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logql_cases import START, log, table

from aiopslab.telemetry.answers import LogAnswer, LogStats
from aiopslab.telemetry.logql import LogEngine
from aiopslab.telemetry.logs import LogTable
from aiopslab.telemetry.promql.values import QueryError

ENGINE = LogEngine(table())


def lines(query: str, *, start: float = 0.0, end: float = 60.0, **how: Any) -> LogAnswer:
    return ENGINE.range(query, START + start, START + end, **how)


def texts(query: str, **how: Any) -> list[str]:
    answer = lines(query, newest_first=False, limit=1000, **how)
    entries = [entry for stream in answer.streams for entry in stream.entries]
    return [line for _, line in sorted(entries)]


def labels(query: str) -> dict[str, str]:
    """Return the labels of the oldest line, without those of its stream."""
    [stream] = lines(query, limit=1, newest_first=False).streams
    own = ("app", "container", "job", "namespace", "pod", "service_name", "detected_level")
    return {k: v for k, v in stream.labels.items() if k not in own}


def value(query: str, at: float = 59.9) -> dict[str, float]:
    """Return values by the text of their labels."""
    found = ENGINE.instant(query, START + at)
    assert found.kind in ("vector", "scalar")
    return {
        ",".join(f"{k}={v}" for k, v in sorted(s.labels.items())): s.points[0][1]
        for s in found.series
    }


# -- log queries ----------------------------------------------------------------------------------


def test_streams_carry_the_labels_of_kubernetes_and_the_level() -> None:
    found = lines('{app="db"}', limit=1).streams[0]
    assert found.labels == {
        "app": "db", "container": "db", "detected_level": "warn", "job": "hotel/db",
        "namespace": "hotel", "pod": "db-1", "service_name": "db",
    }  # fmt: skip
    assert list(found.labels) == sorted(found.labels)


def test_lines_come_newest_first_and_the_window_is_open_at_its_end() -> None:
    newest = lines('{app="db"}', limit=2).streams[0].entries
    assert [t - START for t, _ in newest] == [55.25, 50.25]
    oldest = lines('{app="db"}', limit=2, newest_first=False).streams[0].entries
    assert [t - START for t, _ in oldest] == [0.25, 5.25]
    assert len(texts('{app="geo"}', start=10.0, end=20.0)) == 10


def test_the_limit_holds_over_all_streams() -> None:
    found = lines('{namespace="hotel"}', limit=7)
    assert sum(len(s.entries) for s in found.streams) == 7
    assert found.total == 102
    assert [s.labels["app"] for s in found.streams] == sorted(
        s.labels["app"] for s in found.streams
    )
    staged = lines('{namespace="hotel"} | json', limit=7)
    assert sum(len(s.entries) for s in staged.streams) == 7
    assert staged.total is None


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ('{app="geo"} |= "500"', 6),
        ('{app="geo"} != "500"', 54),
        ('{app="geo"} |~ `"ms":[12]\\d?\\.5`', 22),
        ('{app="geo"} !~ "served"', 0),
        ('{app="geo"} |= `"status":500` or `"ms":3.5`', 7),
        ('{app="geo"} !~ `:500,` or `"ms":3.5`', 53),
        ('{app="geo"} |= "served" |= "500" != "b19"', 5),
        ('{app=~"geo|db"}', 72),
        ('{app=~".+", app!="geo"}', 42),
        ('{app="geo", pod!~".*-0"}', 30),
        ('{app="geo", nosuch=""}', 60),
        ('{app="geo", detected_level="error"}', 0),
        ('{app="geo"} | detected_level="error"', 6),
        ('{app="geo"} | json | status=500', 6),
        ('{app="geo"} | json | status>=500 or ms<2', 8),
        ('{app="geo"} | json | status=~"5.." and user_id="0"', 2),
        ('{app="geo"} | json | nosuch > 1', 0),
        ('{app="geo"} | json | nosuch != "x"', 60),
        ('{app="rate"} | logfmt | took >= 40ms', 10),
        ('{app="rate"} | logfmt | size > 10KB and size <= 20KB', 5),
        ('{app="db"} | pattern "LOG:  <what> <n> done by <ip>" | ip="10.0.0.5"', 1),
        ('{app="db"} | regexp `by (?P<ip>[\\d.]+)` | ip=~"10.0.0..0"', 5),
    ],
)
def test_filters(query: str, count: int) -> None:
    assert len(texts(query)) == count


def test_json_takes_scalars_flattens_objects_and_skips_arrays() -> None:
    assert labels('{app="geo"} | json') == {
        "msg": "served", "status": "200", "ms": "0.5", "path": "/nearby", "user_id": "0",
    }  # fmt: skip


def test_json_parameters_reach_into_objects_and_arrays() -> None:
    found = labels('{app="geo"} | json first="tags[0]", id="user.id", u="user", p="[\\"path\\"]"')
    assert found == {"first": "a", "id": "0", "u": '{"id":"0"}', "p": "/nearby"}
    assert labels('{app="geo"} | json gone="nosuch.x[3]"') == {}


def test_logfmt_passes_over_other_text_unless_strict() -> None:
    assert labels('{app="db"} | logfmt') == {}
    assert labels('{app="rate"} | logfmt') == {
        "level": "info", "msg": "price found", "took": "0ms", "size": "0KB",
    }  # fmt: skip
    assert labels('{app="rate"} | logfmt t="took"') == {"t": "0ms"}
    strict = LogTable()
    log(strict, 1, 'a=1 b="2')
    [stream] = LogEngine(strict).range('{app="geo"} | logfmt --strict', START, START + 9).streams
    assert stream.labels["__error__"] == "LogfmtParserErr"


def test_an_extracted_label_does_not_hide_one_of_the_stream() -> None:
    clash = LogTable()
    log(clash, 1, '{"pod":"mine","x":"1"}')
    [stream] = LogEngine(clash).range('{app="geo"} | json', START, START + 9).streams
    assert (stream.labels["pod"], stream.labels["pod_extracted"]) == ("geo-1", "mine")


def test_a_line_that_is_no_json_is_marked_and_can_be_filtered() -> None:
    assert labels('{app="db"} | json')["__error__"] == "JSONParserErr"
    assert len(texts('{namespace="hotel"} | json | __error__=""')) == 60
    assert len(texts('{namespace="hotel"} | json | __error__!=""')) == 42
    assert labels('{app="geo"} | json | msg > 5')["__error__"] == "LabelFilterErr"
    assert labels('{app="db"} | json | drop __error__, __error_details__') == {}


def test_labels_are_renamed_made_dropped_and_kept() -> None:
    kept = lines('{app="geo"} | json | label_format code=status | keep code, app', limit=1)
    assert kept.streams[0].labels == {"app": "geo", "code": "500"}
    assert labels(
        '{app="geo"} | json | label_format code=status | drop msg, ms, path, user_id'
    ) == {"code": "200"}
    assert labels('{app="geo"} | json s="status" | label_format t="{{.s}}/{{.app}}"') == {
        "s": "200", "t": "200/geo",
    }  # fmt: skip
    assert labels('{app="geo"} | json s="status", m="ms" | drop s="200", m=~"7.*"') == {"m": "0.5"}


def test_lines_are_rewritten_and_filtered_as_they_are_then() -> None:
    query = '{app="geo"} | json | line_format "{{.status}} {{.path}}" |= "500 /"'
    assert texts(query) == ["500 /nearby"] * 6
    coloured = LogTable()
    log(coloured, 1, "\x1b[31mred\x1b[0m")
    [stream] = LogEngine(coloured).range('{app="geo"} | decolorize', START, START + 9).streams
    assert stream.entries[0][1] == "red"


# -- metric queries -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('sum(count_over_time({app="geo"}[10s]))', {"": 10.0}),
        ('sum by (app) (rate({namespace="hotel"}[10s]))',
         {"app=geo": 1.0, "app=rate": 0.5, "app=db": 0.2}),
        ('sum by (pod) (count_over_time({app="geo"}[10s]))', {"pod=geo-0": 5.0, "pod=geo-1": 5.0}),
        ('sum by (detected_level) (count_over_time({app="geo"}[20s]))',
         {"detected_level=error": 2.0, "detected_level=info": 18.0}),
        ('sum(bytes_over_time({app="db"}[10s]))', {"": 74.0}),
        ('sum(bytes_rate({app="db"}[10s]))', {"": 7.4}),
        ('sum by (status) (count_over_time({app="geo"} | json [20s]))',
         {"status=200": 18.0, "status=500": 2.0}),
        ('sum without (pod, job, container, namespace, service_name, detected_level)'
         ' (count_over_time({app="geo"} |= "500" [60s]))', {"app=geo": 6.0}),
        ('max(count_over_time({app="geo"}[10s]))', {"": 5.0}),
        ('count(count_over_time({app="geo"}[10s]))', {"": 3.0}),
        ('avg_over_time({app="geo"} | json | unwrap ms [4s]) by (app)', {"app=geo": 58.0}),
        ('max_over_time({app="geo"} | json | unwrap ms [4s]) by (app)', {"app=geo": 59.5}),
        ('min_over_time({app="geo"} | json | unwrap ms [4s]) by ()', {"": 56.5}),
        ('first_over_time({app="geo"} | json | unwrap ms [4s]) by ()', {"": 56.5}),
        ('last_over_time({app="geo"} | json | unwrap ms [4s]) by ()', {"": 59.5}),
        ('quantile_over_time(0.5, {app="geo"} | json | unwrap ms [4s]) by ()', {"": 58.0}),
        ('quantile_over_time(2, {app="geo"} | json | unwrap ms [4s]) by ()', {"": math.inf}),
        ('stddev_over_time({app="geo"} | json | unwrap ms [4s]) by ()', {"": math.sqrt(1.25)}),
        ('sum(sum_over_time({app="geo"} | json | unwrap ms [4s]))', {"": 232.0}),
        ('sum(rate({app="geo"} | json | unwrap ms [4s]))', {"": 58.0}),
        ('max_over_time({app="rate"} | logfmt | unwrap bytes(size) [9s]) by (app)',
         {"app=rate": 58_000.0}),
        ('topk(1, sum by (app) (count_over_time({namespace="hotel"}[10s])))', {"app=geo": 10.0}),
        ('bottomk(1, sum by (app) (count_over_time({namespace="hotel"}[10s])))', {"app=db": 2.0}),
        ('sum(rate({app="geo"} |= "500" [20s])) / sum(rate({app="geo"}[20s]))', {"": 0.1}),
        ('sum by (app) (count_over_time({namespace="hotel"}[10s])) > 4',
         {"app=geo": 10.0, "app=rate": 5.0}),
        ('sum(count_over_time({app="geo"}[10s])) > bool 99', {"": 0.0}),
        ('sum(count_over_time({app="geo"}[10s] offset 55s))', {"": 5.0}),
        ('sum(count_over_time({app="nosuch"}[10s])) or vector(0)', {"": 0.0}),
        ('absent_over_time({app="nosuch", pod=~"x.*"}[10s])', {"app=nosuch": 1.0}),
        ('absent_over_time({app="geo"}[10s])', {}),
        ('label_replace(sum by (app) (rate({app="geo"}[10s])), "x", "$1-$0", "app", "(.).*")',
         {"app=geo,x=g-geo": 1.0}),
        ("1 + 2 * 3", {"": 7.0}),
    ],
)  # fmt: skip
def test_numbers_from_lines(query: str, expected: dict[str, float]) -> None:
    assert value(query) == pytest.approx(expected)


def test_windows_are_open_on_the_left() -> None:
    # Lines at 40.0, 41.0, ...: the one on the left edge is out, the one on the right is in.
    assert value('sum(count_over_time({app="geo"}[10s]))', at=50.0) == {"": 10.0}
    assert value('sum(count_over_time({app="geo"}[10s]))', at=49.999) == {"": 10.0}
    assert value('sum(count_over_time({app="geo"}[1s]))', at=50.5) == {"": 1.0}


def test_a_range_answer_has_a_point_a_step_and_series_sorted_by_labels() -> None:
    found = lines('sum by (app) (count_over_time({namespace="hotel"}[5s]))', start=10, step=5)
    assert found.kind == "matrix"
    assert [s.labels["app"] for s in found.series] == ["db", "geo", "rate"]
    geo = found.series[1]
    assert [t - START for t, _ in geo.points] == [10.0 + 5.0 * n for n in range(11)]
    # After the last line the window runs empty, and there is no point where nothing is.
    assert [v for _, v in geo.points] == [5.0] * 10 + [4.0]


def test_sort_and_topk_order_an_instant_answer() -> None:
    for function, order in (
        ("sort", ["db", "rate", "geo"]), ("sort_desc", ["geo", "rate", "db"]),
        ("topk(2, X)", ["geo", "rate"]),
    ):  # fmt: skip
        inner = 'sum by (app) (count_over_time({namespace="hotel"}[10s]))'
        query = function.replace("X", inner) if "X" in function else f"{function}({inner})"
        found = ENGINE.instant(query, START + 59.9)
        assert [s.labels["app"] for s in found.series] == order


def test_errors_of_lines_fail_a_metric_query_unless_they_are_filtered() -> None:
    with pytest.raises(QueryError, match="pipeline error: 'JSONParserErr' for series"):
        value('sum(count_over_time({app="db"} | json [10s]))')
    assert value('sum(count_over_time({app=~".+"} | json | __error__="" [10s]))') == {"": 10.0}
    with pytest.raises(QueryError, match="SampleExtractionErr"):
        value('sum(sum_over_time({app="geo"} | json | unwrap msg [10s]))')
    query = 'sum(sum_over_time({app="geo"} | json | unwrap msg | __error__="" [10s]))'
    assert value(query) == {}


def test_what_was_read_is_counted() -> None:
    found = ENGINE.instant('sum(count_over_time({app="db"} |= "x" [10s]))', START + 59.9)
    assert found.stats == LogStats(streams=1, chunks=1, entries=2, bytes=74)


# -- limits and look-ups --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "how", "message"),
    [
        ('{app="geo"}', {"limit": 0}, "limit must be a positive value"),
        ('{app="geo"}', {"limit": 5001}, "5001 > 5000"),
        ('rate({app="geo"}[5m])', {"step": 0.0}, "zero or negative query resolution"),
        ('rate({app="geo"}[5m])', {"step": math.nan}, "zero or negative query resolution"),
        ('rate({app="geo"}[5m])', {"step": 0.001}, "exceeded maximum resolution of 11,000 points"),
        ('{app="geo"}', {"end": -1.0}, "end timestamp must not be before"),
        ('{app="geo"}', {"end": math.inf}, "must be finite"),
        ("+".join(["1"] * 2400), {"step": 60.0}, "nested too deeply"),
        ("(1 + 1) or vector(1)", {"step": 60.0}, "not allowed in binary scalar expression"),
        ("vector(1) unless (1 + 1)", {"step": 60.0}, "not allowed in binary scalar expression"),
    ],
)
def test_limits_are_those_of_loki(query: str, how: Mapping[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        lines(query, **how)


def test_an_answer_has_at_most_500_series() -> None:
    many = LogTable()
    for n in range(501):
        log(many, n / 100, f"id={n}")
    engine = LogEngine(many)
    with pytest.raises(QueryError, match=r"maximum number of series \(500\)"):
        engine.instant('count_over_time({app="geo"} | logfmt [1m])', START + 10)
    assert engine.instant('count(count_over_time({app="geo"} | logfmt [1m]))', START + 10).series


def test_a_log_query_is_no_instant_query() -> None:
    with pytest.raises(QueryError, match="not supported as an instant query type"):
        ENGINE.instant('{app="geo"}', START)


def test_labels_values_series_and_stats_look_at_the_window() -> None:
    end = START + 60
    assert ENGINE.labels(START, end) == [
        "app", "container", "job", "namespace", "pod", "service_name",
    ]  # fmt: skip
    assert ENGINE.labels(END_OF_TIME, END_OF_TIME + 1) == []
    assert ENGINE.label_values("app", START, end) == ["db", "geo", "rate"]
    assert ENGINE.label_values("pod", START, end, match='{app="geo"}') == ["geo-0", "geo-1"]
    assert ENGINE.label_values("nosuch", START, end) == []
    pods = [s["pod"] for s in ENGINE.series(['{app="db"}', '{app="geo"}'], START, end)]
    assert pods == ["db-1", "geo-0", "geo-1"]
    assert ENGINE.stats('{app="rate"}', START, end).entries == 30
    with pytest.raises(QueryError):
        ENGINE.series(["{"], START, end)


END_OF_TIME = START + 1e6


def test_an_empty_table_answers_every_query() -> None:
    engine = LogEngine(LogTable())
    assert engine.range('{app="geo"} | json', START, START + 9).streams == []
    assert engine.instant('sum(rate({app="geo"}[5m]))', START).series == []
    assert engine.labels(START, START + 9) == []


def test_late_lines_are_put_in_their_place() -> None:
    late = LogTable()
    for at in (5.0, 1.0, 3.0):
        log(late, at, f"at {at}")
    [stream] = LogEngine(late).range('{app="geo"}', START, START + 9).streams
    assert [line for _, line in stream.entries] == ["at 5.0", "at 3.0", "at 1.0"]


@given(
    st.text("aAbB\u017fK\u0130i |.", max_size=12),
    st.sampled_from(["a", "(?i)A|bb", "ab|B", "(?i)s", "(?i)i|k", "a.b", "(?i)a.b"]),
)
def test_line_filters_agree_with_the_regular_expression(line: str, pattern: str) -> None:
    found = LogTable()
    log(found, 1, line)
    answer = LogEngine(found).range(f'{{app="geo"}} |~ "{pattern}"', START, START + 9)
    assert bool(answer.streams) == (re.search(pattern, line) is not None)


moments = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from("ab"), st.integers(-5, 5)), max_size=40
)


@given(moments, st.integers(1, 100), st.integers(1, 60))
def test_windows_agree_with_counting_by_hand(
    rows: list[tuple[int, str, int]], window: int, step: int
) -> None:
    found = LogTable()
    for tenths, app, number in sorted(rows):
        log(found, tenths / 10, f"n={number}", app=app)
    engine = LogEngine(found)
    for operation, fold in (("count", len), ("sum", sum), ("max", max), ("last", lambda v: v[-1])):
        inner = "" if operation == "count" else "| logfmt | unwrap n"
        outer = "sum by (app)" if operation in ("count", "sum") else ""
        tail = "" if outer else " by (app)"
        query = f'{outer}({operation}_over_time({{app=~".+"}} {inner} [{window}s]){tail})'
        answer = engine.range(query, START, START + 50, step=float(step))
        got = {(s.labels["app"], round(t - START)): v for s in answer.series for t, v in s.points}
        want = {}
        for app in "ab":
            for end in range(0, 51, step):
                inside = [
                    n for t, a, n in sorted(rows, key=lambda r: r[0])
                    if a == app and 10 * (end - window) < t <= 10 * end
                ]  # fmt: skip
                if inside and operation != "last":
                    want[app, end] = float(fold(inside))  # type: ignore[operator]
                elif inside:
                    # Lines of one instant keep the order in which they were recorded.
                    want[app, end] = float(
                        [n for t, a, n in sorted(rows) if a == app
                         and 10 * (end - window) < t <= 10 * end][-1]
                    )  # fmt: skip
        assert got == want
