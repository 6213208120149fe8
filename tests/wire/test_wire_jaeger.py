"""Jaeger's APIs, v1 and v3: the same traces that the frame of spans holds."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pandas as pd
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from wire_clients import Wire

from aiopslab.environments.protocol import SpanRow
from aiopslab.environments.sim import Sim
from aiopslab.models.timestamps import rfc3339
from aiopslab.wire.monitoring import jaeger_v3

API, V3 = "/jaeger/api", "/jaeger/api/v3"


@pytest.fixture(scope="session")
def spans(hotel: Sim) -> pd.DataFrame:
    frame = hotel.world.store.frame("spans")
    texts = [c for c in frame.columns if frame[c].dtype.name == "category"]
    return frame.astype(dict.fromkeys(texts, str))


def micros(seconds: float) -> int:
    return round(seconds * 1e6)


def error(answer: Any, status: int) -> str:
    body = answer.json()
    assert answer.status_code == status
    assert body["data"] is None
    assert body["errors"][0]["code"] == status
    return str(body["errors"][0]["msg"])


# -- v1 -------------------------------------------------------------------------------------------


def test_services_and_operations_are_those_of_the_spans(wire: Wire, spans: pd.DataFrame) -> None:
    assert wire.data(f"{API}/services") == sorted(set(spans["service"]))
    mine = spans[spans["service"] == "search"]
    assert wire.data(f"{API}/services/search/operations") == sorted(set(mine["name"]))
    servers = mine[mine["kind"] == "server"]
    found = wire.data(f"{API}/operations", service="search", spanKind="server")
    assert found == [{"name": n, "spanKind": "server"} for n in sorted(set(servers["name"]))]
    assert wire.data(f"{API}/services/nobody/operations") == []


def test_one_trace_has_all_its_spans(wire: Wire, spans: pd.DataFrame) -> None:
    failed = spans[(spans["service"] == "search") & (spans["error"] != "")]
    wanted = failed["trace_id"].iloc[0]
    [trace] = wire.data(f"{API}/traces/{wanted}")
    mine = spans[spans["trace_id"] == wanted].set_index("span_id")
    assert {s["spanID"] for s in trace["spans"]} == set(mine.index)
    for span in trace["spans"]:
        row = mine.loc[span["spanID"]]
        assert span["operationName"] == row["name"]
        assert span["startTime"] == micros(row["start"])
        assert span["duration"] == round(row["duration_ms"] * 1e3)
        assert trace["processes"][span["processID"]]["serviceName"] == row["service"]
        parents = [r["spanID"] for r in span["references"] if r["refType"] == "CHILD_OF"]
        assert parents == ([row["parent_id"]] if row["parent_id"] else [])
        tags = {t["key"]: t for t in span["tags"]}
        assert tags["span.kind"]["value"] == row["kind"]
        assert ("error" in tags) == bool(row["error"])
        for key, value in json.loads(row["attributes"]).items():
            kind = {int: "int64", float: "float64", bool: "bool"}.get(type(value), "string")
            assert tags[key] == {"key": key, "type": kind, "value": value}


def test_numbers_that_json_does_not_know_are_words(
    wire: Wire, hotel: Sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {"a": float("nan"), "b": float("-inf"), "c": 0.5}
    span = SpanRow("1" * 32, "2" * 16, "", "job", "", "work", "internal", 1.0, 2.0, "", measured)

    async def trace(_: str) -> list[SpanRow]:
        return [span]

    monkeypatch.setattr(hotel.telemetry, "trace", trace)
    [shown] = wire.data(f"{API}/traces/{'1' * 32}")[0]["spans"]
    assert [t["value"] for t in shown["tags"][:3]] == ["NaN", "-Infinity", 0.5]
    read = decoded(wire.json(f"{V3}/traces/{'1' * 32}"))
    values = [
        a.value.double_value for a in read.resource_spans[0].scope_spans[0].spans[0].attributes
    ]
    assert values == pytest.approx(list(measured.values()), nan_ok=True)


def test_a_search_by_service_finds_the_newest_traces(
    wire: Wire, hotel: Sim, spans: pd.DataFrame
) -> None:
    found = wire.data(f"{API}/traces", service="geo", limit=5, lookback="1h")
    mine = spans[spans["service"] == "geo"].groupby("trace_id")["start"].max()
    assert {t["traceID"] for t in found} == set(mine.nlargest(5).index)


@pytest.mark.parametrize(
    "tags",
    [
        {"tags": '{"error":"true"}'},
        {"tag": "error:true"},
    ],
)
def test_a_search_by_tags_finds_failures(
    wire: Wire, hotel: Sim, spans: pd.DataFrame, tags: dict[str, str]
) -> None:
    start = hotel.now() - 60.0
    found = wire.data(
        f"{API}/traces", service="search", limit=1500, start=micros(start), **tags
    )  # fmt: skip
    failed = spans[
        (spans["service"] == "search") & (spans["error"] != "") & (spans["start"] >= start)
    ]
    assert {t["traceID"] for t in found} == set(failed["trace_id"])
    assert len(found) > 10


def test_a_search_by_operation_duration_and_time(
    wire: Wire, hotel: Sim, spans: pd.DataFrame
) -> None:
    start, end = hotel.now() - 240.0, hotel.now() - 140.0
    found = wire.data(
        f"{API}/traces", service="search", operation="GET /search", minDuration="100ms",
        maxDuration="1.5s", start=micros(start), end=micros(end), limit=1500,
    )  # fmt: skip
    mine = spans[
        (spans["service"] == "search")
        & (spans["name"] == "GET /search")
        & spans["duration_ms"].between(100.0, 1500.0)
        & spans["start"].between(start, end)
    ]
    assert {t["traceID"] for t in found} == set(mine["trace_id"])
    assert len(found) > 5


def test_an_operation_is_matched_whole(wire: Wire) -> None:
    assert wire.data(f"{API}/traces", service="search", operation="GET /sea") == []


def test_traces_are_found_by_their_ids(wire: Wire, spans: pd.DataFrame) -> None:
    wanted = sorted(set(spans["trace_id"]))[:3]
    found = wire.data(f"{API}/traces", traceID=[*wanted, "f" * 32])
    assert [t["traceID"] for t in found] == wanted


def test_dependencies_count_the_calls(wire: Wire, hotel: Sim, spans: pd.DataFrame) -> None:
    end = micros(hotel.now()) // 1000
    edges = wire.data(f"{API}/dependencies", endTs=end, lookback=3_600_000)
    calls = spans[(spans["kind"] == "client") & (spans["service"] == "search")]
    targets = Counter(json.loads(a).get("server.address") for a in calls["attributes"])
    found = {e["child"]: e["callCount"] for e in edges if e["parent"] == "search"}
    assert found == dict(targets)


def test_another_clock_is_noticed(wire: Wire, hotel: Sim) -> None:
    start = micros(hotel.now() + 86400.0 * 30)
    body = wire.json(f"{API}/traces", service="geo", start=start, end=start + 10**9)
    assert body["data"] == []
    assert rfc3339(hotel.now()) in body["warnings"][0]


@pytest.mark.parametrize(
    ("path", "params", "status", "words"),
    [
        ("traces", {}, 400, "parameter 'service' is required"),
        ("traces", {"service": "geo", "start": "yesterday"}, 400, "'start'"),
        ("traces", {"service": "geo", "end": "1.5"}, 400, "'end'"),
        ("traces", {"service": "geo", "start": "--5"}, 400, "'start'"),
        ("traces", {"service": "geo", "start": "NaN"}, 400, "'start'"),
        ("traces", {"service": "geo", "limit": "many"}, 400, "limit"),
        ("traces", {"service": "geo", "minDuration": "100"}, 400, "missing unit"),
        ("traces", {"service": "geo", "minDuration": "2s", "maxDuration": "1s"}, 400, "greater"),
        ("traces", {"service": "geo", "lookback": "long"}, 400, "'lookback'"),
        ("traces", {"service": "geo", "tags": "{"}, 400, "'tags'"),
        ("traces", {"service": "geo", "tags": "[" * 20_000}, 400, "'tags'"),
        ("traces", {"service": "geo", "tags": '{"a": []}'}, 400, "'tags'"),
        ("traces", {"service": "geo", "tag": "error"}, 400, "key:value"),
        ("traces", {"traceID": "xyz"}, 400, "trace ID"),
        ("traces", {"traceID": ["1"] * 200}, 400, "more than"),
        ("traces/xyz", {}, 400, "trace ID"),
        ("traces/" + "0" * 33, {}, 400, "trace ID"),
        ("traces/" + "f" * 32, {}, 404, "trace not found"),
        ("dependencies", {"endTs": "now"}, 400, "'endTs'"),
        ("dependencies", {"lookback": "--5"}, 400, "'lookback'"),
        ("operations", {}, 400, "service"),
        ("nowhere", {}, 404, "Not Found"),
    ],
)
def test_errors_have_jaegers_form(
    wire: Wire, path: str, params: dict[str, Any], status: int, words: str
) -> None:
    assert words in error(wire.get(f"{API}/{path}", **params), status)


@given(
    name=st.sampled_from(["start", "end", "limit", "minDuration", "lookback", "tag", "tags"]),
    text=st.text(max_size=30) | st.integers().map(str) | st.floats().map(str),
)
def test_no_parameter_breaks_the_server(wire: Wire, name: str, text: str) -> None:
    value = text.encode("utf-8", "replace").decode()
    answer = wire.get(f"{API}/traces", service="nobody", **{name: value})
    assert answer.status_code in (200, 400)


# -- v3 -------------------------------------------------------------------------------------------


def window(hotel: Sim, before: float = 250.0) -> dict[str, str]:
    return {
        "query.start_time_min": rfc3339(hotel.now() - before),
        "query.startTimeMax": rfc3339(hotel.now() + 1),
    }


def decoded(body: Any) -> TracesData:
    """Read what came as OTLP JSON, hex ids and all, with protobuf's own reader."""
    for resource in body["result"]["resourceSpans"]:
        for span in resource["scopeSpans"][0]["spans"]:
            for key in ("traceId", "spanId", "parentSpanId"):
                if key in span:
                    raw = bytes.fromhex(span[key])
                    span[key] = json_format.base64.b64encode(raw).decode()
    return json_format.ParseDict(body["result"], TracesData())


