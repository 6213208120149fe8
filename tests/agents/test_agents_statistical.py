from __future__ import annotations

import asyncio
import copy
import importlib
from types import ModuleType
from typing import Any

import pytest
from agents_fakes import FakeTrial
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.agents import load
from aiopslab.tools.schema import validate
from aiopslab.tools.submit import _ANSWERS as ANSWERS


def module(name: str) -> ModuleType:
    """Import a module of the agent's folder the way its loader does."""
    load("statistical").build()
    return importlib.import_module(f"_aiopslab_agent_statistical.{name}")


def survey(**seen: Any) -> Any:
    """A survey of two healthy components, `web` on `web-postgres`, with some things different."""
    found = module("survey").Survey(
        components=[
            {"component": "web", "kind": "Deployment"},
            {"component": "api", "kind": "Deployment"},
            {"component": "web-postgres", "kind": "StatefulSet"},
            {"component": "node-a", "kind": "Node"},
        ],
        edges=[
            {"caller": "api", "callee": "web", "declared": True},
            {"caller": "web", "callee": "web-postgres", "declared": True},
        ],
        objects={
            "Deployment": [workload("web"), workload("api")],
            "StatefulSet": [], "ReplicaSet": [], "Pod": [], "Service": [service()],
            "ConfigMap": [], "NetworkPolicy": [],
        },
        series={name: [] for name in module("survey").QUERIES},
    )  # fmt: skip
    found.objects |= seen.pop("objects", {})
    found.series |= seen.pop("series", {})
    for name, value in seen.items():
        setattr(found, name, value)
    return found


def workload(name: str, **spec: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": name}
    container = {
        "name": name,
        "image": f"{name}:1",
        "ports": [{"name": "http", "containerPort": 80}],
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template} | spec,
    }


def service(target: Any = 80, **selector: str) -> dict[str, Any]:
    spec = {
        "selector": {"app.kubernetes.io/name": "web", **selector},
        "ports": [{"name": "http", "port": 80, "targetPort": target}],
    }
    return {"metadata": {"name": "web"}, "spec": spec}


