"""Prometheus' HTTP API: shapes, numbers that pandas finds too, words of errors, hostile input."""

from __future__ import annotations

import json
import math
import re
import shutil
import string
import subprocess
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from wire_clients import Wire

from aiopslab.environments.sim import Sim
from aiopslab.models.timestamps import rfc3339
from aiopslab.telemetry.promql import parse
from aiopslab.wire.monitoring import prometheus
from aiopslab.wire.monitoring.prometheus import unescaped
from aiopslab.wire.monitoring.prometheus_status import scientific

API = "/prometheus/api/v1"


@pytest.fixture(scope="session")
def samples(hotel: Sim) -> pd.DataFrame:
    """Every sample of the hotel, its labels as columns."""
    frame = hotel.world.store.frame("samples")
    sets = pd.DataFrame([json.loads(text) for text in frame["labels"].cat.categories])
    labels = sets.add_prefix("l_").iloc[frame["labels"].cat.codes].reset_index(drop=True)
    return pd.concat([frame[["metric", "time", "value"]], labels], axis=1)


def error(answer: Any) -> tuple[int, str, str]:
    body = answer.json()
    assert body["status"] == "error"
    return answer.status_code, body["errorType"], body["error"]


# -- queries --------------------------------------------------------------------------------------


def test_an_instant_query_answers_now_with_values_as_strings(wire: Wire, hotel: Sim) -> None:
    data = wire.data(f"{API}/query", query='up{job="search"}')
    assert data["resultType"] == "vector"
    assert {s["metric"]["service"] for s in data["result"]} == {"search"}
    assert [s["value"] for s in data["result"]] == [[hotel.now(), "1"]] * len(data["result"])


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_query_may_come_in_the_url_or_as_a_form(wire: Wire, method: str) -> None:
    where = {"GET": "params", "POST": "data"}[method]
    answer = wire.ask(method, f"{API}/query", **{where: {"query": "vector(1)"}})
    assert answer.json()["data"]["result"][0]["value"][1] == "1"


def test_a_forms_value_comes_before_the_urls(wire: Wire) -> None:
    answer = wire.ask("POST", f"{API}/query", params={"query": "1"}, data={"query": "2"})
    assert answer.json()["data"]["result"][1] == "2"


@pytest.mark.parametrize(
    ("query", "kind", "value"),
    [
        ("1 / 0", "scalar", "+Inf"),
        ("-1 / 0", "scalar", "-Inf"),
        ("0 / 0", "scalar", "NaN"),
        ("1e21", "scalar", "1e+21"),
        ("0.1 + 0.2", "scalar", "0.30000000000000004"),
        ('"text"', "string", "text"),
    ],
)
def test_scalars_and_strings_keep_their_type(wire: Wire, query: str, kind: str, value: str) -> None:
    data = wire.data(f"{API}/query", query=query, time="1500000000.5")
    assert data == {"resultType": kind, "result": [1500000000.5, value]}


def test_a_range_selector_gives_raw_samples(wire: Wire, hotel: Sim) -> None:
    data = wire.data(f"{API}/query", query='up{instance="node-a:9100"}[20s]')
    assert data["resultType"] == "matrix"
    assert [value for _, value in data["result"][0]["values"]] == ["1"] * 4


def test_times_may_be_unix_rfc_3339_or_relative(wire: Wire, hotel: Sim) -> None:
    at = hotel.now() - 60.0
    for text in (str(at), rfc3339(at), "now-1m", rfc3339(at).replace("Z", "+00:00")):
        assert wire.data(f"{API}/query", query="time()", time=text)["result"][1] == f"{at:.0f}"


