"""Spans, log lines, patterns, events and changes in the store."""

import pytest

from aiopslab.models.signal import Change, Event
from aiopslab.telemetry.patterns import template
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.store import Store
from aiopslab.telemetry.traceql import TraceEngine

FRONTEND, RATE = "frontend", "rate"


def request(store: Store, trace: int, at: float, *, ms: float = 100.0, error: str = "") -> None:
    """Record a request: frontend -> rate -> its database."""
    end = at + ms / 1000.0
    rate = f"{RATE}.hotel.svc.cluster.local"
    store.span(
        trace, 3, 2, RATE, "rate-1", "GET /rates", "server", at + 0.01, end - 0.01, error, None
    )
    store.span(
        trace, 2, 1, FRONTEND, "frontend-1", "GET", "client", at + 0.005, end - 0.005, error,
        {"server.address": rate, "server.port": 8080},
    )  # fmt: skip
    store.span(
        trace, 1, 0, FRONTEND, "frontend-1", "GET /hotels", "server", at, end, error,
        {"http.response.status_code": 500 if error else 200},
    )  # fmt: skip


@pytest.fixture
def store() -> Store:
    store = Store()
    for n in range(1, 11):
        request(store, n << 64 | n, 10.0 * n, ms=100.0 * n, error="timeout" if n % 5 == 0 else "")
    return store


def test_traces_come_newest_first_with_their_total(store: Store) -> None:
    found, total = TraceEngine(store.spans).search(start=0, end=200, limit=3)
    assert total == 10
    assert [t.start for t in found] == [100.0, 90.0, 80.0]
    assert found[0].root == "frontend: GET /hotels"
    assert found[0].duration_ms == pytest.approx(1000.0)
    assert (found[0].spans, found[0].errors, found[0].services) == (3, 3, [FRONTEND, RATE])


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"errors_only": True}, 2),
        ({"service": RATE, "errors_only": True}, 2),
        ({"service": "nosuch"}, 0),
        ({"operation": "/rates"}, 10),
        ({"min_ms": 850.0}, 2),
        ({"max_ms": 250.0}, 2),
        ({"service": RATE, "min_ms": 100.0, "max_ms": 300.0}, 2),
    ],
)
def test_trace_search_filters(store: Store, condition: dict[str, object], expected: int) -> None:
    arguments: dict[str, object] = {"start": 0, "end": 200, "limit": 50, **condition}
    assert TraceEngine(store.spans).search(**arguments)[1] == expected  # type: ignore[arg-type]


def test_a_trace_is_found_by_its_128_bit_id_in_start_order(store: Store) -> None:
    trace_id = f"{7:016x}{7:016x}"
    spans = store.spans.trace(trace_id)
    assert [s.service for s in spans] == [FRONTEND, FRONTEND, RATE]
    assert spans[0].parent_id == ""
    assert spans[1].parent_id == spans[0].span_id
    assert spans[0].attributes == {"http.response.status_code": 200}
    assert spans[0].trace_id == trace_id


@pytest.mark.parametrize("unknown", ["", "zz", "f" * 33, "-1", "0123"])
def test_an_unknown_or_malformed_trace_id_finds_nothing(store: Store, unknown: str) -> None:
    assert store.spans.trace(unknown) == []


def test_lines_of_many_words_keep_their_templates() -> None:
    store = Store()
    for number in range(20):
        line = f"{chr(97 + number)}bc " + "word " * 10_000
        store.log(1.0, "a", "n", "p", "c", "INFO", line)
    assert len(store.logs.patterns(start=0, end=2, limit=50)) == 20


def test_the_service_graph_counts_calls_errors_and_latency(store: Store) -> None:
    [(caller, callee, calls, errors, p95)] = store.spans.service_graph(0, 200)
    assert (caller, callee, calls, errors) == (FRONTEND, RATE, 10, 2)
    assert 900.0 < p95 < 1000.0


def test_an_empty_store_answers_every_query() -> None:
    store = Store()
    assert TraceEngine(store.spans).search(start=0, end=1, limit=5) == ([], 0)
    assert store.spans.service_graph(0, 1) == []
    assert store.logs.search(start=0, end=1, limit=5) == ([], 0)
    assert store.logs.patterns(start=0, end=1, limit=5) == []
    assert store.promql.instant("up", 0) == []


def test_spans_beyond_a_batch_are_found_as_well() -> None:
    store = Store()
    for n in range(5000):
        request(store, n + 1, float(n))
    assert TraceEngine(store.spans).search(start=0, end=1e9, limit=1)[1] == 5000


def log(store: Store, time: float, line: str, **other: str) -> None:
    store.log(
        time, other.get("service", RATE), "hotel", other.get("pod", "rate-1"), "app",
        other.get("severity", "INFO"), line, 0xABC, 0,
    )  # fmt: skip


