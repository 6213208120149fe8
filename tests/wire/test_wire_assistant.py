"""An assistant that knows nothing of this project: its documented requests, over a socket.

The requests are those of HolmesGPT's toolsets (Prometheus by POSTed forms, rules, names, metadata,
health; Loki's query_range; Tempo's search; Alertmanager's alerts). Right answers are computed from
the frames by pandas, not by the engines that serve.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest
from wire_clients import Wire

from aiopslab.environments.sim import Sim
from aiopslab.models.timestamps import rfc3339

HOUR = 3600


class Assistant:
    """A client that was given URLs, some with a token inside, some with a header."""

    def __init__(self, base: str, token: str) -> None:
        self._http = httpx2.Client(timeout=60.0)
        self._headers = {"Authorization": f"Bearer {token}"}
        self.prometheus = f"{base}/e/{token}/prometheus"
        self.loki, self.tempo = f"{base}/loki", f"{base}/tempo"
        self.alertmanager = f"{base}/e/{token}/alertmanager"

    def get(self, url: str, **params: Any) -> httpx2.Response:
        answer = self._http.get(url, params=params, headers=self._headers)
        answer.raise_for_status()
        return answer

    def post(self, path: str, **form: Any) -> Any:
        answer = self._http.post(f"{self.prometheus}/api/v1/{path}", data=form)
        assert answer.request.headers["content-type"] == "application/x-www-form-urlencoded"
        answer.raise_for_status()
        body = answer.json()
        assert body["status"] == "success"
        return body["data"]

    def prom(self, path: str, **params: Any) -> Any:
        body = self.get(f"{self.prometheus}/api/v1/{path}", **params).json()
        assert body["status"] == "success"
        return body["data"]

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def assistant(served: str, wire: Wire) -> Iterator[Assistant]:
    client = Assistant(served, wire.token)
    yield client
    client.close()


@pytest.fixture(scope="module")
def requests_served(hotel: Sim) -> pd.DataFrame:
    """Counters of requests served, one row a sample, labels as columns."""
    frame = hotel.world.store.frame("samples")
    frame = frame[frame["metric"] == "http_server_request_duration_seconds_count"]
    labels = pd.DataFrame([json.loads(text) for text in frame["labels"].astype(str)])
    series = frame["labels"].astype(str).reset_index(drop=True).rename("series")
    return pd.concat([frame[["time", "value"]].reset_index(drop=True), series, labels], axis=1)


@pytest.fixture(scope="module")
def spans(hotel: Sim) -> pd.DataFrame:
    frame = hotel.world.store.frame("spans")
    texts = [c for c in frame.columns if frame[c].dtype.name == "category"]
    return frame.astype(dict.fromkeys(texts, str))


def rate(times: np.ndarray, values: np.ndarray, at: float, window: float) -> float | None:
    """Prometheus' ``rate`` of one counter, written down from its documentation."""
    inside = (times > at - window) & (times <= at)
    t, v = times[inside], values[inside]
    if len(t) < 2:
        return None
    steps = np.diff(v)
    increase = v[-1] - v[0] + v[:-1][steps < 0].sum()
    sampled, mean = t[-1] - t[0], (t[-1] - t[0]) / (len(t) - 1)
    left, right = (
        mean / 2 if gap >= 1.1 * mean else gap for gap in (t[0] - (at - window), at - t[-1])
    )
    if increase > 0:
        left = min(left, sampled * v[0] / increase)
    return float(increase * (sampled + left + right) / sampled / window)


# -- Prometheus -----------------------------------------------------------------------------------


def test_it_finds_the_server_healthy(assistant: Assistant) -> None:
    assert assistant.get(f"{assistant.prometheus}/-/healthy").status_code == 200
    assert assistant.prom("status/buildinfo")["version"].split(".")[0] == "3"


def test_it_lists_the_rules_and_sees_which_fire(assistant: Assistant) -> None:
    groups = assistant.prom("rules")["groups"]
    firing = {r["name"] for g in groups for r in g["rules"] if r.get("state") == "firing"}
    assert "DependencyErrors" in firing
    for group in groups:
        assert {"name", "file", "interval", "rules"} <= set(group)


def test_it_finds_names_labels_series_and_metadata(
    assistant: Assistant, requests_served: pd.DataFrame
) -> None:
    names = assistant.prom("label/__name__/values", **{"match[]": '{__name__=~"http_server.*"}'})
    assert "http_server_request_duration_seconds_count" in names
    assert all(name.startswith("http_server") for name in names)
    metric = "http_server_request_duration_seconds_count"
    labels = assistant.prom("labels", **{"match[]": metric})
    assert set(labels) == {"__name__", *requests_served.columns} - {"time", "value", "series"}
    services = assistant.prom("label/service/values", **{"match[]": metric})
    assert services == sorted(set(requests_served["service"]))
    series = assistant.prom("series", **{"match[]": f'{metric}{{service="geo"}}'})
    mine = requests_served[requests_served["service"] == "geo"]
    assert len(series) == mine["series"].nunique()
    described = assistant.prom("metadata", metric="http_server_request_duration_seconds")
    assert described["http_server_request_duration_seconds"][0]["type"] == "histogram"