def test_rates_over_a_range_are_those_pandas_finds(
    wire: Wire, hotel: Sim, samples: pd.DataFrame
) -> None:
    """At steps on scrape times, increase over a window between samples is last minus first."""
    metric, now = "http_server_request_duration_seconds_count", hotel.now()
    end = now - now % 5.0 - 0.5
    data = wire.data(
        f"{API}/query_range", start=end - 100.0, end=end, step="50s",
        query=f'sum by (service) (max_over_time({metric}[20s]) - min_over_time({metric}[20s]))',
    )  # fmt: skip
    assert data["resultType"] == "matrix"
    found = {(s["metric"]["service"], t): float(v) for s in data["result"] for t, v in s["values"]}
    mine = samples[samples["metric"] == metric]
    expected = {}
    for at in (end - 100.0, end - 50.0, end):
        window = mine[(mine["time"] > at - 20.0) & (mine["time"] <= at)]
        keys = [c for c in window.columns if c.startswith("l_")]
        series = window.groupby(keys, dropna=False)["value"].agg(["min", "max"]).reset_index()
        series["moved"] = series["max"] - series["min"]
        for service, moved in series.groupby("l_service")["moved"].sum().items():
            expected[str(service), at] = float(moved)
    assert found == pytest.approx(expected)
    assert len(found) > 20


def test_a_range_query_never_looks_past_the_clock(wire: Wire, hotel: Sim) -> None:
    now = hotel.now()
    data = wire.data(f"{API}/query_range", query="up", start=now - 30, end=now + 600, step=10)
    assert max(t for s in data["result"] for t, _ in s["values"]) == now


def test_asking_by_another_clock_is_answered_with_the_servers_time(wire: Wire, hotel: Sim) -> None:
    later = hotel.now() + 200 * 86400.0
    body = wire.json(
        f"{API}/query_range", query="up", start=later - 3600, end=later, step=15
    )  # fmt: skip
    assert body["data"] == {"resultType": "matrix", "result": []}
    assert rfc3339(hotel.now()) in body["warnings"][0]
    assert "200 days" in body["warnings"][0]
    names = wire.json(f"{API}/label/__name__/values", start=later - 3600, end=later)
    assert "up" in names["data"]
    assert rfc3339(hotel.now()) in names["warnings"][0]


def test_the_date_header_is_the_clusters_clock(wire: Wire, hotel: Sim) -> None:
    answer = wire.get(f"{API}/query", query="1")
    assert answer.headers.get_list("date") == [
        pd.Timestamp(int(hotel.now()), unit="s").strftime("%a, %d %b %Y %H:%M:%S GMT")
    ]


def test_a_limit_cuts_series_and_says_so(wire: Wire) -> None:
    body = wire.json(f"{API}/query", query="up", limit=2)
    assert len(body["data"]["result"]) == 2
    assert body["warnings"] == ["results truncated due to limit"]


def test_nothing_found_is_an_empty_success(wire: Wire) -> None:
    body = wire.json(f"{API}/query", query="no_such_metric")
    assert body == {"status": "success", "data": {"resultType": "vector", "result": []}}


@pytest.mark.parametrize(
    ("path", "params", "status", "kind", "words"),
    [
        ("query", {"query": "sum("}, 400, "bad_data", 'invalid parameter "query"'),
        ("query", {}, 400, "bad_data", 'invalid parameter "query"'),
        ("query", {"query": "rate(up)"}, 400, "bad_data", "range vector"),
        ("query", {"query": "up", "time": "x"}, 400, "bad_data",
         'invalid parameter "time": cannot parse "x" to a valid timestamp'),
        ("query", {"query": "up", "time": "NaN"}, 400, "bad_data", "valid timestamp"),
        ("query", {"query": "up", "time": "-Inf"}, 400, "bad_data", "valid timestamp"),
        ("query", {"query": "up", "time": "1e300"}, 400, "bad_data", "valid timestamp"),
        ("query", {"query": "up", "time": "9" * 5000}, 400, "bad_data", "valid timestamp"),
        ("query", {"query": "up", "time": "2026-13-01T00:00:00Z"}, 400, "bad_data", "timestamp"),
        ("query", {"query": "up", "timeout": "soon"}, 400, "bad_data", '"timeout"'),
        ("query", {"query": "up", "limit": "-1"}, 400, "bad_data", '"limit"'),
        ("query", {"query": "up + on(job) up"}, 422, "execution", "many"),
        ("query_range", {"query": "up", "start": 1, "end": 2}, 400, "bad_data", '"step"'),
        ("query_range", {"query": "up", "step": 1}, 400, "bad_data", '"start"'),
        ("query_range", {"query": "up", "start": 2, "end": 1, "step": 1}, 400, "bad_data",
         "end timestamp must not be before start time"),
        ("query_range", {"query": "up", "start": 1, "end": 2, "step": 0}, 400, "bad_data",
         "zero or negative query resolution step widths are not accepted"),
        ("query_range", {"query": "up", "start": 1, "end": 2, "step": "NaN"}, 400, "bad_data",
         "valid duration"),
        ("query_range", {"query": "up", "start": 0, "end": 1e9, "step": 1}, 400, "bad_data",
         "exceeded maximum resolution of 11,000 points per timeseries"),
        ("series", {}, 400, "bad_data", "no match[] parameter provided"),
        ("series", {"match[]": "{"}, 400, "bad_data", 'invalid parameter "match[]"'),
        ("labels", {"start": 5, "end": 1}, 400, "bad_data", "must not be before"),
        ("rules", {"type": "odd"}, 400, "bad_data", "not supported value"),
        ("metadata", {"limit": "x"}, 400, "bad_data", '"limit"'),
        ("nowhere", {}, 404, "not_found", "Not Found"),
    ],
)  # fmt: skip
def test_errors_have_prometheus_form_and_words(
    wire: Wire, path: str, params: dict[str, Any], status: int, kind: str, words: str
) -> None:
    code, type_, text = error(wire.get(f"{API}/{path}", **params))
    assert (code, type_) == (status, kind)
    assert words in text