def revisions(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    """ReplicaSets of `web`, one a revision, its container changed so."""
    made = []
    for number, change in enumerate(changes, 1):
        template = copy.deepcopy(workload("web")["spec"]["template"])
        template["spec"]["containers"][0] |= change
        meta = {
            "name": f"web-{number}",
            "annotations": {"deployment.kubernetes.io/revision": str(number)},
            "ownerReferences": [{"uid": "uid-web"}],
        }
        made.append({"metadata": meta, "spec": {"template": template}})
    return made


def pod(**status: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "web"}
    return {
        "metadata": {"name": "web-1-x", "labels": labels},
        "spec": {"nodeName": "node-a"},
        "status": {"containerStatuses": [status]} if status else {},
    }


def series(before: float, now: float, **labels: str) -> dict[str, Any]:
    values = [before] * 30 + [now] * 6
    return {"labels": labels, "points": [[30.0 * n, v] for n, v in enumerate(values)]}


def suspects(seen: Any) -> list[tuple[str, str]]:
    clues = [*module("state_rules").state_clues(seen), *module("signal_rules").signal_clues(seen)]
    return [(s.component, s.cause) for s in module("ranking").rank(clues)]


def test_a_healthy_cluster_raises_no_suspicion() -> None:
    assert suspects(survey()) == []


def policy(*callers: str) -> dict[str, Any]:
    peers = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": c}}} for c in callers]
    chosen = {"matchLabels": {"app.kubernetes.io/name": "web"}}
    spec = {"podSelector": chosen, "policyTypes": ["Ingress"], "ingress": [{"from": peers}]}
    return {"metadata": {"name": "web-in"}, "spec": spec}


OOM = {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
LOW = {"resources": {"limits": {"cpu": "30m"}}}
HIGH = {"resources": {"limits": {"cpu": "500m"}}}


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ({"Service": [service(9999)]}, ("web", "service_port_mismatch")),
        ({"Service": [service(tier="x")]}, ("web", "service_selector_mismatch")),
        ({"Deployment": [workload("web", replicas=0)]}, ("web", "scaled_to_zero")),
        (
            {"Pod": [pod(state={"waiting": {"reason": "ImagePullBackOff"}})]},
            ("web", "image_not_pullable"),
        ),
        ({"NetworkPolicy": [policy("gateway")]}, ("web", "network_policy_denied")),
        ({"Pod": [pod(**OOM)]}, ("web", "memory_leak")),
        ({"ReplicaSet": revisions(HIGH, LOW)}, ("web", "cpu_limit_too_low")),
    ],
)
def test_contradictions_between_objects_name_their_cause(
    objects: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert suspects(survey(objects=objects))[0] == expected


def test_objects_that_fit_are_not_suspected() -> None:
    fine = {
        "Service": [service("http")],
        "NetworkPolicy": [policy("api", "other")],
        "ReplicaSet": revisions(LOW, HIGH),
    }
    assert suspects(survey(objects=fine)) == []


@pytest.mark.parametrize(
    ("line", "service", "where", "cause"),
    [
        ("permission denied for table t", "web", "web-postgres", "database_permission_revoked"),
        ("password authentication failed for user", "web", "web", "credentials_mismatch"),
        ("sorry, too many clients already", "web-postgres", "web-postgres", "too_many_connections"),
        ("No space left on device", "web-postgres", "web-postgres", "disk_full"),
    ],
)
def test_messages_that_name_their_cause_are_read(
    line: str, service: str, where: str, cause: str
) -> None:
    pattern = {"service": service, "pattern": line, "count": 40, "first": 0.0, "last": 1.0}
    assert suspects(survey(patterns=[pattern]))[0] == (where, cause)


def test_a_shrunk_value_is_suspected_and_put_back() -> None:
    change = {
        "time": 0.0, "actor": "ci", "kind": "config", "component": "web-config",
        "summary": "ConfigMap web-config updated", "diff": "data.DB_POOL_SIZE: '12' -> '1'",
    }  # fmt: skip
    seen = survey(changes=[change])
    ranked = module("ranking").rank(module("state_rules").state_clues(seen))
    assert (ranked[0].component, ranked[0].cause) == ("web", "connection_pool_too_small")
    (_, patch), (tool, again) = ranked[0].repair
    assert patch["patch"] == '{"data": {"DB_POOL_SIZE": "12"}}'
    assert (tool, again["action"]) == ("k8s_rollout", "restart")
    change["diff"] = "data.FEATURE_BANNER: (none) -> 'spring'"
    weak = module("ranking").rank(module("state_rules").state_clues(seen))
    assert weak[0].probability < 0.25


def test_scaling_back_uses_the_replicas_of_the_change_log() -> None:
    change = {"kind": "scale", "component": "web", "summary": "scale web: 3 -> 0", "diff": ""}
    seen = survey(objects={"Deployment": [workload("web", replicas=0)]}, changes=[change])
    ranked = module("ranking").rank(module("state_rules").state_clues(seen))
    assert ranked[0].repair == (("k8s_scale", {"name": "web", "replicas": 3}),)


def test_a_version_is_blamed_for_what_got_worse_since() -> None:
    rolled = {"ReplicaSet": revisions({}, {"image": "web:2"})}
    failing = {
        "errors": [series(0.0, 0.2, service="web")],
        "p95": [series(0.1, 0.1, service="web")],
    }
    seen = survey(objects=rolled, series=failing, error_origins={"web": 3})
    assert suspects(seen)[0] == ("web", "errors_in_release")
    hungry = {"cpu": [series(0.1, 0.9, pod="web-1-x")], "rate": [series(5, 5, service="web")]}
    assert suspects(survey(objects=rolled, series=hungry))[0][1] == "cpu_regression_in_release"
    asking = {"statements": [series(5, 60, service="web")], "rate": [series(5, 5, service="web")]}
    assert suspects(survey(objects=rolled, series=asking))[0][1] == "query_regression_in_release"


def test_a_busy_node_is_a_neighbours_doing_and_its_services_are_moved() -> None:
    busy = {"node_busy": [series(0.2, 1.0, instance="node-a:9100")]}
    seen = survey(series=busy, objects={"Pod": [pod(ready=True)]})
    ranked = module("ranking").rank(module("signal_rules").signal_clues(seen))
    assert (ranked[0].component, ranked[0].cause) == ("node-a", "noisy_neighbour")
    ((tool, arguments),) = ranked[0].repair
    assert (tool, arguments["name"]) == ("k8s_patch", "web")
    assert '"NotIn", "values": ["node-a"]' in arguments["patch"]


def test_a_throttled_service_is_given_twice_its_limit() -> None:
    held = workload("web")
    held["spec"]["template"]["spec"]["containers"][0] |= HIGH
    seen = survey(
        objects={"Deployment": [held]}, series={"throttled": [series(0.1, 0.9, pod="web-1-x")]}
    )
    ranked = module("ranking").rank(module("signal_rules").signal_clues(seen))
    assert ranked[0].repair == (("k8s_set_resources", {"name": "web", "cpu_limit": "1000m"}),)
    assert ranked[0].probability < 0.5


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", ""]), st.floats(0, 8)),
        max_size=12,
    )
)
def test_probabilities_are_ordered_and_leave_room_for_something_else(
    rows: list[tuple[str, str, float]],
) -> None:
    clue = module("clues").Clue
    ranked = module("ranking").rank(clue(c, k, w, "why", ()) for c, k, w in rows)
    shares = [s.probability for s in ranked]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) < 1.0
    assert all(s.cause for s in ranked)


