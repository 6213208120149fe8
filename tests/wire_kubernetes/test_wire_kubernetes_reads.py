"""Lists, pages, selectors and tables over HTTP."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from api_served import DEPLOYMENTS, MAPS, PODS, TABLE, Api, config_map, hotel

from aiopslab.wire.kubernetes import resources

SHORT = {
    "Pod": "Name Ready Status Restarts Age",
    "Deployment": "Name Ready Up-to-date Available Age",
    "ReplicaSet": "Name Desired Current Ready Age",
    "StatefulSet": "Name Ready Age",
    "Service": "Name Type Cluster-IP External-IP Port(s) Age",
    "Endpoints": "Name Endpoints Age",
    "Node": "Name Status Roles Age Version",
    "Namespace": "Name Status Age",
    "ConfigMap": "Name Data Age",
    "Secret": "Name Type Data Age",
    "ServiceAccount": "Name Secrets Age",
    "Event": "Last Seen|Type|Reason|Object|Message",
    "Job": "Name Status Completions Duration Age",
    "EndpointSlice": "Name AddressType Ports Endpoints Age",
    "Lease": "Name Holder Age",
}
WIDE = {
    "Pod": "IP|Node|Nominated Node|Readiness Gates",
    "Deployment": "Containers Images Selector",
    "ReplicaSet": "Containers Images Selector",
    "StatefulSet": "Containers Images",
    "Service": "Selector",
    "Node": "Internal-IP External-IP OS-Image Kernel-Version Container-Runtime",
    "Event": "Subobject|Source|First Seen|Count|Name",
    "Job": "Containers Images Selector",
}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    api = Api(hotel())
    yield api
    api.close()


def words(text: str) -> list[str]:
    return text.split("|") if "|" in text else text.split()


def names(listed: Any) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


def test_an_object_is_read_whole(api: Api) -> None:
    found = api.get(f"{DEPLOYMENTS}/geo")
    assert (found["apiVersion"], found["kind"]) == ("apps/v1", "Deployment")
    assert found["status"]["readyReplicas"] == 2
    assert {entry["manager"] for entry in found["metadata"]["managedFields"]}


def test_a_list_has_a_revision_and_its_items_leave_their_kind_to_it(api: Api) -> None:
    listed = api.get(DEPLOYMENTS)
    assert (listed["kind"], listed["apiVersion"]) == ("DeploymentList", "apps/v1")
    assert int(listed["metadata"]["resourceVersion"]) > 0
    assert names(listed) == sorted(names(listed))
    assert not any("kind" in item or "apiVersion" in item for item in listed["items"])


def test_pages_together_are_the_list(api: Api) -> None:
    whole, paged, token, sizes = api.get(PODS), [], "", []
    while True:
        page = api.get(PODS, limit=7, **({"continue": token} if token else {}))
        paged += names(page)
        sizes.append(len(page["items"]))
        assert page["metadata"]["resourceVersion"] == whole["metadata"]["resourceVersion"]
        token = page["metadata"].get("continue", "")
        if not token:
            assert "remainingItemCount" not in page["metadata"]
            break
        assert page["metadata"]["remainingItemCount"] == len(whole["items"]) - len(paged)
    assert paged == names(whole)
    assert set(sizes[:-1]) == {7}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"labelSelector": "app.kubernetes.io/name=geo"}, {"geo"}),
        ({"labelSelector": "app.kubernetes.io/name in (geo, rate)"}, {"geo", "rate"}),
        ({"labelSelector": "app.kubernetes.io/name==geo,!nothing"}, {"geo"}),
        ({"fieldSelector": "metadata.name=rate"}, {"rate"}),
        ({"fieldSelector": "metadata.name=rate,metadata.namespace!=hotel"}, set()),
    ],
)
def test_selectors_choose(api: Api, query: dict[str, str], expected: set[str]) -> None:
    assert set(names(api.get(DEPLOYMENTS, **query))) == expected


def token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"labelSelector": "a=(b"}, "unable to parse requirement"),
        ({"fieldSelector": "spec.paint=red"}, "field label not supported: spec.paint"),
        ({"continue": "nonsense"}, "continue key is not valid"),
        ({"continue": token('{"rv": 1e999, "start": "a/b"}')}, "continue key is not valid"),
        ({"continue": token("[" * 5000)}, "continue key is not valid"),
        ({"limit": "many"}, "invalid syntax"),
        ({"limit": "-1"}, "invalid limit"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused(
    api: Api, query: dict[str, str], words: str
) -> None:
    assert words in api.refused(400, "GET", DEPLOYMENTS, **query)["message"]


def test_the_state_of_exactly_one_revision_is_listed(api: Api) -> None:
    made = api.ask("POST", MAPS, config_map("before", a="1")).json()
    revision = made["metadata"]["resourceVersion"]
    api.ask("PUT", f"{MAPS}/before", config_map("before", a="2"))
    api.ask("POST", MAPS, config_map("later"))
    query = {"resourceVersion": revision, "resourceVersionMatch": "Exact"}
    found = api.get(MAPS, fieldSelector="metadata.name!=kube-root-ca.crt", **query)
    shown = {item["metadata"]["name"]: item.get("data") for item in found["items"]}
    assert found["metadata"]["resourceVersion"] == revision
    assert shown["before"] == {"a": "1"}
    assert "later" not in shown
    for name in ("before", "later"):
        api.ask("DELETE", f"{MAPS}/{name}")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"resourceVersionMatch": "Exact"}, "forbidden unless resourceVersion is provided"),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, 'for resourceVersion "0"'),
        ({"resourceVersionMatch": "About", "resourceVersion": "1"}, "Unsupported value"),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "1", "continue": "x"}, "continue"),
    ],
)
def test_how_a_revision_is_meant_must_make_sense(
    api: Api, query: dict[str, str], words: str
) -> None:
    assert words in api.refused(422, "GET", MAPS, **query)["message"]


def test_a_list_that_must_be_newer_than_anything_is_refused(api: Api) -> None:
    status = api.refused(504, "GET", DEPLOYMENTS, resourceVersion="999999999")
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"{DEPLOYMENTS}/nope", 'deployments.apps "nope" not found'),
        (f"{PODS}/nope", 'pods "nope" not found'),
        ("/apis/apps/v1/namespaces/hotel/deplyoments", "could not find the requested resource"),
        (f"{DEPLOYMENTS}/geo/paint", "could not find the requested resource"),
        ("/api/v1/namespaces/hotel/nodes", "could not find the requested resource"),
        ("/api/v1/pods/geo", "could not find the requested resource"),
    ],
)
def test_what_is_not_there_is_404_as_a_status(api: Api, path: str, words: str) -> None:
    status = api.refused(404, "GET", path)
    assert words in status["message"]
    assert status["reason"] == "NotFound"


def test_a_status_names_the_object(api: Api) -> None:
    details = api.refused(404, "GET", f"{DEPLOYMENTS}/nope")["details"]
    assert details == {"name": "nope", "group": "apps", "kind": "deployments"}


@pytest.mark.parametrize("kind", sorted(SHORT))
def test_tables_have_the_columns_of_a_real_server(api: Api, kind: str) -> None:
    resource = next(r for r in resources.served() if r.kind == kind)
    table = api.get(f"{resource.path}/{resource.plural}", accept=TABLE)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    short = [c["name"] for c in table["columnDefinitions"] if c["priority"] == 0]
    wide = [c["name"] for c in table["columnDefinitions"] if c["priority"] == 1]
    assert short == words(SHORT[kind])
    assert wide == words(WIDE.get(kind, ""))
    assert all(len(row["cells"]) == len(table["columnDefinitions"]) for row in table["rows"])


def test_rows_of_a_table_are_of_the_types_its_columns_state(api: Api) -> None:
    for resource in resources.served():
        if "list" not in resource.verbs:
            continue
        table = api.get(f"{resource.path}/{resource.plural}", accept=TABLE)
        for row in table["rows"]:
            for column, cell in zip(table["columnDefinitions"], row["cells"], strict=True):
                wanted = int if column["type"] == "integer" else str
                assert isinstance(cell, wanted), (resource.plural, column["name"], cell)


def test_a_table_says_how_things_are(api: Api) -> None:
    geo = next(row for row in api.table(DEPLOYMENTS) if row["Name"] == "geo")
    assert (geo["Ready"], geo["Up-to-date"], geo["Available"]) == ("2/2", 2, 2)
    pods = api.table(PODS, labelSelector="app.kubernetes.io/name=geo")
    assert {(p["Ready"], p["Status"]) for p in pods} == {("1/1", "Running")}
    assert all(re.fullmatch(r"\d+m?(\d+s)?s?", p["Age"]) for p in pods)


@pytest.mark.parametrize(
    ("include", "kind"),
    [("None", None), ("", "PartialObjectMetadata"), ("Metadata", "PartialObjectMetadata"),
     ("Object", "Deployment")],
)  # fmt: skip
def test_rows_carry_as_much_of_the_object_as_asked_for(
    api: Api, include: str, kind: str | None
) -> None:
    table = api.get(f"{DEPLOYMENTS}/geo", accept=TABLE, includeObject=include)
    assert table["rows"][0].get("object", {}).get("kind") == kind


def test_an_unknown_include_object_is_refused(api: Api) -> None:
    api.refused(400, "GET", DEPLOYMENTS, accept=TABLE, includeObject="Everything")


def test_the_older_table_version_is_served(api: Api) -> None:
    accept = "application/json;as=Table;v=v1beta1;g=meta.k8s.io"
    assert api.get(DEPLOYMENTS, accept=accept)["apiVersion"] == "meta.k8s.io/v1beta1"


def test_metadata_alone_is_served_to_metadata_clients(api: Api) -> None:
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    listed = api.get(DEPLOYMENTS, accept=accept)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert all(set(i) == {"kind", "apiVersion", "metadata"} for i in listed["items"])


def test_yaml_is_served_to_who_asks_for_it(api: Api) -> None:
    answer = api.ask("GET", f"{DEPLOYMENTS}/geo", accept="application/yaml")
    assert yaml.safe_load(answer.text)["metadata"]["name"] == "geo"


def test_protobuf_clients_get_json_where_they_take_it(api: Api) -> None:
    accept = "application/vnd.kubernetes.protobuf,application/json"
    assert api.get(f"{DEPLOYMENTS}/geo", accept=accept)["kind"] == "Deployment"


def test_a_form_that_cannot_be_served_is_406(api: Api) -> None:
    status = api.refused(406, "GET", DEPLOYMENTS, accept="text/html")
    assert status["reason"] == "NotAcceptable"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{DEPLOYMENTS}/geo"),
        ("PUT", DEPLOYMENTS),
        ("PATCH", DEPLOYMENTS),
        ("DELETE", "/api/v1/namespaces"),
        ("PUT", "/apis/metrics.k8s.io/v1beta1/nodes/node-a"),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ],
)
def test_methods_that_a_resource_has_not_are_405(api: Api, method: str, path: str) -> None:
    status = api.refused(405, method, path, {})
    assert status["reason"] == "MethodNotAllowed"


def test_a_scale_is_a_view_of_the_workload(api: Api) -> None:
    scale = api.get(f"{DEPLOYMENTS}/geo/scale", accept=TABLE)
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"]["selector"] == "app.kubernetes.io/name=geo"


def test_autoscalers_and_events_are_served_in_two_versions(api: Api) -> None:
    path = "/apis/autoscaling/{}/namespaces/hotel/horizontalpodautoscalers/recommendation"
    old, new = api.get(path.format("v1")), api.get(path.format("v2"))
    assert old["apiVersion"] == "autoscaling/v1"
    metric = new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"]
    assert old["spec"]["targetCPUUtilizationPercentage"] == metric
    assert old["metadata"]["uid"] == new["metadata"]["uid"]
    events = api.get("/apis/events.k8s.io/v1/namespaces/hotel/events")
    assert events["apiVersion"] == "events.k8s.io/v1"
    assert all("regarding" in e and "note" in e for e in events["items"])
    rows = api.table("/apis/events.k8s.io/v1/namespaces/hotel/events")
    assert [r["Message"] for r in rows] == [e["note"] for e in events["items"]]


def test_usage_is_what_metrics_server_would_say(api: Api) -> None:
    pods = api.get("/apis/metrics.k8s.io/v1beta1/namespaces/hotel/pods")
    assert pods["kind"] == "PodMetricsList"
    running = {p["metadata"]["name"] for p in api.get(PODS)["items"]}
    assert set(names(pods)) == running
    usage = pods["items"][0]["containers"][0]["usage"]
    assert re.fullmatch(r"\d+n", usage["cpu"])
    assert re.fullmatch(r"\d+Ki", usage["memory"])
    nodes = api.get("/apis/metrics.k8s.io/v1beta1/nodes")
    assert len(nodes["items"]) == len(api.get("/api/v1/nodes")["items"])
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/hotel/pods/{names(pods)[0]}"
    assert api.get(path)["window"] == "30s"
    api.refused(404, "GET", "/apis/metrics.k8s.io/v1beta1/namespaces/hotel/pods/nope")


def test_usage_of_pods_can_be_selected_by_their_labels(api: Api) -> None:
    found = api.get("/apis/metrics.k8s.io/v1beta1/pods", labelSelector="app.kubernetes.io/name=geo")
    assert len(found["items"]) == 2


def test_a_read_takes_one_turn_and_is_recorded_with_its_query(api: Api) -> None:
    api.calls.clear()
    api.get(DEPLOYMENTS, labelSelector="a=b")
    (call,) = api.calls
    assert (call.tool, call.effect) == ("kubernetes", "read")
    assert call.arguments == {
        "method": "GET", "path": DEPLOYMENTS, "query": [["labelSelector", "a=b"]],
    }  # fmt: skip