def test_only_reading_methods_are_allowed(wire: Wire) -> None:
    answer = wire.ask("DELETE", f"{API}/query")
    assert error(answer)[0] == 405
    assert "GET" in answer.headers["allow"]


def test_an_answer_of_millions_of_points_is_refused(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "MAX_POINTS", 50)
    assert error(wire.get(f"{API}/query", query="{__name__=~'.+'}"))[:2] == (422, "execution")


@pytest.mark.parametrize(
    "query",
    [
        "(" * 3000 + "1" + ")" * 3000,
        "up" + "+up" * 1300,
        'up{job=~"(a+)+b"}',
        'up{job=~"' + "(" * 500 + ")" * 500 + '"}',
        "x" * 100_000,
        "up\x00",
        "up{job='\U0001f600'}",
        "sum_over_time(up[1000y:1ms])",
        "up @ 1e300",
        "up offset 100000y",
    ],
)
def test_hostile_queries_are_answered_not_obeyed(wire: Wire, query: str) -> None:
    answer = wire.form(f"{API}/query", query=query)
    assert answer.status_code in (200, 400, 422)
    assert "Traceback" not in answer.text


@given(text=st.text(max_size=40), name=st.sampled_from(["query", "time", "timeout", "limit"]))
def test_no_parameter_breaks_the_server(wire: Wire, text: str, name: str) -> None:
    fields = {"query": "up", name: text.encode("utf-8", "replace").decode()}
    assert wire.form(f"{API}/query", **fields).status_code in (200, 400, 422)


def test_bytes_that_are_no_text_are_refused_or_replaced(wire: Wire) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = wire.ask("POST", f"{API}/query", content=b"query=\xff\xfe", headers=form)
    assert error(answer)[:2] == (400, "bad_data")
    assert wire.ask("GET", f"{API}/query?query=%ff%fe").status_code == 400
    assert wire.ask("GET", f"{API}/label/%ff/values").json()["data"] == []


def test_more_parameters_than_anybody_needs_are_refused(wire: Wire) -> None:
    many = {"match[]": [f"up{i}" for i in range(5000)]}
    assert error(wire.ask("POST", f"{API}/series", data=many))[0] == 400


# -- names ----------------------------------------------------------------------------------------


def test_series_are_the_label_sets_with_samples(
    wire: Wire, hotel: Sim, samples: pd.DataFrame
) -> None:
    params = {"match[]": ['up{job="search"}', 'up{job="geo"}'], "start": hotel.now() - 60}
    found = wire.data(f"{API}/series", **params)
    mine = samples[(samples["metric"] == "up") & samples["l_job"].isin(["search", "geo"])]
    mine = mine[mine["time"] >= hotel.now() - 60]
    assert {s["instance"] for s in found} == set(mine["l_instance"])
    assert all(s["__name__"] == "up" for s in found)
    posted = wire.ask("POST", f"{API}/series", data=params).json()["data"]
    assert posted == found