def test_v3_names_services_and_operations(wire: Wire) -> None:
    assert wire.json(f"{V3}/services")["services"] == wire.data(f"{API}/services")
    found = wire.json(f"{V3}/operations", service="geo", span_kind="SERVER")["operations"]
    assert found == wire.data(f"{API}/operations", service="geo", spanKind="server")


def test_v3_hands_out_a_trace_as_otlp(wire: Wire, spans: pd.DataFrame) -> None:
    wanted = spans[spans["error"] != ""]["trace_id"].iloc[0]
    read = decoded(wire.json(f"{V3}/traces/{wanted}"))
    mine = spans[spans["trace_id"] == wanted].set_index("span_id")
    found = {
        span.span_id.hex(): span
        for resource in read.resource_spans
        for span in resource.scope_spans[0].spans
    }
    assert set(found) == set(mine.index)
    for key, span in found.items():
        row = mine.loc[key]
        assert span.name == row["name"]
        assert span.start_time_unix_nano / 10**9 == row["start"]
        assert span.status.message == row["error"]
        assert span.parent_span_id.hex() == row["parent_id"]


def test_v3_finds_traces_and_summarises_them(wire: Wire, hotel: Sim, spans: pd.DataFrame) -> None:
    query = {"query.serviceName": "geo", "query.num_traces": "4", **window(hotel)}
    read = decoded(wire.json(f"{V3}/traces", **query))
    ids = {
        span.trace_id.hex()
        for resource in read.resource_spans
        for span in resource.scope_spans[0].spans
    }
    summaries = wire.json(f"{V3}/trace-summaries", **query)["summaries"]
    assert {s["traceId"] for s in summaries} == ids
    assert len(ids) == 4
    for summary in summaries:
        mine = spans[spans["trace_id"] == summary["traceId"]]
        assert summary["spanCount"] == len(mine)
        assert summary["errorSpanCount"] == (mine["error"] != "").sum()
        roots = mine[mine["parent_id"] == ""]
        assert summary["rootOperationName"] == (roots["name"].iloc[0] if len(roots) else "")
        assert {s["name"]: s["spanCount"] for s in summary["services"]} == dict(
            Counter(mine["service"])
        )


