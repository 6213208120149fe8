"""What all monitoring APIs share: refusals in their own form, turns, costs, and no leaks."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from wire_clients import APIS, Wire, asked, monitoring

from aiopslab.environments.sim import Sim
from aiopslab.errors import LimitExceeded
from aiopslab.orchestrator.leaks import HONEST, LAB_WORDS
from aiopslab.telemetry.store import Store
from aiopslab.wire.gate import Call, Turn
from aiopslab.wire.identity import Tokens, administrator
from aiopslab.wire.monitoring.parameters import (
    BadParameter,
    duration,
    nanoseconds_or_date,
    seconds_or_date,
)
from aiopslab.wire.site import Site

SHAPES = {
    "prometheus": lambda body: json.loads(body)["error"],
    "loki": lambda body: body,
    "jaeger": lambda body: json.loads(body)["errors"][0]["msg"],
    "tempo": lambda body: body,
    "alertmanager": lambda body: json.loads(body)["message"],
    "otlp": lambda body: json.loads(body)["message"],
}
READS = {
    "prometheus": "/prometheus/api/v1/query?query=up",
    "loki": "/loki/loki/api/v1/labels",
    "jaeger": "/jaeger/api/services",
    "tempo": "/tempo/api/search/tags",
    "alertmanager": "/alertmanager/api/v2/alerts",
}
FREE = {
    "prometheus": "/prometheus/-/healthy",
    "loki": "/loki/ready",
    "tempo": "/tempo/api/echo",
    "alertmanager": "/alertmanager/-/ready",
}


class CountingGate:
    """A gate that remembers who came, and closes when its budget is used up."""

    def __init__(self, budget: int = 100) -> None:
        self.closing = asyncio.Event()
        self.calls: list[Call] = []
        self.turns: list[Turn] = []
        self._budget = budget

    @asynccontextmanager
    async def turn(self, call: Call) -> AsyncIterator[Turn]:
        if len(self.calls) >= self._budget:
            raise LimitExceeded("tool_calls", "the budget of 1 tool calls is used up")
        self.calls.append(call)
        turn = Turn(id=f"obs-{len(self.calls)}")
        yield turn
        self.turns.append(turn)

    async def moved(self) -> None:
        raise AssertionError("nothing is followed here")


class Counted:
    """The site of a hotel behind such a gate."""

    def __init__(self, env: Sim, budget: int = 100) -> None:
        self.gate = CountingGate(budget)
        tokens = Tokens()
        self._headers = {"Authorization": f"Bearer {tokens.issue(administrator())}"}
        self._site = Site(monitoring(env, self.gate, Store()), tokens)

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return asked(self._site, method, path, headers=self._headers, **options)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("header", [{"Authorization": "Bearer forged"}, {"Authorization": ""}])
def test_without_the_token_each_api_refuses_in_its_own_form(
    wire: Wire, api: str, header: dict[str, str]
) -> None:
    path = READS.get(api, "/otlp/v1/traces")
    answer = wire.ask("GET", path, headers=header)
    assert answer.status_code == 401
    assert "bearer token" in SHAPES[api](answer.text)


@pytest.mark.parametrize("api", sorted(READS))
def test_a_token_in_the_path_is_as_good_as_a_header(wire: Wire, api: str) -> None:
    by_path = wire.bare(f"/e/{wire.token}{READS[api]}")
    assert by_path.content == wire.get(READS[api]).content
    assert wire.bare(f"/e/{wire.token[:-1]}{READS[api]}").status_code == 401


@pytest.mark.parametrize("api", APIS)
def test_a_body_that_is_too_large_is_refused_in_the_apis_form(wire: Wire, api: str) -> None:
    path = READS.get(api, "/otlp/v1/traces")
    answer = wire.ask("POST", path, content=bytes(9 * 2**20))
    assert answer.status_code == 413
    assert "larger" in SHAPES[api](answer.text)


@pytest.mark.parametrize("api", sorted(READS))
def test_a_request_takes_one_turn_and_is_an_observation(hotel: Sim, api: str) -> None:
    counted = Counted(hotel)
    answer = counted.ask("GET", READS[api])
    [call], [turn] = counted.gate.calls, counted.gate.turns
    assert call.effect == "read"
    assert call.tool.startswith(api)
    path = READS[api].partition("?")[0].removeprefix(f"/{api}")
    assert call.arguments["path"] == path
    assert answer.headers["x-observation-id"] == "obs-1"
    assert turn.ok
    assert turn.text == answer.text[:4000]


@pytest.mark.parametrize("api", sorted(FREE))
def test_health_is_free(hotel: Sim, api: str) -> None:
    counted = Counted(hotel, budget=0)
    assert counted.ask("GET", FREE[api]).status_code == 200
    assert counted.gate.calls == []


@pytest.mark.parametrize("api", sorted(READS))
def test_a_used_up_budget_is_said_in_the_apis_form(hotel: Sim, api: str) -> None:
    counted = Counted(hotel, budget=1)
    counted.ask("GET", READS[api])
    answer = counted.ask("GET", READS[api])
    assert answer.status_code == 429
    assert "used up" in SHAPES[api](answer.text)
    assert "x-observation-id" not in answer.headers


def test_a_refused_request_is_an_observation_that_failed(hotel: Sim) -> None:
    counted = Counted(hotel)
    counted.ask("POST", "/prometheus/api/v1/query", data={"query": "sum("})
    [turn] = counted.gate.turns
    assert not turn.ok
    assert "bad_data" in turn.text
    assert counted.gate.calls[0].arguments["body"] == "query=sum%28"


def test_asking_twice_gives_the_same_bytes(wire: Wire) -> None:
    for path in (*READS.values(), "/prometheus/api/v1/series?match[]=up",
                 "/jaeger/api/traces?service=geo&limit=20", "/tempo/api/search?q={}",
                 '/loki/loki/api/v1/query_range?query={namespace="hotel"}'):  # fmt: skip
        assert wire.get(path).content == wire.get(path).content


def test_nothing_that_can_be_read_speaks_of_a_lab(wire: Wire, hotel: Sim) -> None:
    words = re.compile("|".join(LAB_WORDS), re.IGNORECASE)
    paths = [
        *READS.values(), *FREE.values(),
        "/prometheus/api/v1/query?query={__name__!=''}", "/prometheus/api/v1/metadata",
        "/prometheus/api/v1/rules", "/prometheus/api/v1/targets",
        "/prometheus/api/v1/status/config", "/prometheus/api/v1/status/flags",
        "/prometheus/api/v1/query?query=sum(", "/prometheus/nowhere",
        '/loki/loki/api/v1/query_range?limit=5000&query={namespace=~".*"}',
        "/loki/loki/api/v1/series", "/loki/loki/api/v1/push", "/loki/nowhere",
        "/jaeger/api/traces?service=search&limit=200", "/jaeger/api/v3/traces",
        "/tempo/api/search?q={}&limit=200&spss=50", "/tempo/api/v2/search/tags",
        "/alertmanager/api/v2/status", "/alertmanager/api/v2/alerts/groups",
    ]  # fmt: skip
    for path in paths:
        answer = wire.get(path)
        text = HONEST.sub("", answer.text) + str(dict(answer.headers))
        assert words.search(text) is None, (path, words.search(text))
    answer = wire.ask("POST", "/alertmanager/api/v2/silences", json={})
    assert words.search(answer.text) is None


# -- times and durations --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1435781451.781", 1435781451.781),
        ("-5", -5.0),
        ("1.5e9", 1.5e9),
        ("2015-07-01T20:10:51.781Z", 1435781451.781),
        ("2015-07-01t22:10:51.781+02:00", 1435781451.781),
        ("2015-07-01T20:10:51.781000000Z", 1435781451.781),
        ("now", 1000.0),
        ("now-1m30s", 910.0),
        ("now+1s", 1001.0),
    ],
)
def test_times_of_prometheus(text: str, seconds: float) -> None:
    assert seconds_or_date(text, 1000.0) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1435781451", 1435781451.0),
        ("1435781451781000000", 1435781451.781),
        ("1435781451.781", 1435781451.781),
        ("2015-07-01T20:10:51.781Z", 1435781451.781),
        ("now-1h", -2600.0),
    ],
)
def test_times_of_loki(text: str, seconds: float) -> None:
    assert nanoseconds_or_date(text, 1000.0) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    ["", "x", "nan", "inf", "-Infinity", "1_000", "1e400", "9" * 400, "2015-07-01", "\uff10",
     "2015-02-30T00:00:00Z", "2015-07-01T20:10:51", "2015-07-01T20:10:51+99:00", "now-", "now-x",
     "99999-01-01T00:00:00Z", "1e12"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    for read in (seconds_or_date, nanoseconds_or_date):
        with pytest.raises(BadParameter, match="valid"):
            read(text, 1000.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15", 15.0), ("0.5", 0.5), ("1h30m", 5400.0), ("100ms", 0.1), ("1.5s", 1.5), ("-5m", -300.0),
     ("2d", 172800.0), ("250us", 0.00025), ("10ns", 1e-8)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5 m", "m5", "1h x", "NaN", "5" * 50 + "s", "1h" * 100])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="duration"):
        duration(text)