@pytest.mark.parametrize("task", ["detection", "localization", "diagnosis", "mitigation"])
def test_without_any_findings_it_says_that_nothing_is_wrong(task: Any) -> None:
    trial = FakeTrial(task)
    asyncio.run(load("statistical").build().run(trial))
    validate(ANSWERS[task], trial.submitted)
    assert len(trial.calls) <= 40
    said = trial.submitted
    assert said.get("anomaly", False) is False
    assert not said.get("candidates")
    assert not said.get("hypotheses")
    writes = {t.name for t in trial.tools if t.effect == "write"}
    assert not writes & {name for name, _ in trial.calls}


def test_it_repairs_the_likeliest_suspect_and_stops_when_alerts_clear() -> None:
    firing = (True, "", [{"state": "firing", "name": "X", "labels": {}}])
    objects = (True, "", [workload("web", replicas=0)])
    empty = (True, "", [])
    answers: Any = {
        "alerts": [firing, firing, empty],
        "services": (True, "", [{"component": "web", "kind": "Deployment"}]),
        "k8s_get": [objects, empty],
    }
    trial = FakeTrial("mitigation", answers)
    asyncio.run(load("statistical").build().run(trial))
    acted = [c for c in trial.calls if c[0] == "k8s_scale"]
    assert acted == [("k8s_scale", {"name": "web", "replicas": 1})]
    assert "scaled_to_zero" in trial.submitted["summary"]
    assert trial.submitted["confidence"] > 0.5


def test_it_submits_before_its_steps_are_used_up() -> None:
    answers: Any = {
        "alerts": (True, "", [{"state": "firing", "name": "X", "labels": {}}]),
        "services": (True, "", [{"component": "web", "kind": "Deployment"}]),
        "k8s_get": [(True, "", [workload("web", replicas=0)]), (True, "", [])],
    }
    trial = FakeTrial("mitigation", answers, steps=36)
    asyncio.run(load("statistical").build().run(trial))
    assert trial.calls[-1][0] == "submit"
    assert trial.submitted["confidence"] < 0.5