@pytest.fixture
def logs() -> Store:
    store = Store()
    for n in range(6):
        log(store, float(n), f"served hotel={n} in {n}.5ms")
    log(store, 6.0, "connect to 198.19.0.4:5432 refused", severity="ERROR", pod="rate-2")
    log(store, 7.0, "slow query", severity="WARN", service=FRONTEND)
    return store


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, 8),
        ({"service": RATE}, 7),
        ({"pod": "rate-2"}, 1),
        ({"severity": "WARN"}, 2),
        ({"severity": "ERROR"}, 1),
        ({"contains": "hotel=3"}, 1),
        ({"regex": r"hotel=[12]\b"}, 2),
        ({"start": 2.0, "end": 4.0}, 3),
        ({"service": "nosuch"}, 0),
    ],
)
def test_log_search_filters(logs: Store, condition: dict[str, object], expected: int) -> None:
    arguments: dict[str, object] = {"start": 0, "end": 100, "limit": 50, **condition}
    rows, total = logs.logs.search(**arguments)  # type: ignore[arg-type]
    assert total == len(rows) == expected


def test_log_lines_come_newest_first_unless_asked_otherwise(logs: Store) -> None:
    newest, total = logs.logs.search(start=0, end=100, limit=2)
    oldest, _ = logs.logs.search(start=0, end=100, limit=2, newest_first=False)
    assert ([r.time for r in newest], [r.time for r in oldest]) == ([7.0, 6.0], [0.0, 1.0])
    assert total == 8
    assert newest[0].trace_id == f"{0xABC:032x}"


@pytest.mark.parametrize(
    ("condition", "message"),
    [({"severity": "LOUD"}, "severity 'LOUD'"), ({"regex": "("}, "malformed")],
)
def test_a_bad_log_query_says_what_is_wrong(
    logs: Store, condition: dict[str, object], message: str
) -> None:
    arguments: dict[str, object] = {"start": 0, "end": 100, "limit": 5, **condition}
    with pytest.raises(QueryError, match=message):
        logs.logs.search(**arguments)  # type: ignore[arg-type]


def test_patterns_count_lines_that_differ_in_numbers_only(logs: Store) -> None:
    found = logs.logs.patterns(service=RATE, start=0, end=100, limit=5)
    assert found == [
        (RATE, "served hotel=<num> in <num>ms", 6, 0.0, 5.0),
        (RATE, "connect to <ip> refused", 1, 6.0, 6.0),
    ]


def test_a_word_with_many_values_becomes_a_variable_and_one_with_few_stays() -> None:
    store = Store()
    for n in range(20):
        log(store, float(n), f"login of user-{'abcdefghijklmnopqrst'[n]} ok")
    for target in ("geo", "rate"):
        log(store, 30.0, f"call to {target} failed")
    found = [p[1:3] for p in store.logs.patterns(start=0, end=100, limit=10)]
    assert found == [
        ("login of <*> ok", 20),
        ("call to geo failed", 1),
        ("call to rate failed", 1),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-03-10 09:00:00.123 UTC [42] LOG", "<time> UTC [<num>] LOG"),
        ("id=550e8400-e29b-41d4-a716-446655440000", "id=<uuid>"),
        ("trace 00f067aa0ba902b7 done", "trace <hex> done"),
        ("from 198.19.0.7:8080", "from <ip>"),
        ("deadbeef is a word, feedback too", "deadbeef is a word, feedback too"),
        ('{"level": 50, "status": 503, "ms": 7}', '{"level": 50, "status": 503, "ms": <num>}'),
        ('"GET / HTTP/1.1" 502 17', '"GET / HTTP/1.1" 502 <num>'),
        ("status_code=404 code: 7 at 9", "status_code=404 code: 7 at <num>"),
        ("0x1f of 3, ٣ times", "<hex> of <num>, <num> times"),
        ("retry 3 of 5 in 0.25s", "retry <num> of <num> in <num>s"),
    ],
)
def test_templates_mask_what_varies(line: str, expected: str) -> None:
    assert template(line) == expected


def event(time: float, count: int = 1, **other: str) -> Event:
    return Event(
        time=time, type=other.get("type", "Warning"), reason=other.get("reason", "BackOff"),  # type: ignore[arg-type]
        namespace="hotel", kind="Pod", name=other.get("name", "rate-1"), message="m",
        component="kubelet", count=count,
    )  # fmt: skip


def test_a_repeated_event_is_shown_once_with_its_latest_count() -> None:
    store = Store()
    store.event(event(1.0))
    store.event(event(2.0, name="geo-1"))
    store.event(event(3.0, count=2))
    assert [(e.name, e.count) for e in store.events()] == [("geo-1", 1), ("rate-1", 2)]
    assert len(store.event_records()) == 3


def test_events_are_filtered_by_object_type_and_time() -> None:
    store = Store()
    store.event(event(1.0, type="Normal", reason="Pulled"))
    store.event(event(2.0))
    store.event(event(3.0, name="geo-1"))
    assert len(store.events(name="rate")) == 2
    assert len(store.events(warnings_only=True)) == 2
    assert len(store.events(since=2.5)) == 1
    assert store.events(namespace="other") == []


def test_changes_are_listed_in_time_order_whenever_they_were_entered() -> None:
    store = Store()
    for time, component in ((5.0, "rate"), (-3600.0, "geo")):
        store.change(
            Change(time=time, actor="ci", kind="rollout", component=component, summary="s")
        )
    assert [c.component for c in store.changes(since=-1e9)] == ["geo", "rate"]
    assert [c.time for c in store.changes(component="rate", since=-1e9)] == [5.0]
