"""Whatever is sent, the answer is an object or a ``Status``; the API never fails for a request."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from api_served import DEPLOYMENTS, MAPS, PODS, Api, config_map, hotel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiopslab.wire.kubernetes import resources
from aiopslab.world.kube.objects import Object

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just({"name": ["x"]}),
    st.just([{"name": "x"}, 1]),
)
FEW = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    api = Api(hotel(seconds=5.0))
    yield api
    api.close()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Iterate over the paths of everything in a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def with_junk(obj: Object, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    changed = copy.deepcopy(obj)
    at: Any = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = junk
    return changed


def a_deployment() -> Object:
    container = {
        "name": "c", "image": "hotel-geo:1.17.3", "ports": [{"containerPort": 80}],
        "env": [{"name": "A", "value": "1"}],
        "resources": {"limits": {"cpu": "1", "memory": "1Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }  # fmt: skip
    pod = {"containers": [container], "volumes": [{"name": "v", "configMap": {"name": "x"}}]}
    labels = {"app": "junk"}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
    }
    metadata = {"name": "junk", "namespace": "hotel", "labels": labels, "annotations": {"a": "b"}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


DEPLOYMENT = a_deployment()
PLACES = st.sampled_from(sorted(places(DEPLOYMENT), key=repr))
METHODS = st.sampled_from(
    [
        ("POST", DEPLOYMENTS, "application/json"),
        ("PUT", f"{DEPLOYMENTS}/junk", "application/json"),
        ("PATCH", f"{DEPLOYMENTS}/geo", MERGE),
        ("PATCH", f"{DEPLOYMENTS}/geo", STRATEGIC),
        ("PATCH", f"{DEPLOYMENTS}/junk", APPLY),
        ("PATCH", f"{DEPLOYMENTS}/geo/status", STRATEGIC),
        ("PATCH", f"{DEPLOYMENTS}/geo/scale", MERGE),
        ("PUT", f"{DEPLOYMENTS}/geo/scale", "application/json"),
        ("DELETE", f"{DEPLOYMENTS}/junk", "application/json"),
        ("POST", f"{PODS}/geo-postgres-0/eviction", "application/json"),
        ("POST", f"{PODS}/geo-postgres-0/binding", "application/json"),
    ]
)

VERBS = {
    ("POST", "application/json"),
    ("PUT", "application/json"),
    ("PATCH", MERGE),
    ("PATCH", STRATEGIC),
    ("PATCH", APPLY),
}


def answered(api: Api, method: str, path: str, body: Any, kind: str, **query: Any) -> None:
    answer = api.ask(method, path, body, kind=kind, dryRun="All", **query)
    assert answer.status_code != 500 or answer.json()["reason"] == "InternalError"
    assert answer.status_code in {200, 201, 400, 404, 409, 415, 422, 429, 500}
    assert answer.json()["kind"]


@FEW
@given(METHODS, PLACES, JUNK, st.sampled_from(["Strict", "Warn", "Ignore"]))
def test_an_object_with_junk_in_one_place_is_taken_or_refused(
    api: Api, method: tuple[str, str, str], place: tuple[Any, ...], junk: Any, validation: str
) -> None:
    verb, path, kind = method
    body = with_junk(DEPLOYMENT, place, junk)
    answered(api, verb, path, body, kind, fieldManager="m", fieldValidation=validation)


@FEW
@given(st.data(), JUNK)
def test_an_object_of_any_kind_with_junk_in_one_place_is_taken_or_refused(
    api: Api, data: st.DataObject, junk: Any
) -> None:
    resource = data.draw(st.sampled_from([r for r in resources.served() if r.source == "stored"]))
    listed = api.get(f"{resource.path}/{resource.plural}")["items"]
    obj = data.draw(st.sampled_from(listed)) if listed else {"metadata": {"name": "x"}, "spec": {}}
    body = with_junk(obj, data.draw(st.sampled_from(sorted(places(obj), key=repr))), junk)
    named = obj["metadata"]
    space = f"/namespaces/{named.get('namespace', 'hotel')}" if resource.namespaced else ""
    path = f"{resource.path}{space}/{resource.plural}"
    verb, kind = data.draw(st.sampled_from(sorted(VERBS)))
    where = path if verb == "POST" else f"{path}/{named['name']}"
    answered(api, verb, where, body, kind, fieldManager="m")


@FEW
@given(
    st.lists(
        st.fixed_dictionaries(
            {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]) | JUNK},
            optional={
                "path": st.sampled_from(["", "/", "/spec", "/spec/replicas", "/metadata/name",
                                         "/spec/template/spec/containers/-", "/status"]) | JUNK,
                "from": st.sampled_from(["/spec", "/kind"]) | JUNK,
                "value": JUNK,
            },
        ) | JUNK,
        max_size=3,
    )
)  # fmt: skip
def test_any_json_patch_is_taken_or_refused(api: Api, operations: list[Any]) -> None:
    answered(api, "PATCH", f"{DEPLOYMENTS}/geo", operations, JSON_PATCH)


OPTIONS = {
    "gracePeriodSeconds": 1, "orphanDependents": False, "propagationPolicy": "Background",
    "preconditions": {"uid": "u", "resourceVersion": "1"}, "dryRun": ["All"],
}  # fmt: skip


@FEW
@given(
    st.sampled_from(
        [
            ("DELETE", f"{MAPS}/geo-config", OPTIONS),
            ("DELETE", f"{PODS}/geo-postgres-0", OPTIONS),
            ("POST", f"{PODS}/geo-postgres-0/eviction", {"deleteOptions": OPTIONS}),
            ("POST", f"{PODS}/geo-postgres-0/binding", {"target": {"kind": "Node", "name": "n"}}),
        ]
    ),
    st.data(),
    JUNK,
)
def test_options_with_junk_in_one_place_are_taken_or_refused(
    api: Api, call: tuple[str, str, Object], data: st.DataObject, junk: Any
) -> None:
    method, path, whole = call
    body = with_junk(whole, data.draw(st.sampled_from(sorted(places(whole), key=repr))), junk)
    answered(api, method, path, body, "application/json")


@FEW
@given(
    st.dictionaries(
        st.sampled_from(
            ["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion",
             "resourceVersionMatch", "includeObject", "propagationPolicy", "gracePeriodSeconds"]
        ),
        st.text("a=,()!in 0-\u00e9/%\x00", max_size=12),
        max_size=3,
    )
)  # fmt: skip
def test_any_query_is_taken_or_refused(api: Api, query: dict[str, str]) -> None:
    answer = api.ask("GET", MAPS, **query)
    assert answer.status_code in {200, 400, 410, 422, 504}
    assert answer.json()["kind"]


@FEW
@given(st.text("abc/%.~:\u00e9 {}", max_size=30))
def test_any_path_is_answered(api: Api, path: str) -> None:
    for prefix in ("/api/v1/", "/apis/apps/v1/", "/openapi/v3/", "/"):
        answer = api.ask("GET", prefix + quote(path).lstrip("/"))
        assert answer.status_code in {200, 404, 405}, path


def test_the_world_goes_on_after_all_of_it(api: Api) -> None:
    api.sim.run_for(20.0)
    assert api.ask("POST", MAPS, config_map("after")).status_code == 201
    assert api.get(f"{DEPLOYMENTS}/geo")["status"]["readyReplicas"] == 2
