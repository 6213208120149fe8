"""The Tempo subset: TraceQL and tag searches, traces by id, tags and their values."""

from __future__ import annotations

import json
from typing import Any

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
        ("metrics/query", {"q": "{} | rate()"}, 501, "not served"),
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
