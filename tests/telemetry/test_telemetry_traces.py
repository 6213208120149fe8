"""Trace search by tags and TraceQL, tags and values, one trace as a tree and its critical path."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from traces_cases import START, table

from aiopslab.telemetry.answers import TagValue
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.rows import SpanRow
from aiopslab.telemetry.spans import SpanTable
from aiopslab.telemetry.traceql import TraceEngine
from aiopslab.telemetry.traceql.fields import Fields
from aiopslab.telemetry.traceql.masks import mask
from aiopslab.telemetry.traceql.parser import MAX_DEPTH, MAX_LENGTH, parse
from aiopslab.telemetry.traceql.tree import SpanSet
from aiopslab.telemetry.traces import Tree

SPANS = table()
ENGINE = TraceEngine(SPANS)


def found(query: str, **how: Any) -> list[int]:
    """Return the numbers of the traces that a TraceQL query finds."""
    matches, total = ENGINE.query(query, START, START + 100, **how)
    assert total >= len(matches)
    return [int(match.summary.trace_id, 16) for match in matches]


def searched(**how: Any) -> list[int]:
    arguments: dict[str, Any] = {"start": START, "end": START + 100, "limit": 9, **how}
    return [int(t.trace_id, 16) for t in ENGINE.search(**arguments)[0]]


@pytest.mark.parametrize(
    ("query", "traces"),
    [
        ("", [3, 2, 1]),
        ("{}", [3, 2, 1]),
        ("{ true }", [3, 2, 1]),
        ("{ false }", []),
        ('{ resource.service.name = "rate" }', [3, 2, 1]),
        ('{ resource.service.name = "rat" }', []),
        ('{ resource.service.name =~ "r.*" && status = error }', [3]),
        ("{ status = error }", [3]),
        ("{ status != error }", [2, 1]),
        ("{ status = unset }", [2, 1]),
        ("{ status = ok }", []),
        ("{ duration > 800ms }", [2]),
        ("{ duration >= 99.9ms && duration < 1s && kind = server }", [3, 2, 1]),
        ("{ duration > 1s || status = error }", [3]),
        ("{ span.http.response.status_code >= 500 }", [3]),
        ("{ span.http.status_code >= 500 }", [3]),
        ("{ .http.response.status_code = 200 }", [2, 1]),
        ('{ .http.response.status_code = "200" }', []),
        ("{ span.cached = false }", [3, 2, 1]),
        ("{ span.cached }", []),
        ('{ span.http.route = "/hotels" && duration < 200ms }', [1]),
        ('{ span."http.route" = `/hotels` }', [3, 2, 1]),
        ('{ name =~ "SELECT .*" && span.db.system = "postgresql" }', [3, 2, 1]),
        ('{ name !~ "GET.*" && status = error }', [3]),
        ('{ kind = client && name = "GET /hotels" }', []),
        ("{ span.http.route = nil && kind = client && duration > 500ms }", [2]),
        ("{ span.http.route != nil && duration > 500ms }", [2]),
        ("{ span.nosuch != 5 }", []),
        ("{ !(duration > 50ms) }", [1]),
        ('{ rootServiceName = "web" && rootName = "GET /hotels" && traceDuration > 800ms }', [2]),
        ('{ trace:duration > 250ms && span:name = "SELECT rates" }', [3, 2]),
        ('{ statusMessage =~ ".*refused" }', [3]),
        ('{ resource.k8s.pod.name = "web-1" && (status = error || duration > 850ms) }', [3, 2]),
        ("{ kind = server && duration < 70ms } && { kind = client && duration < 60ms }", [1]),
        ("{ duration > 850ms } && { status = error }", []),
        ("{ duration > 850ms } || { status = error }", [3, 2]),
        ("({ duration > 850ms } || { status = error }) && { kind = internal }", []),
    ],
)
def test_traceql_finds_traces(query: str, traces: list[int]) -> None:
    assert found(query) == traces


def test_matches_name_their_spans_in_start_order_up_to_a_number() -> None:
    [match], total = ENGINE.query("{ status = error }", START, START + 100, spans=2)
    assert (total, match.matched) == (1, 4)
    assert [s.name for s in match.spans] == ["GET /hotels", "GET /rates"]
    assert (match.summary.root_service, match.summary.root_name) == ("web", "GET /hotels")


def test_limit_and_window_hold() -> None:
    assert found("{}", limit=2) == [3, 2]
    assert ENGINE.query("{}", START, START + 100, limit=1)[1] == 3
    assert [m.summary.start for m in ENGINE.query("{}", START + 15, START + 25)[0]] == [START + 20]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{", "line 1, col 2: syntax error: unexpected $end"),
        ("{ name = }", "col 10: syntax error: unexpected }"),
        ("{ name = GET }", "fields can only be compared with literals"),
        ("{ nosuch = 1 }", "the field 'nosuch' is not supported"),
        ("{ event.x = 1 }", "the field 'event.x' is not supported"),
        ("{ duration > 5 } | count() > 2", "pipelines"),
        ("{ kind = server } >> { kind = client }", "the structural operator >>"),
        ("{ kind = server } ~ { kind = client }", "the operator ~"),
        ("{ duration + 1s > 2s }", "arithmetic is not supported"),
        ("{ status = 5 }", "status is text"),
        ("{ status = bad }", "literals"),
        (f"{{ .a = {'9' * 4500} }}", "out of range"),
        ('{ status = "bad" }', "status is one of error, ok, unset"),
        ("{ status > error }", "compared with = or !="),
        ('{ duration > "1s" }', "duration is a duration"),
        ("{ span.x > nil }", "nil can only be compared"),
        ('{ name =~ "(" }', "invalid regex"),
        ('{ name =~ "(a+)+b" }', "invalid regex"),
        ("{ name =~ 5 }", "a regular expression is a string"),
        ('{ name = "x }', "unexpected character"),
        ("{} {}", "unexpected {"),
        ("{" + "(" * (MAX_DEPTH + 2), "nested expressions"),
        ("{" + " " * MAX_LENGTH + "}", "longer than"),
        ('{ name = "\ud800" }', "invalid UTF-8"),
    ],
)
def test_what_traceql_does_not_know_is_refused(query: str, message: str) -> None:
    with pytest.raises(QueryError) as refusal:
        ENGINE.query(query, START, START + 100)
    assert message in str(refusal.value)


words = st.sampled_from(
    ["{", "}", "(", ")", "&&", "||", "!", "=", "!=", ">", "=~", "name", "duration", "status",
     ".a", "span.b", "resource.service.name", '"x"', "5", "1s", "error", "nil", "true", "|"]
)  # fmt: skip


@given(st.lists(words, max_size=20).map(" ".join) | st.text(max_size=40))
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(QueryError):
        parse(text)


conditions = st.recursive(
    st.sampled_from(
        [
            ('resource.service.name = "web"', lambda s: s.service == "web"),
            ("status = error", lambda s: s.error != ""),
            ("duration > 100ms", lambda s: s.duration_ms > 100.0000001),
            ("kind = client", lambda s: s.kind == "client"),
            ('name =~ "GET.*"', lambda s: s.name.startswith("GET")),
            ("span.http.response.status_code < 300",
             lambda s: s.attributes.get("http.response.status_code", 999) < 300),
            ("span.http.route = nil", lambda s: "http.route" not in s.attributes),
        ]
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda a, b: (f"({a[0]} && {b[0]})", lambda s: a[1](s) and b[1](s)), inner, inner
        ),
        st.builds(
            lambda a, b: (f"({a[0]} || {b[0]})", lambda s: a[1](s) or b[1](s)), inner, inner
        ),
        inner.map(lambda a: (f"!({a[0]})", lambda s: not a[1](s))),
    ),
    max_leaves=6,
)  # fmt: skip


@given(conditions)
def test_masks_agree_with_looking_at_each_span(condition: Any) -> None:
    text, holds = condition
    search = parse(f"{{ {text} }}")
    assert isinstance(search, SpanSet)
    got = mask(Fields(SPANS), search.condition)
    spans = [SPANS.rows(np.array([i]))[0] for i in range(len(SPANS.columns()))]
    assert got.tolist() == [bool(holds(span)) for span in spans]


@pytest.mark.parametrize(
    ("how", "traces"),
    [
        ({"tags": {"error": "true"}}, [3]),
        ({"tags": {"error": "false"}, "min_ms": 850.0}, [2]),
        ({"tags": {"http.response.status_code": "500"}}, [3]),
        ({"tags": {"http.status_code": "500", "span.kind": "server"}}, [3]),
        ({"tags": {"otel.status_code": "ERROR"}}, [3]),
        ({"tags": {"db.system": "postgresql"}, "service": "web"}, []),
        ({"tags": {"cached": "false"}, "service": "rate", "max_ms": 100.0}, [1]),
        ({"tags": {"k8s.pod.name": "web-1", "http.route": "/hotels"}}, [3, 2, 1]),
        ({"tags": {"nosuch": ""}}, []),
        ({"operation": "GET /r", "exact": True}, []),
        ({"operation": "GET /rates", "exact": True, "service": "web"}, [3, 2, 1]),
        ({"operation": "GET /r"}, [3, 2, 1]),
        ({"max_ms": 0.0}, []),
    ],
)
def test_search_by_tags_and_exact_operation(how: dict[str, Any], traces: list[int]) -> None:
    assert searched(**how) == traces


def test_services_operations_tags_and_values_are_listed() -> None:
    assert ENGINE.services() == ["rate", "web"]
    assert ENGINE.operations("rate") == [("GET /rates", "server"), ("SELECT rates", "client")]
    assert len(ENGINE.operations()) == 4
    assert ENGINE.operations("nosuch") == []
    tags = ENGINE.tags()
    assert tags["resource"] == ["k8s.pod.name", "service.name"]
    assert "http.route" in tags["span"]
    assert ENGINE.tag_values("resource.service.name") == [
        TagValue("string", "rate"), TagValue("string", "web"),
    ]  # fmt: skip
    assert ENGINE.tag_values("span.http.response.status_code") == [
        TagValue("int", "200"), TagValue("int", "500"),
    ]  # fmt: skip
    assert ENGINE.tag_values(".cached") == [TagValue("bool", "false")]
    assert TagValue("keyword", "error") in ENGINE.tag_values("status")
    assert ENGINE.tag_values("duration") == []
    assert ENGINE.tag_values("nosuch") == []


def test_many_traces_are_looked_up_at_once() -> None:
    ids = [f"{n:032x}" for n in (3, 7, 1, 3)]
    rows = SPANS.trace_spans([*ids, "zz", "", "f" * 40])
    assert [len(spans) for spans in rows] == [4, 0, 4, 4, 0, 0, 0]
    assert rows[0] == rows[3] == SPANS.trace(ids[0])


def test_an_empty_table_answers_every_search() -> None:
    engine = TraceEngine(SpanTable())
    assert engine.query("{ status = error && traceDuration > 1s }", 0, 9) == ([], 0)
    assert engine.search(start=0, end=9, limit=5, tags={"error": "true"}) == ([], 0)
    assert engine.services() == engine.operations() == []


moments = st.lists(
    st.tuples(st.integers(1, 12), st.integers(0, 50), st.integers(0, 30)), min_size=1, max_size=80
)


@given(moments, st.integers(1, 15))
def test_the_newest_traces_are_found_whatever_the_order_of_recording(
    rows: list[tuple[int, int, int]], limit: int
) -> None:
    spans = SpanTable()
    for n, (trace, at, length) in enumerate(rows):
        spans.append(trace, n + 1, 0, "s", "p", "n", "server", at, at + length, "", None)
    summaries, total = spans.newest(np.ones(len(rows), bool), limit)
    latest = {trace: max(at for t, at, _ in rows if t == trace) for trace, _, _ in rows}
    assert total == len(latest)
    newest = [latest[int(s.trace_id, 16)] for s in summaries]
    assert newest == sorted(latest.values(), reverse=True)[:limit]
    ends = {t: max(a + d for u, a, d in rows if u == t) for t in latest}
    begins = {t: min(a for u, a, _ in rows if u == t) for t in latest}
    durations = spans.trace_durations()
    for trace, code in spans.traces.items():
        assert durations[code] == ends[trace] - begins[trace]


# -- one trace ------------------------------------------------------------------------------------


def span(id: str, parent: str, start: float, ms: float, error: str = "") -> SpanRow:
    return SpanRow("t", id, parent, "s", "p", id, "server", START + start, ms, error)


def test_the_critical_path_goes_back_from_what_finished_last() -> None:
    tree = Tree(
        [
            span("root", "", 0.0, 100.0), span("fast", "root", 0.010, 20.0),
            span("slow", "root", 0.010, 60.0), span("last", "root", 0.080, 10.0),
        ]
    )  # fmt: skip
    path = [(s.span.name, round(s.ms, 3)) for s in tree.critical_path()]
    assert path == [
        ("root", 10.0), ("slow", 60.0), ("root", 10.0), ("last", 10.0), ("root", 10.0),
    ]  # fmt: skip
    nodes = {n.span.name: n for n in tree.walk()}
    assert {k: round(n.path_ms, 3) for k, n in nodes.items()} == {
        "root": 30.0, "fast": 0.0, "slow": 60.0, "last": 10.0,
    }  # fmt: skip
    assert nodes["root"].self_ms == pytest.approx(30.0, abs=0.001)


def test_a_child_that_outlives_its_parent_is_cut_at_its_end() -> None:
    tree = Tree([span("root", "", 0.0, 50.0), span("async", "root", 0.020, 500.0)])
    assert [(s.span.name, round(s.ms, 3)) for s in tree.critical_path()] == [
        ("root", 20.0), ("async", 30.0),
    ]  # fmt: skip


def test_an_error_begins_where_no_child_failed() -> None:
    tree = Tree([span("a", "", 0, 9, "x"), span("b", "a", 0, 8, "x"), span("c", "a", 0, 1)])
    assert {n.span.name: n.origin for n in tree.walk()} == {"a": False, "b": True, "c": False}


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["", "a", "b", "c", "d"]),
                  st.integers(0, 3), st.integers(0, 3)),
        max_size=8,
    )
)  # fmt: skip
def test_spans_that_are_sent_with_any_ids_and_parents_make_a_tree_with_an_end(
    sent: list[tuple[str, str, int, int]],
) -> None:
    tree = Tree([span(id, parent, start, 1000.0 * length) for id, parent, start, length in sent])
    nodes = list(tree.walk())
    assert len(nodes) <= len(sent)
    whole = sum(segment.ms for segment in tree.critical_path())
    assert whole == pytest.approx(tree.roots[0].duration_ms if tree.roots else 0.0)


def test_a_trace_may_be_deeper_than_the_stack() -> None:
    deep = [span(f"{i:05}", f"{i - 1:05}" if i else "", i / 1e3, 5000.0) for i in range(3000)]
    path = Tree(deep).critical_path()
    assert sum(segment.ms for segment in path) == pytest.approx(5000.0)
    assert len(list(Tree(deep).walk())) == 3000


def test_no_spans_have_no_path() -> None:
    assert Tree([]).critical_path() == []
