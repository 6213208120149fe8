"""The Tempo subset: TraceQL and tag searches, traces by id, tags and their values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_clients import Wire

from aiopslab.environments.sim import Sim
from aiopslab.models.timestamps import rfc3339

API = "/tempo/api"


@pytest.fixture(scope="session")
def spans(hotel: Sim) -> pd.DataFrame:
    frame = hotel.world.store.frame("spans")
    texts = [c for c in frame.columns if frame[c].dtype.name == "category"]
    return frame.astype(dict.fromkeys(texts, str))


def recent(hotel: Sim) -> dict[str, Any]:
    return {"start": int(hotel.now()) - 60, "end": int(hotel.now()) + 1, "limit": 1000}


def ids(body: Any) -> set[str]:
    return {trace["traceID"] for trace in body["traces"]}


def test_traceql_finds_failed_spans(wire: Wire, hotel: Sim, spans: pd.DataFrame) -> None:
    query = '{ resource.service.name="search" && status=error && duration>100ms }'
    found = wire.json(f"{API}/search", q=query, **recent(hotel))
    mine = spans[
        (spans["service"] == "search")
        & (spans["error"] != "")
        & (spans["duration_ms"] > 100.0)
        & (spans["start"] >= int(hotel.now()) - 60)
    ]
    assert ids(found) == set(mine["trace_id"])
    assert len(mine) > 10
    for trace in found["traces"]:
        matched = mine[mine["trace_id"] == trace["traceID"]]
        assert trace["spanSet"]["matched"] == len(matched)
        assert {s["spanID"] for s in trace["spanSet"]["spans"]} <= set(matched["span_id"])


def test_tags_and_durations_find_what_pandas_finds(
    wire: Wire, hotel: Sim, spans: pd.DataFrame
) -> None:
    found = wire.json(
        f"{API}/search", tags="service.name=profile http.response.status_code=200",
        minDuration="5ms", **recent(hotel),
    )  # fmt: skip
    status = [json.loads(a).get("http.response.status_code") for a in spans["attributes"]]
    mine = spans[
        (spans["service"] == "profile")
        & (pd.Series(status) == 200)
        & (spans["duration_ms"] >= 5.0)
        & (spans["start"] >= int(hotel.now()) - 60)
    ]
    assert ids(found) == set(mine["trace_id"])
    assert len(mine) > 10


def test_a_trace_comes_in_both_shapes(wire: Wire, spans: pd.DataFrame) -> None:
    wanted = spans["trace_id"].iloc[-1]
    old = wire.json(f"{API}/traces/{wanted}")["batches"]
    new = wire.json(f"{API}/v2/traces/{wanted}")["trace"]["resourceSpans"]
    assert old == new
    found = {s["spanId"] for r in new for s in r["scopeSpans"][0]["spans"]}
    assert found == set(spans[spans["trace_id"] == wanted]["span_id"])


def test_tags_and_values(wire: Wire, spans: pd.DataFrame) -> None:
    scopes = {s["name"]: s["tags"] for s in wire.json(f"{API}/v2/search/tags")["scopes"]}
    assert "service.name" in scopes["resource"]
    assert "http.route" in scopes["span"]
    only = wire.json(f"{API}/v2/search/tags", scope="resource")["scopes"]
    assert [s["name"] for s in only] == ["resource"]
    names = wire.json(f"{API}/search/tags")["tagNames"]
    assert {"service.name", "http.route"} <= set(names)
    tag = "resource.service.name"
    values = wire.json(f"{API}/v2/search/tag/{tag}/values")["tagValues"]
    assert values == [{"type": "string", "value": v} for v in sorted(set(spans["service"]))]
    assert wire.json(f"{API}/search/tag/service.name/values")["tagValues"] == sorted(
        set(spans["service"])
    )


def test_health_and_version(wire: Wire) -> None:
    assert wire.get(f"{API}/echo").text == "echo"
    assert wire.get("/tempo/ready").text == "ready\n"
    assert wire.json(f"{API}/status/buildinfo")["version"].startswith("2.")


def test_another_clock_is_noticed(wire: Wire, hotel: Sim) -> None:
    later = int(hotel.now()) + 40 * 86400
    body = wire.json(f"{API}/search", q="{}", start=later, end=later + 60)
    assert body["traces"] == []
    assert rfc3339(hotel.now()) in body["warnings"][0]


@pytest.mark.parametrize(
    ("path", "params", "status", "words"),
    [
        ("search", {"q": "{"}, 400, "TraceQL"),
        ("search", {"q": "{} | rate()"}, 400, "TraceQL"),
        ("search", {"q": "{}", "start": "x"}, 400, "start"),
        ("search", {"q": "{}", "start": "10", "end": "5"}, 400, "before end"),
        ("search", {"q": "{}", "limit": "-1"}, 400, "limit"),
        ("search", {"tags": 'a="'}, 400, "tags"),
        ("search", {"tags": "word"}, 400, "name=value"),
        ("search", {"tags": "a} || {b=c"}, 400, ""),
        ("search", {"minDuration": "x"}, 400, "duration"),
        ("v2/search/tags", {"scope": "galaxy"}, 400, "scope"),
        ("traces/xyz", {}, 400, "trace ID"),
        ("v2/traces/" + "f" * 32, {}, 404, "not found"),
        ("metrics/query", {}, 400, "q"),
        ("metrics/query", {"q": "{}"}, 400, "not a metrics query"),
        ("metrics/query", {"q": "{} | compare({})"}, 400, "not supported"),
        ("metrics/query", {"q": "{} | histogram_over_time(duration)"}, 400, "not supported"),
        ("metrics/query", {"q": "{} | quantile_over_time(duration, 2)"}, 400, "from 0 to 1"),
        ("metrics/query", {"q": "{} | rate() by (nonsense)"}, 400, "by()"),
        ("metrics/query", {"q": "{} | rate() by (duration)"}, 400, "measure"),
        ("metrics/query_range", {"q": "{} | rate()", "step": "0"}, 400, "step"),
        ("metrics/query_range", {"q": "{} | rate()", "step": "1ms"}, 400, "11,000"),
        ("nowhere", {}, 404, "Not Found"),
    ],
)
def test_errors_are_plain_text(
    wire: Wire, path: str, params: dict[str, str], status: int, words: str
) -> None:
    answer = wire.get(f"{API}/{path}", **params)
    assert answer.status_code == status, answer.text[:200]
    assert words in answer.text


@given(
    name=st.sampled_from(["q", "tags", "start", "end", "limit", "spss", "minDuration"]),
    text=st.text(max_size=30) | st.integers().map(str) | st.floats().map(str),
)
def test_no_parameter_breaks_the_server(wire: Wire, name: str, text: str) -> None:
    value = text.encode("utf-8", "replace").decode()
    assert wire.get(f"{API}/search", **{name: value}).status_code in (200, 400)


# -- metrics --------------------------------------------------------------------------------------


def points(body: Any, label: str) -> dict[tuple[str, int], float]:
    return {
        (s["labels"][0]["value"]["stringValue"], int(p["timestampMs"])): p["value"]
        for s in body["series"]
        for p in s["samples"]
        if s["labels"][0]["key"] == label
    }


def test_rates_of_failures_by_service_are_those_pandas_finds(
    wire: Wire, hotel: Sim, spans: pd.DataFrame
) -> None:
    start, step = hotel.now() - 120.0, 30.0
    body = wire.json(
        f"{API}/metrics/query_range", q="{ status = error } | rate() by (resource.service.name)",
        start=start, end=hotel.now(), step="30s",
    )  # fmt: skip
    mine = spans[(spans["error"] != "") & (spans["start"] > start)]
    place = np.ceil((mine["start"] - start) / step).astype(int)
    expected = {
        (service, round((start + number * step) * 1e3)): count / step
        for (service, number), count in mine.groupby(["service", place]).size().items()
    }
    found = {key: v for key, v in points(body, "resource.service.name").items() if v}
    assert found == pytest.approx(expected)
    assert len({service for service, _ in found}) > 1
    assert body["series"][0]["promLabels"].startswith('{resource.service.name="')


def test_spans_are_grouped_by_several_fields(wire: Wire, hotel: Sim, spans: pd.DataFrame) -> None:
    query = "{} | count_over_time() by (resource.service.name, kind, status)"
    start = hotel.now() - 60.0
    body = wire.json(f"{API}/metrics/query", q=query, start=start)
    found = {
        tuple(label["value"]["stringValue"] for label in s["labels"]): s["value"]
        for s in body["series"]
    }
    mine = spans[spans["start"] >= start]
    failed = np.where(mine["error"] != "", "error", "unset")
    assert found == mine.groupby(["service", "kind", failed]).size().to_dict()
    assert wire.json(f"{API}/metrics/query", q="{ name = `x` } | rate() by (kind)")["series"] == []


def test_quantiles_and_folds_of_durations(wire: Wire, hotel: Sim, spans: pd.DataFrame) -> None:
    start = hotel.now() - 100.0
    mine = spans[(spans["service"] == "profile") & (spans["start"] >= start)]["duration_ms"] / 1e3
    search = '{ resource.service.name = "profile" }'
    expected = {
        "quantile_over_time(duration, 0.5, 0.95)": [mine.quantile(0.5), mine.quantile(0.95)],
        "max_over_time(duration)": [mine.max()],
        "min_over_time(duration)": [mine.min()],
        "avg_over_time(duration)": [mine.mean()],
        "sum_over_time(duration)": [mine.sum()],
        "count_over_time()": [len(mine)],
    }
    for stage, values in expected.items():
        body = wire.json(f"{API}/metrics/query", q=f"{search} | {stage}", start=start)
        assert [s["value"] for s in body["series"]] == pytest.approx(values), stage


def test_numbers_of_attributes_are_measures_too(
    wire: Wire, hotel: Sim, spans: pd.DataFrame
) -> None:
    query = "{ kind = server } | max_over_time(span.http.response.status_code) by (span.http.route)"
    body = wire.json(f"{API}/metrics/query", q=query, start=hotel.now() - 60.0)
    assert {s["value"] for s in body["series"]} <= {200.0, 404.0, 500.0, 502.0, 503.0, 504.0}
    assert len(body["series"]) > 3


@given(
    text=st.text(alphabet='{}|()="., abyquantile_over_timerate0.5\\', max_size=60)
    | st.text(max_size=30)
)
def test_no_metrics_query_breaks_the_server(wire: Wire, text: str) -> None:
    value = text.encode("utf-8", "replace").decode()
    assert wire.get(f"{API}/metrics/query", q=f"{{}} | {value}").status_code in (200, 400)
