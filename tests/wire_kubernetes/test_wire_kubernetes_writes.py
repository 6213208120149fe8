"""Writes over HTTP: bodies, patches, apply, deletion, options, warnings, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_served import DEPLOYMENTS, MAPS, PODS, Api, config_map, hotel

from aiopslab.models.trial import Step
from aiopslab.orchestrator import evidence

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    api = Api(hotel(seconds=10.0))
    yield api
    api.close()


@pytest.fixture
def one(api: Api) -> Iterator[str]:
    """The path of a ConfigMap that is there for one test."""
    path = f"{MAPS}/one"
    assert api.ask("POST", MAPS, config_map("one", a="1", b="2")).status_code == 201
    yield path
    assert api.ask("DELETE", path).status_code in (200, 404)


def managers(obj: dict[str, Any]) -> set[tuple[str, str]]:
    return {(e["manager"], e["operation"]) for e in obj["metadata"].get("managedFields", ())}


# -- create ---------------------------------------------------------------------------------------


def test_what_is_created_comes_back_complete(api: Api) -> None:
    answer = api.ask("POST", MAPS, config_map("new", a="1"), fieldManager="me")
    assert answer.status_code == 201
    made = answer.json()
    assert made["metadata"]["uid"]
    assert managers(made) == {("me", "Update")}
    assert api.get(f"{MAPS}/new") == made
    api.ask("DELETE", f"{MAPS}/new")


def test_an_unnamed_manager_is_the_program_that_asks(api: Api, one: str) -> None:
    assert managers(api.get(one)) == {("tester", "Update")}


def test_kind_and_namespace_may_be_left_to_the_url(api: Api) -> None:
    answer = api.ask("POST", MAPS, {"metadata": {"generateName": "some-"}})
    assert answer.status_code == 201
    made = answer.json()["metadata"]
    assert made["namespace"] == "hotel"
    assert made["name"].startswith("some-")
    api.ask("DELETE", f"{MAPS}/{made['name']}")


def test_yaml_is_taken(api: Api) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yml}\ndata:\n  day: '2026-01-01'\n"
    assert api.ask("POST", MAPS, body, kind="application/yaml").status_code == 201
    assert api.ask("DELETE", f"{MAPS}/yml").status_code == 200


def test_a_dry_run_stores_nothing(api: Api) -> None:
    answer = api.ask("POST", MAPS, config_map("dry"), dryRun="All")
    assert answer.status_code == 201
    assert answer.json()["metadata"]["uid"]
    api.refused(404, "GET", f"{MAPS}/dry")
    assert api.calls[-2].effect == "read"


@pytest.mark.parametrize(
    ("code", "body", "words"),
    [
        (400, b"{", "error decoding the body"),
        (400, b"[1]", "is not an object"),
        (400, b'{"a": NaN}', "NaN"),
        (400, config_map("x", namespace="other"), "does not match the namespace sent on"),
        (400, {"kind": "Secret", "metadata": {"name": "x"}}, "cannot be handled as a ConfigMap"),
        (400, {"apiVersion": "v2", "metadata": {"name": "x"}}, "API version in the data (v2)"),
        (422, {"metadata": {}}, "name or generateName is required"),
        (422, config_map("Bad_Name"), "a lowercase RFC 1123 subdomain must consist of"),
        (400, {"metadata": {"name": "x"}, "data": {"a": 1}}, "cannot unmarshal number"),
        (400, {"metadata": "x"}, "cannot unmarshal string"),
    ],
)
def test_bodies_that_cannot_be_are_refused_in_the_servers_words(
    api: Api, code: int, body: Any, words: str
) -> None:
    assert words in api.refused(code, "POST", MAPS, body)["message"]


@pytest.mark.parametrize("time", ["2026-13-45T00:00:00Z", "0000-01-01T00:00:00Z"])
def test_a_time_that_no_calendar_has_is_refused(api: Api, time: str) -> None:
    path = PODS.replace("pods", "events")
    body = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "hotel"},
            "lastTimestamp": time}  # fmt: skip
    assert "parsing time" in api.refused(400, "POST", path, body)["message"]


def test_an_unknown_media_type_is_415(api: Api) -> None:
    status = api.refused(415, "POST", MAPS, b"<a/>", kind="text/xml")
    assert "application/json" in status["message"]


def test_a_namespace_that_is_not_there_is_404(api: Api) -> None:
    path = MAPS.replace("hotel", "motel")
    status = api.refused(404, "POST", path, config_map("x", namespace="motel"))
    assert status["message"] == 'namespaces "motel" not found'


def test_a_name_that_is_taken_is_409(api: Api, one: str) -> None:
    status = api.refused(409, "POST", MAPS, config_map("one"))
    assert status["reason"] == "AlreadyExists"
    assert status["details"]["name"] == "one"


def test_an_invalid_object_names_its_fields(api: Api) -> None:
    body = {"metadata": {"name": "x"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"q": "r"}},
                         "spec": {"containers": [{"name": "c", "image": "i"}]}}}}  # fmt: skip
    status = api.refused(422, "POST", DEPLOYMENTS, body)
    assert status["details"]["kind"] == "Deployment"
    (cause,) = status["details"]["causes"]
    assert cause["field"] == "spec.template.metadata.labels"
    assert cause["reason"] == "FieldValueInvalid"


# -- field validation -----------------------------------------------------------------------------

TYPO = b'{"metadata":{"name":"typo"},"data":{"a":"1","a":"2"},"dota":{}}'


def test_strict_validation_refuses_unknown_and_repeated_fields(api: Api) -> None:
    unknown = {"metadata": {"name": "typo"}, "dota": {}}
    message = api.refused(400, "POST", MAPS, unknown, fieldValidation="Strict")["message"]
    assert message == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: '
        'strict decoding error: unknown field "dota"'
    )
    message = api.refused(400, "POST", MAPS, TYPO, fieldValidation="Strict")["message"]
    assert 'duplicate field "data.a"' in message


@pytest.mark.parametrize("query", [{}, {"fieldValidation": "Warn"}])
def test_by_default_unknown_and_repeated_fields_are_warned_of(
    api: Api, query: dict[str, str]
) -> None:
    answer = api.ask("POST", MAPS, TYPO, **query)
    assert answer.status_code == 201
    assert answer.json()["data"] == {"a": "2"}
    assert sorted(answer.headers.get_list("warning")) == [
        '299 - "duplicate field \\"data.a\\""',
        '299 - "unknown field \\"dota\\""',
    ]
    api.ask("DELETE", f"{MAPS}/typo")


def test_validation_can_be_switched_off(api: Api) -> None:
    answer = api.ask("POST", MAPS, TYPO, fieldValidation="Ignore")
    assert "warning" not in answer.headers
    api.ask("DELETE", f"{MAPS}/typo")


@pytest.mark.parametrize("query", [{"fieldValidation": "Maybe"}, {"dryRun": "Some"},
                                   {"fieldManager": "m" * 129}])  # fmt: skip
def test_options_that_do_not_exist_are_refused(api: Api, query: dict[str, str]) -> None:
    api.refused(422, "POST", MAPS, config_map("x"), **query)


# -- change ---------------------------------------------------------------------------------------


def test_a_replacement_from_a_stale_copy_is_a_conflict(api: Api, one: str) -> None:
    copy = api.get(one)
    fresh = {**copy, "data": {"a": "3"}}
    assert api.ask("PUT", one, fresh).json()["data"] == {"a": "3"}
    status = api.refused(409, "PUT", one, {**copy, "data": {"a": "4"}})
    assert "please apply your changes to the latest version" in status["message"]


def test_a_replacement_under_another_name_is_refused(api: Api, one: str) -> None:
    api.refused(400, "PUT", one, config_map("two"))


def test_a_replacement_of_nothing_is_404(api: Api) -> None:
    api.refused(404, "PUT", f"{MAPS}/nothing", config_map("nothing"))


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        (MERGE, {"data": {"a": "9", "b": None}}),
        (STRATEGIC, {"data": {"a": "9", "b": None}}),
        (JSON_PATCH, [{"op": "replace", "path": "/data/a", "value": "9"},
                      {"op": "remove", "path": "/data/b"}]),
    ],
)  # fmt: skip
def test_patches_change_what_they_name(api: Api, one: str, kind: str, patch: Any) -> None:
    answer = api.ask("PATCH", one, patch, kind=kind, fieldManager="patcher")
    assert answer.status_code == 200
    assert answer.json()["data"] == {"a": "9"}
    assert ("patcher", "Update") in managers(answer.json())


def test_a_strategic_patch_merges_lists_by_their_key(api: Api) -> None:
    containers = [{"name": "geo", "env": [{"name": "ADDED", "value": "1"}]}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    answer = api.ask("PATCH", f"{DEPLOYMENTS}/geo", patch, kind=STRATEGIC, dryRun="All")
    (container,) = answer.json()["spec"]["template"]["spec"]["containers"]
    assert container["image"]
    assert "ADDED" in {e["name"] for e in container["env"]}


def test_a_patch_of_an_unknown_type_is_415(api: Api, one: str) -> None:
    status = api.refused(415, "PATCH", one, {"data": {}})
    assert APPLY in status["message"]


def test_a_failing_test_in_a_json_patch_is_422(api: Api, one: str) -> None:
    patch = [{"op": "test", "path": "/data/a", "value": "no"}]
    api.refused(422, "PATCH", one, patch, kind=JSON_PATCH)


def test_the_scale_is_patched_and_replaced(api: Api) -> None:
    path = f"{DEPLOYMENTS}/review/scale"
    patched = api.ask("PATCH", path, {"spec": {"replicas": 2}}, kind=MERGE).json()
    assert (patched["kind"], patched["spec"]["replicas"]) == ("Scale", 2)
    patched["spec"]["replicas"] = 1
    assert api.ask("PUT", path, patched).json()["spec"]["replicas"] == 1
    assert api.get(f"{DEPLOYMENTS}/review")["spec"]["replicas"] == 1


def test_a_patched_status_leaves_the_spec_alone(api: Api) -> None:
    patch = {"status": {"conditions": []}, "spec": {"replicas": 7}}
    answer = api.ask("PATCH", f"{DEPLOYMENTS}/geo/status", patch, kind=MERGE, dryRun="All")
    assert answer.json()["spec"]["replicas"] == 2
    assert answer.json()["status"].get("conditions", []) == []


def test_an_autoscaler_is_made_in_its_first_version(api: Api) -> None:
    path = "/apis/autoscaling/v1/namespaces/hotel/horizontalpodautoscalers"
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "geo"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 60}
    answer = api.ask("POST", path, {"metadata": {"name": "geo"}, "spec": spec})
    assert answer.status_code == 201
    assert answer.json()["spec"]["targetCPUUtilizationPercentage"] == 60
    patch = {"spec": {"targetCPUUtilizationPercentage": 70}}
    assert api.ask("PATCH", f"{path}/geo", patch, kind=MERGE).status_code == 200
    stored = api.get(f"{path.replace('/v1', '/v2')}/geo")
    assert stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    api.ask("DELETE", f"{path}/geo")


# -- apply ----------------------------------------------------------------------------------------


def test_apply_creates_and_then_changes(api: Api) -> None:
    path = f"{MAPS}/applied"
    body = {**config_map("applied", a="1"), "metadata": {"name": "applied"}}
    first = api.ask("PATCH", path, body, kind=APPLY, fieldManager="m")
    assert first.status_code == 201
    assert managers(first.json()) == {("m", "Apply")}
    again = api.ask("PATCH", path, body, kind=APPLY, fieldManager="m")
    assert again.status_code == 200
    assert (
        again.json()["metadata"]["resourceVersion"] == first.json()["metadata"]["resourceVersion"]
    )
    other = {**body, "data": {"a": "2"}}
    status = api.refused(409, "PATCH", path, other, kind=APPLY, fieldManager="n")
    assert status["message"].startswith("Apply failed with 1 conflict: conflict with")
    assert status["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    forced = api.ask("PATCH", path, other, kind=APPLY, fieldManager="n", force="true")
    assert forced.json()["data"] == {"a": "2"}
    api.ask("DELETE", path)


def test_apply_needs_a_manager_by_name(api: Api) -> None:
    body = config_map("applied")
    status = api.refused(422, "PATCH", f"{MAPS}/applied", body, kind=APPLY)
    assert "is required for apply patch" in status["message"]


def test_only_apply_may_be_forced(api: Api, one: str) -> None:
    api.refused(422, "PATCH", one, {"data": {}}, kind=MERGE, force="true")


# -- delete ---------------------------------------------------------------------------------------


def test_a_deletion_that_is_complete_is_a_success(api: Api, one: str) -> None:
    uid = api.get(one)["metadata"]["uid"]
    status = api.ask("DELETE", one).json()
    assert (status["kind"], status["status"]) == ("Status", "Success")
    assert status["details"] == {"name": "one", "kind": "configmaps", "uid": uid}


def test_a_deletion_may_depend_on_uid_and_version(api: Api, one: str) -> None:
    wrong = {"preconditions": {"uid": "other"}}
    assert "UID in the precondition" in api.refused(409, "DELETE", one, wrong)["message"]
    stale = {"preconditions": {"resourceVersion": "1"}}
    api.refused(409, "DELETE", one, stale)


@pytest.mark.parametrize(("body", "query"), [({"dryRun": ["All"]}, {}), (None, {"dryRun": "All"})])
def test_a_dry_deletion_deletes_nothing(api: Api, one: str, body: Any, query: Any) -> None:
    assert api.ask("DELETE", one, body, **query).status_code == 200
    assert api.get(one)


def test_a_running_pod_is_marked_first(api: Api) -> None:
    name = api.get(PODS, labelSelector="app.kubernetes.io/name=review")["items"][0]["metadata"][
        "name"
    ]
    marked = api.ask("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 9}).json()
    assert marked["kind"] == "Pod"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 9


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (422, {"propagationPolicy": "Sideways"}),
        (400, {"gracePeriodSeconds": "soon"}),
        (400, {"preconditions": "x"}),
        (400, {"preconditions": {"uid": 1}}),
        (400, {"dryRun": 5}),
        (400, ["All"]),
    ],
)
def test_delete_options_that_do_not_exist_are_refused(
    api: Api, one: str, code: int, body: Any
) -> None:
    api.refused(code, "DELETE", one, body)


def test_the_longest_grace_is_what_a_duration_can_hold(api: Api) -> None:
    body = {"gracePeriodSeconds": 2**62}
    marked = api.ask("DELETE", f"{PODS}/geo-postgres-0", body, dryRun="All").json()
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 2**63 // 10**9


def test_a_binding_to_what_is_no_object_is_refused(api: Api) -> None:
    api.refused(400, "POST", f"{PODS}/geo-postgres-0/binding", {"target": "node"})


def test_a_collection_is_deleted_by_its_selector(api: Api) -> None:
    for name, color in (("c1", "red"), ("c2", "red"), ("c3", "blue")):
        body = config_map(name)
        body["metadata"]["labels"] = {"color": color}
        api.ask("POST", MAPS, body)
    gone = api.ask("DELETE", MAPS, labelSelector="color=red").json()
    assert gone["kind"] == "ConfigMapList"
    assert [i["metadata"]["name"] for i in gone["items"]] == ["c1", "c2"]
    left = api.get(MAPS, labelSelector="color")
    assert [i["metadata"]["name"] for i in left["items"]] == ["c3"]
    api.ask("DELETE", f"{MAPS}/c3")


# -- subresources of pods -------------------------------------------------------------------------


def a_pod(api: Api, component: str) -> str:
    found = api.get(PODS, labelSelector=f"app.kubernetes.io/name={component}")
    return str(found["items"][0]["metadata"]["name"])


def test_an_eviction_respects_the_budget(api: Api) -> None:
    budgets = "/apis/policy/v1/namespaces/hotel/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": "user"}}}
    for item in api.get(budgets)["items"]:
        api.ask("DELETE", f"{budgets}/{item['metadata']['name']}")
    pod = a_pod(api, "user")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    dry = {**body, "deleteOptions": {"dryRun": ["All"]}}
    assert api.ask("POST", f"{PODS}/{pod}/eviction", dry).status_code == 201
    assert api.ask("POST", budgets, {"metadata": {"name": "u"}, "spec": spec}).status_code == 201
    api.sim.run_for(5.0)
    evicted = api.ask("POST", f"{PODS}/{pod}/eviction", body)
    assert (evicted.status_code, evicted.json()["status"]) == (201, "Success")
    other = next(n for n in _names(api, "user") if n != pod)
    refused = api.refused(429, "POST", f"{PODS}/{other}/eviction", body | {"metadata": {}})
    assert refused["message"].startswith("Cannot evict pod as it would violate")
    assert refused["details"]["causes"][0]["reason"] == "DisruptionBudget"


def _names(api: Api, component: str) -> list[str]:
    found = api.get(PODS, labelSelector=f"app.kubernetes.io/name={component}")
    return [i["metadata"]["name"] for i in found["items"]]


def test_a_pod_is_bound_to_a_node_once(api: Api) -> None:
    spec = {"schedulerName": "mine", "containers": [{"name": "c", "image": "hotel-geo:1.17.3"}]}
    assert api.ask("POST", PODS, {"metadata": {"name": "loose"}, "spec": spec}).status_code == 201
    body = {"target": {"kind": "Node", "name": "node-a"}}
    assert api.ask("POST", f"{PODS}/loose/binding", body).status_code == 201
    assert api.get(f"{PODS}/loose")["spec"]["nodeName"] == "node-a"
    api.refused(409, "POST", f"{PODS}/loose/binding", body)
    api.refused(422, "POST", f"{PODS}/loose/binding", {})


def test_writes_are_recorded_as_writes_with_their_body(api: Api) -> None:
    api.calls.clear()
    api.ask("POST", MAPS, config_map("noted", a="1"))
    api.ask("DELETE", f"{MAPS}/noted")
    assert [c.effect for c in api.calls] == ["write", "write"]
    assert '"noted"' in api.calls[0].arguments["body"]


def test_a_write_is_recorded_with_its_object_before_and_after(api: Api, one: str) -> None:
    def recorded() -> tuple[Any, Any]:
        turn = api.turns[-1]
        return turn.before, turn.after

    api.ask("PATCH", one, {"data": {"a": "3"}}, kind=MERGE)
    before, after = recorded()
    assert (before["data"]["a"], after["data"]["a"]) == ("1", "3")
    assert (before["kind"], after["metadata"]["name"]) == ("ConfigMap", "one")
    assert "managedFields" not in after["metadata"]
    api.ask("PATCH", one, {"data": {"a": "4"}}, kind=MERGE, dryRun="All")
    assert recorded() == (None, None)
    api.ask("DELETE", one, {"dryRun": ["All"]})
    assert recorded() == (None, None)
    api.ask("DELETE", one)
    before, after = recorded()
    assert (before["data"]["a"], after) == ("3", None)
    api.ask("POST", MAPS, config_map("one"))
    before, after = recorded()
    assert (before, after["metadata"]["name"]) == (None, "one")


def test_deletions_and_scales_over_the_wire_are_deeds_as_those_of_tools(api: Api) -> None:
    def deeds() -> list[str]:
        call, turn = api.calls[-1], api.turns[-1]
        step = Step(
            n=1, id="obs-1", tool=call.tool, effect=call.effect, arguments={}, ok=turn.ok,
            text=turn.text, start=0.0, end=0.0, before=turn.before, after=turn.after,
        )  # fmt: skip
        return evidence.deeds([step])

    geo = f"{DEPLOYMENTS}/geo"
    api.ask("PATCH", f"{geo}/scale", {"spec": {"replicas": 3}}, kind=MERGE)
    assert deeds() == ["scale Deployment/geo to 3"]
    pod = api.get(PODS, labelSelector="app.kubernetes.io/name=rate")["items"][0]["metadata"]["name"]
    api.ask("POST", f"{PODS}/{pod}/eviction", {"metadata": {"name": pod}})
    evicted = deeds()
    api.ask("DELETE", PODS, labelSelector="app.kubernetes.io/name=geo")
    assert {deed.rpartition("-")[0].rpartition("-")[0] for deed in deeds()} == {"delete Pod/geo"}
    assert evicted in ([], [f"delete Pod/{pod}"])
    for name in ("x-1", "x-2"):
        api.ask("POST", MAPS, {**config_map(name), "metadata": {"name": name, "labels": {"x": ""}}})
    api.ask("DELETE", MAPS, labelSelector="x")
    assert deeds() == ["delete ConfigMap/x-1", "delete ConfigMap/x-2"]


def test_the_actor_is_whoever_asked(api: Api) -> None:
    api.ask("POST", MAPS, config_map("noted"))
    api.ask("DELETE", f"{MAPS}/noted")
    assert [e.actor for e in api.sim.world.api.audit[-2:]] == ["lab-admin", "lab-admin"]


@pytest.mark.parametrize(
    ("accept", "kind", "items"),
    [
        ("application/json;as=Table;v=v1;g=meta.k8s.io", "Table", "rows"),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
         "PartialObjectMetadataList", "items"),
        ("application/json", "ConfigMapList", "items"),
    ],
)  # fmt: skip
def test_a_deleted_collection_is_shown_in_the_form_asked_for(
    api: Api, one: str, accept: str, kind: str, items: str
) -> None:
    gone = api.ask("DELETE", MAPS, accept=accept, fieldSelector="metadata.name=one").json()
    assert (gone["kind"], len(gone[items])) == (kind, 1)


def test_managers_that_make_no_sense_are_not_taken_over(api: Api, one: str) -> None:
    kept = api.get(one)["metadata"]["managedFields"]
    for sent in ([{**kept[0], "operation": ""}], [{**kept[0], "operation": "Paint"}]):
        patch = {"metadata": {"managedFields": sent}}
        answer = api.ask("PATCH", one, patch, kind=MERGE)
        assert answer.status_code == 200
        assert answer.json()["metadata"]["managedFields"] == kept


def test_a_request_that_is_refused_did_nothing(api: Api) -> None:
    api.refused(404, "DELETE", f"{MAPS}/nosuch")
    assert (api.turns[-1].before, api.turns[-1].after) == (None, None)