def test_v3_takes_attributes_and_durations(wire: Wire, hotel: Sim, spans: pd.DataFrame) -> None:
    query = {
        "query.attributes": '{"server.address": "geo"}', "query.durationMin": "300ms",
        "query.searchDepth": "1500", **window(hotel, 100),
    }  # fmt: skip
    found = wire.json(f"{V3}/trace-summaries", **query)["summaries"]
    at = pd.Series([json.loads(a).get("server.address") == "geo" for a in spans["attributes"]])
    mine = spans[at & (spans["duration_ms"] >= 300.0) & (spans["start"] >= hotel.now() - 100)]
    assert {s["traceId"] for s in found} == set(mine["trace_id"])
    assert len(found) > 5


def test_v3_dependencies(wire: Wire, hotel: Sim) -> None:
    edges = wire.json(f"{V3}/dependencies", endTime=rfc3339(hotel.now() + 1))["dependencies"]
    assert {"parent", "child", "callCount"} == set(edges[0])
    assert edges[0]["callCount"].isdigit()


@pytest.mark.parametrize(
    ("path", "params", "status", "words"),
    [
        ("traces", {}, 400, "are required"),
        ("traces", {"query.startTimeMin": "x", "query.startTimeMax": "y"}, 400, "malformed"),
        ("operations", {}, 400, "service"),
        ("traces/xyz", {}, 400, "trace_id"),
        ("traces/" + "f" * 32, {}, 404, "No traces found"),
        ("dependencies", {"startTime": "NaN"}, 400, "startTime"),
    ],
)
def test_v3_errors_are_the_gateways(
    wire: Wire, path: str, params: dict[str, Any], status: int, words: str
) -> None:
    answer = wire.get(f"{V3}/{path}", **params)
    assert answer.status_code == status
    assert answer.json()["error"]["httpCode"] == status
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "extra",
    [
        {"query.searchDepth": "0"},
        {"query.searchDepth": "ten"},
        {"query.durationMin": "long"},
        {"query.attributes": "[]"},
        {"query.startTimeMin": "now"},
    ],
)
def test_v3_refuses_malformed_queries(wire: Wire, hotel: Sim, extra: dict[str, str]) -> None:
    query = {**window(hotel), "query.startTimeMin": rfc3339(hotel.now() - 60),
             "query.startTimeMax": "now", **extra}  # fmt: skip
    assert wire.get(f"{V3}/traces", **query).status_code == 400


def test_an_answer_of_too_many_spans_is_refused(
    wire: Wire, hotel: Sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaeger_v3, "MAX_SPANS", 30)
    assert "ask for fewer" in error(wire.get(f"{API}/traces", service="geo", limit=20), 400)
    answer = wire.get(f"{V3}/traces", **window(hotel))
    assert answer.status_code == 400
    assert "ask for fewer" in answer.json()["error"]["message"]
    assert wire.data(f"{API}/traces", service="geo", limit=1)


def test_v3_says_that_the_clocks_differ(wire: Wire, hotel: Sim) -> None:
    far = hotel.now() + 86400.0 * 10
    query = {"query.startTimeMin": rfc3339(far), "query.startTimeMax": rfc3339(far + 60)}
    answer = wire.get(f"{V3}/traces", **query)
    assert answer.status_code == 404
    assert rfc3339(hotel.now()) in answer.json()["error"]["message"]