def test_names_are_found_even_between_two_scrapes(wire: Wire, hotel: Sim) -> None:
    at = hotel.now() - 2.5
    assert wire.data(f"{API}/label/job/values", start=at, end=at) == wire.data(
        f"{API}/label/job/values"
    )


def test_label_names_and_values_are_those_of_the_samples(wire: Wire, samples: pd.DataFrame) -> None:
    names = {c.removeprefix("l_") for c in samples.columns if c.startswith("l_")}
    assert wire.data(f"{API}/labels") == sorted(names | {"__name__"})
    assert wire.data(f"{API}/label/__name__/values") == sorted(set(samples["metric"]))
    matched = samples[samples["metric"] == "up"]["l_job"].dropna()
    values = wire.data(f"{API}/label/job/values", **{"match[]": "up"})
    assert values == sorted(set(matched))


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..%2f..%2fquery", "a/b", "%00", "☃"])
def test_odd_label_names_have_no_values(wire: Wire, name: str) -> None:
    assert wire.ask("GET", f"{API}/label/{name}/values").status_code in (200, 404)


def test_escaped_label_names_are_understood(wire: Wire) -> None:
    assert wire.data(f"{API}/label/U__job/values") == wire.data(f"{API}/label/job/values")


@given(name=st.text(alphabet=string.ascii_letters + string.digits + "._-/é☃", min_size=1))
def test_unescaping_undoes_prometheus_escaping(name: str) -> None:
    escaped = "U__" + "".join(
        "__" if c == "_" else c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in name
    )
    assert unescaped(escaped) == name


@given(name=st.text(alphabet="U_0123456789abcdefxyz"))
def test_what_is_not_well_escaped_stays_as_it_is_or_reads_as_text(name: str) -> None:
    unescaped(name).encode()


def test_metadata_names_families_in_use(wire: Wire) -> None:
    everything = wire.data(f"{API}/metadata")
    assert everything["up"][0]["type"] == "gauge"
    assert everything["http_server_request_duration_seconds"][0]["type"] == "histogram"
    assert not any(name.endswith("_bucket") for name in everything)
    one = wire.data(f"{API}/metadata", metric="up")
    assert list(one) == ["up"]
    assert len(wire.data(f"{API}/metadata", limit=3)) == 3
    assert wire.data(f"{API}/metadata", metric="none") == {}


def test_queries_are_formatted(wire: Wire) -> None:
    pretty = wire.data(f"{API}/format_query", query="sum by(job)(rate(up [5m]))")
    assert str(parse(pretty)) == str(parse("sum by (job) (rate(up[5m]))"))


def test_there_are_no_exemplars(wire: Wire) -> None:
    assert wire.data(f"{API}/query_exemplars", query="up") == []


# -- state ----------------------------------------------------------------------------------------


def test_rules_show_state_and_alerts(wire: Wire) -> None:
    groups = wire.data(f"{API}/rules")["groups"]
    rules = {r["name"]: r for g in groups for r in g["rules"]}
    failing = rules["DependencyErrors"]
    assert failing["state"] == "firing"
    assert failing["health"] == "ok"
    assert failing["type"] == "alerting"
    assert failing["duration"] == 60
    labels = [a["labels"] for a in failing["alerts"]]
    assert any(x["service"] == "search" and x["server_address"] == "geo" for x in labels)
    assert all(x["alertname"] == "DependencyErrors" for x in labels)
    assert 0.05 < float(failing["alerts"][0]["value"]) <= 1.0
    assert "e" in failing["alerts"][0]["value"]


def test_rules_are_filtered(wire: Wire) -> None:
    named = wire.data(f"{API}/rules", **{"rule_name[]": "HighLatency"})["groups"]
    assert [r["name"] for g in named for r in g["rules"]] == ["HighLatency"]
    recording = wire.data(f"{API}/rules", type="record")["groups"]
    assert {r["type"] for g in recording for r in g["rules"]} <= {"recording"}
    group = wire.data(f"{API}/rules", **{"rule_group[]": named[0]["name"]})["groups"]
    assert [g["name"] for g in group] == [named[0]["name"]]
    bare = wire.data(f"{API}/rules", exclude_alerts="true")["groups"]
    assert not any(r.get("alerts") for g in bare for r in g["rules"])


