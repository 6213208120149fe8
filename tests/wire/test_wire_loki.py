"""Loki's HTTP API: the lines that the frame of logs holds, Loki's shapes and words."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_clients import Wire

from aiopslab.environments.sim import Sim
from aiopslab.models.timestamps import nanoseconds, rfc3339

API = "/loki/loki/api/v1"
SEARCH = '{service_name="search"}'


@pytest.fixture(scope="session")
def lines(hotel: Sim) -> pd.DataFrame:
    frame = hotel.world.store.frame("logs")
    texts = [c for c in frame.columns if frame[c].dtype.name == "category"]
    return frame.astype(dict.fromkeys(texts, str))


def entries(data: Any) -> list[tuple[int, str]]:
    """Flatten streams to (nanoseconds, line), in order of time."""
    assert data["resultType"] == "streams"
    return sorted((int(ns), line) for s in data["result"] for ns, line in s["values"])


def written(frame: pd.DataFrame) -> list[tuple[int, str]]:
    return sorted((nanoseconds(t), line) for t, line in zip(frame["time"], frame["line"]))  # noqa: B905 - columns of one frame


# -- lines ----------------------------------------------------------------------------------------


def test_lines_come_with_their_streams_labels_and_exact_times(
    wire: Wire, hotel: Sim, lines: pd.DataFrame
) -> None:
    start, end = hotel.now() - 90.0, hotel.now() - 30.0
    data = wire.data(
        f"{API}/query_range", query=SEARCH, start=nanoseconds(start), end=nanoseconds(end),
        limit=5000,
    )  # fmt: skip
    mine = lines[(lines["service"] == "search") & (lines["time"] >= start) & (lines["time"] < end)]
    assert entries(data) == written(mine)
    assert len(mine) > 10
    assert {s["stream"]["pod"] for s in data["result"]} == set(mine["pod"])
    assert data["stats"]["summary"]["totalEntriesReturned"] == len(mine)


def test_a_form_may_be_posted(wire: Wire) -> None:
    query = {"query": SEARCH, "limit": "3"}
    assert wire.form(f"{API}/query_range", **query).json() == wire.json(
        f"{API}/query_range", **query
    )


@pytest.mark.parametrize(("direction", "newest"), [("backward", True), ("forward", False)])
def test_the_direction_decides_which_lines_the_limit_keeps(
    wire: Wire, hotel: Sim, lines: pd.DataFrame, direction: str, newest: bool
) -> None:
    data = wire.data(f"{API}/query_range", query=SEARCH, limit=7, direction=direction, since="5m")
    mine = written(
        lines[(lines["service"] == "search") & (lines["time"] >= hotel.now() - 300.0)]
    )  # fmt: skip
    assert entries(data) == (mine[-7:] if newest else mine[:7])
    for stream in data["result"]:
        times = [int(ns) for ns, _ in stream["values"]]
        assert times == sorted(times, reverse=newest)


def test_paging_by_the_last_time_loses_and_repeats_nothing(
    wire: Wire, hotel: Sim, lines: pd.DataFrame
) -> None:
    start = hotel.now() - 60.0
    end, found = str(nanoseconds(hotel.now())), []
    for _ in range(200):
        page = entries(
            wire.data(f"{API}/query_range", query=SEARCH, limit=10, start=start, end=end)
        )
        found += page
        if len(page) < 10:
            break
        end = str(page[0][0])
    mine = lines[(lines["service"] == "search") & (lines["time"] >= start)]
    unique = mine.drop_duplicates("time", keep=False)
    assert len(found) > 20
    assert set(written(unique)) <= set(found)


def test_filters_find_what_pandas_finds(wire: Wire, hotel: Sim, lines: pd.DataFrame) -> None:
    data = wire.data(
        f"{API}/query_range", query='{namespace="hotel"} |~ "(?i)timeout|deadline"', limit=5000,
        since="4m",
    )  # fmt: skip
    mine = lines[lines["line"].str.contains("timeout|deadline", case=False, regex=True)]
    mine = mine[(mine["time"] >= hotel.now() - 240.0) & (mine["time"] < hotel.now())]
    assert entries(data) == written(mine)
    assert len(mine) > 5


def test_an_interval_thins_the_lines(wire: Wire) -> None:
    data = wire.data(f"{API}/query_range", query=SEARCH, interval="10s", since="3m", limit=100)
    times = [ns for ns, _ in entries(data)]
    assert len(times) > 5
    assert min(b - a for a, b in pairwise(times)) >= 10**10


# -- metrics --------------------------------------------------------------------------------------


def test_counts_over_time_are_those_of_the_lines(
    wire: Wire, hotel: Sim, lines: pd.DataFrame
) -> None:
    end = hotel.now() - 1.0
    data = wire.data(
        f"{API}/query", query='sum by (service_name) (count_over_time({namespace="hotel"}[60s]))',
        time=nanoseconds(end),
    )  # fmt: skip
    assert data["resultType"] == "vector"
    found = {s["metric"]["service_name"]: int(s["value"][1]) for s in data["result"]}
    mine = lines[(lines["time"] > end - 60.0) & (lines["time"] <= end)]
    assert found == dict(Counter(mine["service"]))


def test_rates_over_a_range_are_a_matrix(wire: Wire, hotel: Sim) -> None:
    data = wire.data(
        f"{API}/query_range", query=f"sum(rate({SEARCH}[1m]))", step="30s", since="3m"
    )  # fmt: skip
    assert data["resultType"] == "matrix"
    [series] = data["result"]
    assert len(series["values"]) >= 6
    assert all(float(v) > 0 for _, v in series["values"])


# -- names and sizes ------------------------------------------------------------------------------


def test_labels_and_their_values(wire: Wire, lines: pd.DataFrame) -> None:
    names = wire.data(f"{API}/labels")
    assert {"service_name", "namespace", "pod", "container"} <= set(names)
    assert wire.data(f"{API}/label/service_name/values") == sorted(set(lines["service"]))
    pods = wire.data(f"{API}/label/pod/values", query=SEARCH)
    assert pods == sorted(set(lines[lines["service"] == "search"]["pod"]))
    for name in ("../../etc/passwd", "%00", "☃"):
        assert wire.get(f"{API}/label/{name}/values").status_code in (200, 404)


def test_series_are_the_streams(wire: Wire, lines: pd.DataFrame) -> None:
    found = wire.data(f"{API}/series", **{"match[]": SEARCH})
    assert {s["pod"] for s in found} == set(lines[lines["service"] == "search"]["pod"])
    posted = wire.ask("POST", f"{API}/series", data={"match[]": SEARCH}).json()["data"]
    assert posted == found


def test_names_are_listed_even_by_a_wrong_clock(wire: Wire, hotel: Sim) -> None:
    later = hotel.now() + 86400.0 * 100
    body = wire.json(f"{API}/labels", start=nanoseconds(later), end=nanoseconds(later + 60))
    assert "service_name" in body["data"]
    assert rfc3339(hotel.now()) in body["warnings"][0]
    body = wire.json(
        f"{API}/query_range", query=SEARCH, start=nanoseconds(later), end=nanoseconds(later + 60)
    )
    assert body["data"]["result"] == []
    assert "100 days" in body["warnings"][0]


def test_statistics_count_entries_and_bytes(wire: Wire, hotel: Sim, lines: pd.DataFrame) -> None:
    start = hotel.now() - 120.0
    found = wire.json(f"{API}/index/stats", query=SEARCH, start=start, end=f"{hotel.now():.1f}")
    mine = lines[(lines["service"] == "search") & (lines["time"] >= start)]
    assert found["entries"] == len(mine)
    assert found["bytes"] == sum(len(line.encode()) for line in mine["line"])


def test_volumes_are_bytes_by_label(wire: Wire, hotel: Sim, lines: pd.DataFrame) -> None:
    start, end = hotel.now() - 120.0, hotel.now()
    data = wire.data(
        f"{API}/index/volume", query='{namespace="hotel"}', targetLabels="service_name",
        start=nanoseconds(start), end=nanoseconds(end),
    )  # fmt: skip
    mine = lines[(lines["time"] > start) & (lines["time"] <= end)]
    sizes = mine["line"].str.encode("utf-8").str.len().groupby(mine["service"]).sum()
    found = {s["metric"]["service_name"]: int(s["value"][1]) for s in data["result"]}
    assert found == sizes.to_dict()
    assert list(found.values()) == sorted(found.values(), reverse=True)
    over = wire.data(
        f"{API}/index/volume_range", query='{namespace="hotel"}', step="60s", since="2m"
    )  # fmt: skip
    assert over["resultType"] == "matrix"


def test_patterns_count_similar_lines(wire: Wire, hotel: Sim, lines: pd.DataFrame) -> None:
    found = wire.data(f"{API}/patterns", query=SEARCH, since="2m", step="30s")
    mine = lines[(lines["service"] == "search") & (lines["time"] >= hotel.now() - 120.0)]
    assert sum(n for p in found for _, n in p["samples"]) == len(mine)
    assert len(found) < len(mine) / 3
    assert "<_>" in found[0]["pattern"]


def test_detected_labels_have_their_cardinality(wire: Wire, lines: pd.DataFrame) -> None:
    found = wire.json(f"{API}/detected_labels")["detectedLabels"]
    sizes = {label["label"]: label["cardinality"] for label in found}
    assert sizes["service_name"] == len(set(lines["service"]))


def test_the_server_is_ready(wire: Wire) -> None:
    assert wire.get("/loki/ready").text == "ready\n"
    assert wire.json(f"{API}/status/buildinfo")["version"].startswith("3.")


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "params", "words"),
    [
        ("query_range", {}, "query"),
        ("query_range", {"query": "{"}, "parse error"),
        ("query_range", {"query": "{}"}, ""),
        ("query_range", {"query": SEARCH, "limit": "6000"}, "max entries limit per query"),
        ("query_range", {"query": SEARCH, "limit": "0"}, "limit must be a positive value"),
        ("query_range", {"query": SEARCH, "limit": "-1"}, "limit"),
        ("query_range", {"query": SEARCH, "start": "NaN"}, "NaN"),
        ("query_range", {"query": SEARCH, "start": "5", "end": "4"}, "must not be before"),
        ("query_range", {"query": SEARCH, "direction": "up"}, "direction"),
        ("query_range", {"query": SEARCH, "since": "-5m"}, "negative"),
        ("query_range", {"query": "rate({a=\"b\"}[1m])", "step": "0"}, "zero or negative"),
        ("query_range", {"query": "rate({a=\"b\"}[1m])", "start": "1", "end": "now",
                         "step": "1"}, "11,000 points"),
        ("query_range", {"query": '{a=~"(a+)+$"}'}, ""),
        ("query_range", {"query": '{a="b"} | ' + "json | " * 5000 + "json"}, ""),
        ("query", {"query": SEARCH}, "log queries are not supported as an instant query type"),
        ("query", {"query": "rate({a=\"b\"}[1m])", "time": "tomorrow"}, "tomorrow"),
        ("index/stats", {}, "query"),
        ("index/volume", {"query": SEARCH, "targetLabels": "a) or ("}, "targetLabels"),
        ("index/volume", {"query": "rate("}, "parse error"),
        ("index/volume", {"query": f"{SEARCH} | json"}, "only label matchers"),
        ("patterns", {"query": "rate({a=\"b\"}[1m])"}, "selector"),
        ("series", {"match[]": "{"}, "parse error"),
        ("format_query", {"query": "{a="}, "parse error"),
    ],
)  # fmt: skip
def test_errors_are_plain_text_with_a_reason(
    wire: Wire, path: str, params: dict[str, str], words: str
) -> None:
    answer = wire.get(f"{API}/{path}", **params)
    assert answer.status_code == 400, answer.text[:200]
    assert answer.headers["content-type"].startswith("text/plain")
    assert words in answer.text
    assert answer.text


def test_a_volume_of_what_is_no_selector_costs_no_more_than_its_length(wire: Wire) -> None:
    for text in ("a" * 2_000_000, '"' + '\\"' * 1_000_000):
        answer = wire.form(f"{API}/index/volume", query=text)
        assert (answer.status_code, answer.text[:19]) == (400, "input size too long")


def test_streams_are_not_followed_and_nothing_is_pushed(wire: Wire) -> None:
    assert wire.get(f"{API}/tail", query=SEARCH).status_code == 501
    assert wire.ask("POST", f"{API}/push", json={"streams": []}).status_code == 403
    assert wire.get(f"{API}/nowhere").status_code == 404


def test_queries_are_formatted_if_they_parse(wire: Wire) -> None:
    assert wire.data(f"{API}/format_query", query=f"  {SEARCH}\n  |= `x` ") == f"{SEARCH} |= `x`"


@given(
    name=st.sampled_from(["query", "start", "end", "limit", "step", "since", "interval"]),
    text=st.text(max_size=30) | st.integers().map(str) | st.floats().map(str),
)
def test_no_parameter_breaks_the_server(wire: Wire, name: str, text: str) -> None:
    value = text.encode("utf-8", "replace").decode()
    fields = {"query": '{service_name="nobody"}', name: value}
    assert wire.form(f"{API}/query_range", **fields).status_code in (200, 400)
