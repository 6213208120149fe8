from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.world.kube import kinds
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.table.cells import duration, pod_status
from aiopslab.world.kube.table.table import table

Build = Callable[..., dict[str, Any]]
NOW = 1_800_000_300.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (8 * 3600 + 300, "8h"),
        (49 * 3600, "2d1h"),
        (9 * 86400, "9d"),
        (800 * 86400, "2y70d"),
    ],
)
def test_ages_read_as_kubectl_prints_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(min_value=0, max_value=10**9))
def test_an_age_is_short_whatever_it_is(seconds: float) -> None:
    assert 2 <= len(duration(seconds)) <= 8


def state(**kind: Any) -> dict[str, Any]:
    return {"name": "web", "ready": "running" in kind, "restartCount": 0, "state": kind}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Running", "containerStatuses": [state(running={})]}, "Running"),
        (
            {
                "phase": "Running",
                "containerStatuses": [state(waiting={"reason": "CrashLoopBackOff"})],
            },
            "CrashLoopBackOff",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [state(terminated={"exitCode": 137, "reason": "OOMKilled"})],
            },
            "OOMKilled",
        ),
        (
            {"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 3})]},
            "ExitCode:3",
        ),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"phase": "Pending", "initContainerStatuses": [state(running={})]}, "Init:0/1"),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [state(waiting={"reason": "ImagePullBackOff"})],
            },
            "Init:ImagePullBackOff",
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [state(terminated={"exitCode": 0})],
                "containerStatuses": [state(waiting={"reason": "PodInitializing"})],
            },
            "PodInitializing",
        ),
    ],
)
def test_the_status_cell_says_what_holds_a_pod_back(
    pod: Build, status: dict[str, Any], expected: str
) -> None:
    obj = {**pod(initContainers=[{"name": "init"}]), "status": status}
    assert pod_status(obj) == expected
    obj["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    if status["phase"] != "Failed":
        assert pod_status(obj) == "Terminating"


def test_pods_print_as_kubectl_get_prints_them(api: ApiServer, pod: Build) -> None:
    stored = api.create(pod(), actor="admin")
    last = {"terminated": {"exitCode": 1, "finishedAt": "2027-01-15T08:03:00Z"}}
    running = {**state(running={}), "restartCount": 2, "lastState": last}
    status = {"phase": "Running", "podIP": "198.19.0.4", "containerStatuses": [running]}
    api.update_status("Pod", "web-1", "shop", status, actor="system:node:n1")
    short = table("po", api.list("po"), now=NOW)
    assert short.splitlines() == [
        "NAME    READY   STATUS    RESTARTS     AGE",
        "web-1   1/1     Running   2 (2m ago)   5m",
    ]
    wide = table("po", api.list("po"), now=NOW, wide=True, show_namespace=True)
    assert wide.splitlines()[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert "198.19.0.4" in wide
    assert stored["metadata"]["name"] in wide


def test_every_kind_prints_an_object_that_has_only_what_is_required(
    api: ApiServer, deployment: Build
) -> None:
    api.create(deployment(), actor="admin")
    assert table("deploy", api.list("deploy"), now=NOW, wide=True).splitlines()[1].split() == [
        "web",
        "0/1",
        "0",
        "0",
        "5m",
        "web",
        "shop/web:1.2",
        "app=web",
    ]
    for kind in kinds.KINDS:
        assert table(kind.plural, [], now=NOW) == "No resources found"
        if kind.kind not in ("Event", "HorizontalPodAutoscaler"):
            bare = {"kind": kind.kind, "metadata": {"name": "x"}, "spec": {}}
            text = table(kind.kind, [bare], now=NOW, wide=True)
            assert len(text.splitlines()) == 2