def test_alerts_are_those_of_the_rules(wire: Wire) -> None:
    alerts = wire.data(f"{API}/alerts")["alerts"]
    groups = wire.data(f"{API}/rules")["groups"]
    assert alerts == [a for g in groups for r in g["rules"] for a in r.get("alerts", [])]
    assert {a["state"] for a in alerts} <= {"pending", "firing"}


def test_targets_are_what_up_says(wire: Wire) -> None:
    targets = wire.data(f"{API}/targets")["activeTargets"]
    up = wire.data(f"{API}/query", query="up")["result"]
    assert {t["labels"]["instance"] for t in targets} == {s["metric"]["instance"] for s in up}
    assert {t["health"] for t in targets} == {"up"}
    only = wire.data(f"{API}/targets", scrapePool="geo")["activeTargets"]
    assert {t["scrapePool"] for t in only} == {"geo"}
    assert wire.data(f"{API}/targets", state="dropped")["activeTargets"] == []


def test_metadata_of_a_target(wire: Wire) -> None:
    found = wire.data(f"{API}/targets/metadata", match_target='{job="geo"}', metric="up")
    assert {m["target"]["job"] for m in found} == {"geo"}
    assert {m["metric"] for m in found} == {"up"}


def test_the_server_describes_itself(wire: Wire, hotel: Sim) -> None:
    assert wire.data(f"{API}/status/buildinfo")["version"].startswith("3.")
    assert wire.data(f"{API}/status/runtimeinfo")["serverTime"].startswith(
        rfc3339(hotel.now())[:-1]
    )
    config = yaml.safe_load(wire.data(f"{API}/status/config")["yaml"])
    assert config["global"]["scrape_interval"] == "5s"
    assert wire.data(f"{API}/status/flags")["query.lookback-delta"] == "5m"
    tsdb = wire.data(f"{API}/status/tsdb", limit=3)
    assert len(tsdb["seriesCountByMetricName"]) == 3
    series = wire.data(f"{API}/series", **{"match[]": '{__name__!=""}'})
    assert tsdb["headStats"]["numSeries"] == len(series)
    assert wire.get("/prometheus/-/healthy").text == "Prometheus Server is Healthy.\n"
    assert wire.get("/prometheus/-/ready").status_code == 200


def test_nothing_says_what_stands_behind(wire: Wire) -> None:
    paths = ("status/buildinfo", "status/runtimeinfo", "status/config", "status/flags",
             "status/tsdb", "targets", "rules", "alerts", "metadata")  # fmt: skip
    for path in paths:
        answer = wire.get(f"{API}/{path}")
        text = (answer.text + str(answer.headers)).lower()
        assert not [w for w in ("simulat", "inject", "chaos", "virtual", "aiopslab") if w in text]


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_values_of_alerts_are_written_exactly(value: float) -> None:
    text = scientific(value)
    assert float(text) == value
    assert re.fullmatch(r"-?\d(\.\d+)?e[+-]\d\d+", text)


def test_every_number_is_one_json_knows(wire: Wire) -> None:
    text = wire.get(f"{API}/query", query="0 * up / 0").text
    read = json.loads(text, parse_constant=pytest.fail)
    assert all(math.isnan(float(s["value"][1])) for s in read["data"]["result"])


# -- a real client --------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "instant", "--time", "END", "URL", "sum(up)"],
        ["query", "range", "--start", "START", "--end", "END", "--step", "15s", "URL", "sum(up)"],
        ["query", "series", "--match", "up", "URL"],
        ["query", "labels", "URL", "job"],
    ],
)
def test_promtool_reads_the_answers(
    served: str, hotel: Sim, wire: Wire, arguments: list[str]
) -> None:
    times = {"START": f"{hotel.now() - 60:.0f}", "END": f"{hotel.now():.0f}",
             "URL": f"{served}/e/{wire.token}/prometheus"}  # fmt: skip
    words = [times.get(word, word) for word in arguments]
    ran = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
