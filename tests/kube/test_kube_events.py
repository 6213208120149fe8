from collections.abc import Callable
from typing import Any

import pytest

from aiopslab.models.signal import Event
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.events import TTL_S, EventRecorder

Build = Callable[..., dict[str, Any]]


@pytest.fixture
def stored_pod(api: ApiServer, pod: Build) -> dict[str, Any]:
    return api.create(pod(), actor="admin")


def test_repeats_are_counted_not_duplicated(
    api: ApiServer, clock: Any, stored_pod: dict[str, Any]
) -> None:
    recorder = EventRecorder(api)
    message = "Back-off restarting failed container"
    for _ in range(3):
        recorder.record_event(stored_pod, "Warning", "BackOff", message, "kubelet")
        clock.now += 60
    (event,) = api.list("Event", "shop", fields="involvedObject.name=web-1,type=Warning")
    assert event["count"] == 3
    assert event["firstTimestamp"] == "2027-01-15T08:00:00Z"
    assert event["lastTimestamp"] == "2027-01-15T08:02:00Z"
    assert event["involvedObject"]["uid"] == stored_pod["metadata"]["uid"]


def test_another_message_or_reporter_is_another_event(
    api: ApiServer, stored_pod: dict[str, Any]
) -> None:
    recorder = EventRecorder(api)
    recorder.record_event(stored_pod, "Normal", "Pulled", "a", "kubelet")
    recorder.record_event(stored_pod, "Normal", "Pulled", "b", "kubelet")
    recorder.record_event(stored_pod, "Normal", "Pulled", "b", "other")
    assert len({e["metadata"]["name"] for e in api.list("Event", "shop")}) == 3


def test_events_go_an_hour_after_their_last_occurrence(
    api: ApiServer, clock: Any, stored_pod: dict[str, Any]
) -> None:
    recorder = EventRecorder(api)
    recorder.record_event(stored_pod, "Normal", "Old", "once", "kubelet")
    recorder.record_event(stored_pod, "Normal", "Kept", "often", "kubelet")
    clock.now += TTL_S - 1
    recorder.record_event(stored_pod, "Normal", "Kept", "often", "kubelet")
    clock.now += 2
    recorder.record_event(stored_pod, "Normal", "New", "now", "kubelet")
    assert {e["reason"] for e in api.list("Event", "shop")} == {"Kept", "New"}
    recorder.record_event(stored_pod, "Normal", "Old", "once", "kubelet")
    assert {e["count"] for e in api.list("Event", fields="reason=Old")} == {1}


def test_listeners_hear_every_occurrence(api: ApiServer, stored_pod: dict[str, Any]) -> None:
    recorder = EventRecorder(api)
    heard: list[Event] = []
    recorder.on_event(heard.append)
    for _ in range(2):
        recorder.record_event(stored_pod, "Warning", "Unhealthy", "probe", "kubelet")
    assert [(e.count, e.kind, e.name, e.namespace) for e in heard] == [
        (1, "Pod", "web-1", "shop"),
        (2, "Pod", "web-1", "shop"),
    ]


def test_events_about_cluster_scoped_objects_live_in_default(api: ApiServer) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    stored = api.create(node, actor="system:node:n1")
    recorder = EventRecorder(api)
    recorder.record_event(stored, "Normal", "NodeReady", "ready", "kubelet")
    assert [e["metadata"]["namespace"] for e in api.list("Event")] == ["default"]


def test_events_are_not_audited(api: ApiServer, stored_pod: dict[str, Any]) -> None:
    before = len(api.audit)
    EventRecorder(api).record_event(stored_pod, "Normal", "Pulled", "a", "kubelet")
    assert len(api.audit) == before
