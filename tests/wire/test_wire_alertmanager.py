"""Alertmanager's HTTP API, and the webhook payload of version 4."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_clients import Wire

from aiopslab.environments.sim import Sim
from aiopslab.models.signal import Alert
from aiopslab.models.timestamps import unix
from aiopslab.telemetry.notifications import fingerprint, grouped, v4_payload

API = "/alertmanager/api/v2"


def firing(wire: Wire) -> list[dict[str, Any]]:
    alerts = wire.data("/prometheus/api/v1/alerts")["alerts"]
    return [alert for alert in alerts if alert["state"] == "firing"]


def test_the_alerts_are_those_that_fire(wire: Wire, hotel: Sim) -> None:
    found = wire.json(f"{API}/alerts")
    expected = [a["labels"] for a in firing(wire)]
    assert len(found) == len(expected) > 0
    assert all(a["labels"] in expected for a in found)
    for alert in found:
        assert alert["status"] == {
            "state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": [],
        }  # fmt: skip
        assert unix(alert["startsAt"]) <= hotel.now() < unix(alert["endsAt"])
        assert alert["fingerprint"] == fingerprint(alert["labels"])
        assert alert["receivers"] == [{"name": "on-call"}]


def test_alerts_come_by_fingerprint_and_groups_hold_the_same(wire: Wire) -> None:
    found = wire.json(f"{API}/alerts")
    assert found == sorted(found, key=lambda a: str(a["fingerprint"]))
    groups = wire.json(f"{API}/alerts/groups")
    inside = [a for group in groups for a in group["alerts"]]
    assert sorted(a["fingerprint"] for a in inside) == [a["fingerprint"] for a in found]
    for group in groups:
        for alert in group["alerts"]:
            assert group["labels"].items() <= alert["labels"].items()


@pytest.mark.parametrize(
    ("filters", "some"),
    [
        (['alertname="DependencyErrors"'], True),
        (["alertname=DependencyErrors"], True),
        (['{alertname="DependencyErrors"}'], True),
        (['alertname=~"Dependency.*"', 'server_address="geo"'], True),
        (['alertname=~"Dependency"'], False),
        (['alertname!~".*"'], False),
        (['alertname!="DependencyErrors"', 'alertname="DependencyErrors"'], False),
        (['nothing=""'], True),
    ],
)
def test_filters_select(wire: Wire, filters: list[str], some: bool) -> None:
    assert bool(wire.json(f"{API}/alerts", filter=filters)) is some


@pytest.mark.parametrize(
    ("params", "some"),
    [
        ({"active": "false"}, False),
        ({"silenced": "false", "inhibited": "false", "unprocessed": "false"}, True),
        ({"receiver": "on-.*"}, True),
        ({"receiver": "somebody"}, False),
    ],
)
def test_flags_and_receivers_select(wire: Wire, params: dict[str, str], some: bool) -> None:
    assert bool(wire.json(f"{API}/alerts", **params)) is some


def test_a_filter_costs_no_more_than_its_length(wire: Wire) -> None:
    assert wire.json(f"{API}/alerts", filter=f"alertname=x{' ' * 60_000}y") == []


@pytest.mark.parametrize(
    "params",
    [
        {"filter": "no matcher"},
        {"filter": 'a=~"("'},
        {"filter": 'a=~"(a+)+$"'},
        {"active": "perhaps"},
        {"receiver": "["},
    ],
)
def test_malformed_filters_are_refused_with_a_reason(wire: Wire, params: dict[str, str]) -> None:
    answer = wire.get(f"{API}/alerts", **params)
    assert answer.status_code == 400
    assert isinstance(answer.json(), str)


def test_nothing_can_be_silenced(wire: Wire) -> None:
    assert wire.json(f"{API}/silences") == []
    silence = {"matchers": [{"name": "alertname", "value": ".+", "isRegex": True}],
               "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2027-01-01T00:00:00Z",
               "createdBy": "agent", "comment": "quiet"}  # fmt: skip
    before = wire.json(f"{API}/alerts")
    for method, path in (("POST", "silences"), ("POST", "alerts"), ("DELETE", "silence/x")):
        answer = wire.ask(method, f"{API}/{path}", json=silence)
        assert (answer.status_code, answer.json()["code"]) == (403, 403)
        assert "read-only" in answer.json()["message"]
    assert wire.json(f"{API}/alerts") == before


def test_status_and_receivers(wire: Wire) -> None:
    status = wire.json(f"{API}/status")
    assert status["cluster"]["status"] == "disabled"
    assert "on-call" in status["config"]["original"]
    assert wire.json(f"{API}/receivers") == [{"name": "on-call"}]
    assert wire.get("/alertmanager/-/healthy").status_code == 200
    assert wire.get("/alertmanager/-/ready").status_code == 200
    assert wire.get(f"{API}/nowhere").json() == {"code": 404, "message": "Not Found"}


# -- fingerprints and the webhook -----------------------------------------------------------------


def test_the_fingerprint_is_alertmanagers() -> None:
    """FNV-1a by hand: of one pair, "a" 0xff "b" 0xff."""
    state = 0xCBF29CE484222325
    for byte in b"a\xffb\xff":
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    assert fingerprint({"a": "b"}) == f"{state:016x}"


@given(labels=st.dictionaries(st.text(), st.text()))
def test_the_fingerprint_does_not_depend_on_order(labels: dict[str, str]) -> None:
    assert fingerprint(labels) == fingerprint(dict(reversed(labels.items())))


def alert(name: str, state: Any, **labels: str) -> Alert:
    return Alert(
        name=name, state=state, severity="critical", labels=labels,
        annotations={"summary": f"{name} of {labels.get('service', '')}"}, active_at=100.0,
        fired_at=None if state == "pending" else 160.0,
        resolved_at=200.0 if state == "resolved" else None, value=0.5,
    )  # fmt: skip


def test_the_webhook_payload_has_version_4() -> None:
    alerts = [
        alert("Errors", "firing", service="geo", severity="critical"),
        alert("Errors", "resolved", service="rate", severity="critical"),
        alert("Slow", "pending", service="rate"),
    ]
    payload = v4_payload(alerts, group_labels={"alertname": "Errors"})
    assert payload["version"] == "4"
    assert payload["status"] == "firing"
    assert payload["groupKey"] == '{}:{alertname="Errors"}'
    assert payload["commonLabels"] == {"alertname": "Errors", "severity": "critical"}
    assert payload["commonAnnotations"] == {}
    first, second = payload["alerts"]
    assert first["status"] == "firing"
    assert first["startsAt"] == "1970-01-01T00:02:40.000Z"
    assert first["endsAt"] == "0001-01-01T00:00:00Z"
    assert second["endsAt"] == "1970-01-01T00:03:20.000Z"
    assert first["fingerprint"] != second["fingerprint"]


def test_a_payload_of_resolved_alerts_is_resolved() -> None:
    payload = v4_payload([alert("Errors", "resolved", service="geo")])
    assert payload["status"] == "resolved"
    assert payload["commonAnnotations"] == {"summary": "Errors of geo"}


def test_alerts_are_grouped_by_name_and_namespace() -> None:
    alerts = [
        alert("B", "firing", namespace="hotel", service="x"),
        alert("A", "firing", namespace="hotel", service="x"),
        alert("A", "firing", namespace="hotel", service="y"),
        alert("A", "firing"),
    ]
    found = [(labels, len(members)) for labels, members in grouped(alerts)]
    assert found == [
        ({"alertname": "A"}, 1),
        ({"alertname": "A", "namespace": "hotel"}, 2),
        ({"alertname": "B", "namespace": "hotel"}, 1),
    ]