def test_an_instant_query_gives_the_rate_of_every_service(
    assistant: Assistant, hotel: Sim, requests_served: pd.DataFrame
) -> None:
    query = "sum by (service) (rate(http_server_request_duration_seconds_count[1m]))"
    data = assistant.post("query", query=query, timeout="20")
    found = {s["metric"]["service"]: float(s["value"][1]) for s in data["result"]}
    expected: dict[str, float] = {}
    for (service, _), one in requests_served.groupby(["service", "series"]):
        value = rate(one["time"].to_numpy(), one["value"].to_numpy(), hotel.now(), 60.0)
        if value is not None:
            expected[service] = expected.get(service, 0.0) + value
    assert found == pytest.approx(expected, rel=1e-9)
    assert found["geo"] < found["reservation"] / 4, "geo is cut off"


def test_a_range_query_shows_when_the_errors_began(
    assistant: Assistant, hotel: Sim, requests_served: pd.DataFrame
) -> None:
    metric = "http_server_request_duration_seconds_count"
    query = f'sum(increase({metric}{{service="search",http_response_status_code=~"5.."}}[30s]))'
    start, end = hotel.now() - 240, hotel.now()
    data = assistant.post(
        "query_range", query=query, start=rfc3339(start), end=rfc3339(end), step="15",
        timeout="20",
    )  # fmt: skip
    failing = requests_served[
        (requests_served["service"] == "search")
        & requests_served["http_response_status_code"].str.startswith("5")
    ]
    grown = failing[failing["value"] > 0]["time"].min()
    [series] = data["result"]
    began = min(t for t, v in series["values"] if float(v) > 0)
    assert grown <= began <= grown + 45.0
    assert hotel.now() - 185.0 <= began


def test_it_sees_the_firing_alerts(assistant: Assistant) -> None:
    url = f"{assistant.alertmanager}/api/v2/alerts"
    alerts = assistant.get(url, active="true", silenced="false", inhibited="false").json()
    labels = [a["labels"] for a in alerts]
    assert any(x["alertname"] == "DependencyErrors" and x["server_address"] == "geo"
               for x in labels)  # fmt: skip


# -- Loki and Tempo -------------------------------------------------------------------------------


@pytest.mark.parametrize("per_second", [1, 10**9])
def test_it_reads_the_error_lines(assistant: Assistant, hotel: Sim, per_second: int) -> None:
    start, end = int(hotel.now()) - 40, int(hotel.now())
    body = assistant.get(
        f"{assistant.loki}/loki/api/v1/query_range",
        query='{service_name="search"} |~ "(?i)error|fail|timeout"', limit=1000,
        start=start * per_second, end=end * per_second,
    ).json()  # fmt: skip
    found = sorted(line for s in body["data"]["result"] for _, line in s["values"])
    logs = hotel.world.store.frame("logs")
    mine = logs[(logs["service"] == "search") & logs["time"].between(start, end, "left")]
    mine = mine[mine["line"].str.contains("error|fail|timeout", case=False)]
    assert found == sorted(mine["line"])
    assert 20 < len(found) < 1000


def test_it_follows_a_failed_trace_to_the_span_that_failed_first(
    assistant: Assistant, hotel: Sim, spans: pd.DataFrame
) -> None:
    assert assistant.get(f"{assistant.tempo}/api/echo").text == "echo"
    found = assistant.get(
        f"{assistant.tempo}/api/search",
        q='{ resource.service.name = "frontend" && status = error }', limit=5,
        start=int(hotel.now()) - 60, end=int(hotel.now()),
    ).json()["traces"]  # fmt: skip
    assert len(found) == 5
    wanted = found[0]["traceID"]
    body = assistant.get(f"{assistant.tempo}/api/v2/traces/{wanted}").json()
    failed = [
        (int(s["endTimeUnixNano"]) - int(s["startTimeUnixNano"]), resource)
        for resource in body["trace"]["resourceSpans"]
        for s in resource["scopeSpans"][0]["spans"]
        if s["status"]["code"] == 2 and s["kind"] == 3
    ]
    named = {a["key"]: a["value"]["stringValue"]
             for a in min(failed, key=lambda f: f[0])[1]["resource"]["attributes"]}  # fmt: skip
    mine = spans[(spans["trace_id"] == wanted) & (spans["error"] != "")]
    deepest = mine[mine["kind"] == "client"].nsmallest(1, "duration_ms")["service"].iloc[0]
    assert named["service.name"] == deepest == "search"


def test_it_explores_tags(assistant: Assistant) -> None:
    scopes = assistant.get(f"{assistant.tempo}/api/v2/search/tags").json()["scopes"]
    assert {s["name"] for s in scopes} == {"resource", "span", "intrinsic"}
    url = f"{assistant.tempo}/api/v2/search/tag/resource.service.name/values"
    assert "geo" in [v["value"] for v in assistant.get(url).json()["tagValues"]]


# -- a clock of its own ---------------------------------------------------------------------------


def test_asking_for_the_last_hour_by_its_own_clock_it_is_told_the_time(
    assistant: Assistant, hotel: Sim
) -> None:
    theirs = int(hotel.now()) + 234 * 86400
    url = f"{assistant.prometheus}/api/v1/query_range"
    body = assistant._http.post(
        url, data={"query": "up", "start": theirs - HOUR, "end": theirs, "step": 60}
    ).json()
    [warning] = body["warnings"]
    assert rfc3339(hotel.now()) in warning
    again = assistant.post("query_range", query="up", start="now-1h", end="now", step=60)
    assert again["result"]
