"""Discovery, OpenAPI and the health paths: what clients read before they ask for anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_served import Api, hotel

from aiopslab.wire.identity import Identity
from aiopslab.wire.kubernetes import resources

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
STRANGER = Identity("stranger", rules=())


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    api = Api(hotel(seconds=0.0), STRANGER)
    yield api
    api.close()


def find(items: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    return next(i for i in items if all(i.get(k) == v for k, v in wanted.items()))


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_aggregated_discovery_lists_everything_in_one_document_a_prefix(
    api: Api, version: str
) -> None:
    accept = f"{AGGREGATED.format(version)},application/json"
    answer = api.ask("GET", "/api", accept=accept)
    assert f"v={version};as=APIGroupDiscoveryList" in answer.headers["content-type"]
    core = answer.json()
    assert core["apiVersion"] == f"apidiscovery.k8s.io/{version}"
    pods = find(core["items"][0]["versions"][0]["resources"], resource="pods")
    assert pods["shortNames"] == ["po"]
    assert pods["categories"] == ["all"]
    assert {s["subresource"] for s in pods["subresources"]} >= {"log", "exec", "eviction", "status"}
    eviction = find(pods["subresources"], subresource="eviction")
    assert eviction["responseKind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}
    groups = api.ask("GET", "/apis", accept=accept).json()["items"]
    autoscaling = find(groups, metadata={"name": "autoscaling"})
    assert [v["version"] for v in autoscaling["versions"]] == ["v2", "v1"]


def test_discovery_that_has_not_changed_is_not_sent_again(api: Api) -> None:
    first = api.ask("GET", "/apis", accept=AGGREGATED.format("v2"))
    known = {"if-none-match": first.headers["etag"]}
    again = api.ask("GET", "/apis", accept=AGGREGATED.format("v2"), more=known)
    assert (again.status_code, again.content) == (304, b"")
    other = api.ask("GET", "/api", accept=AGGREGATED.format("v2"), more=known)
    assert other.status_code == 200


def test_plain_discovery_names_subresources_with_their_own_kinds(api: Api) -> None:
    assert api.get("/api")["versions"] == ["v1"]
    core = api.get("/api/v1")
    assert core["groupVersion"] == "v1"
    assert find(core["resources"], name="pods/exec")["kind"] == "PodExecOptions"
    apps = api.get("/apis/apps/v1")
    scale = find(apps["resources"], name="deployments/scale")
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    assert "shortNames" not in scale
    groups = api.get("/apis")["groups"]
    preferred = find(groups, name="autoscaling")["preferredVersion"]
    assert preferred == {"groupVersion": "autoscaling/v2", "version": "v2"}
    assert api.get("/apis/apps")["preferredVersion"]["version"] == "v1"


def test_every_resource_of_the_reference_is_served() -> None:
    wanted = {
        "namespaces nodes pods services endpoints configmaps secrets serviceaccounts events "
        "persistentvolumeclaims persistentvolumes limitranges resourcequotas": "v1",
        "deployments replicasets statefulsets daemonsets controllerrevisions": "apps/v1",
        "jobs cronjobs": "batch/v1",
        "horizontalpodautoscalers": "autoscaling/v2",
        "ingresses networkpolicies": "networking.k8s.io/v1",
        "leases": "coordination.k8s.io/v1",
        "endpointslices": "discovery.k8s.io/v1",
        "events": "events.k8s.io/v1",
        "poddisruptionbudgets": "policy/v1",
        "roles rolebindings clusterroles clusterrolebindings": "rbac.authorization.k8s.io/v1",
        "selfsubjectaccessreviews selfsubjectrulesreviews": "authorization.k8s.io/v1",
        "selfsubjectreviews": "authentication.k8s.io/v1",
        "pods nodes": "metrics.k8s.io/v1beta1",
    }
    served = {(r.plural, r.api_version) for r in resources.served()}
    missing = {(p, v) for names, v in wanted.items() for p in names.split()} - served
    assert not missing
    assert ("horizontalpodautoscalers", "autoscaling/v1") in served


def test_openapi_has_a_document_for_each_group_and_version_under_a_hash(api: Api) -> None:
    index = api.get("/openapi/v3")["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/autoscaling/v1", "apis/autoscaling/v2"} <= set(index)
    for path, entry in index.items():
        assert entry["serverRelativeURL"].startswith(f"/openapi/v3/{path}?hash=")


def test_openapi_says_what_kubectl_asks_it(api: Api) -> None:
    document = api.get("/openapi/v3/apis/apps/v1")
    path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    patch = document["paths"][path]["patch"]
    assert patch["x-kubernetes-action"] == "patch"
    kind = {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert patch["x-kubernetes-group-version-kind"] == kind
    names = {p["name"] for p in patch["parameters"]}
    assert {"dryRun", "fieldManager", "fieldValidation"} <= names
    schemas = document["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-type"] == "map"
    assert kind in schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"]


def test_no_reference_in_openapi_leads_nowhere(api: Api) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"].rpartition("/")[2]
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    for path in api.get("/openapi/v3")["paths"]:
        document = api.get(f"/openapi/v3/{path}")
        assert document["paths"], path
        assert set(references(document)) == set(document["components"]["schemas"]), path


def test_every_stored_kind_is_explained(api: Api) -> None:
    explained = {
        (kind["group"], kind["version"], kind["kind"])
        for path in api.get("/openapi/v3")["paths"]
        for schema in api.get(f"/openapi/v3/{path}")["components"]["schemas"].values()
        for kind in schema.get("x-kubernetes-group-version-kind", ())
    }
    stored = {(r.group, r.version, r.kind) for r in resources.served() if r.source == "stored"}
    assert stored <= explained


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health_is_plain_text(api: Api, path: str) -> None:
    assert api.ask("GET", path).text == "ok"


def test_the_version_is_that_of_the_nodes(api: Api) -> None:
    version = api.get("/version")
    node = api.sim.world.api.list("Node")[0]
    assert version["gitVersion"] == node["status"]["nodeInfo"]["kubeletVersion"]
    assert api.get("/version/") == version


def test_what_says_nothing_about_the_world_takes_no_turn(api: Api) -> None:
    api.calls.clear()
    for path in ("/version", "/api", "/apis/apps/v1", "/openapi/v3", "/healthz"):
        api.get(path) if path != "/healthz" else api.ask("GET", path)
    assert api.calls == []


@pytest.mark.parametrize("path", ["/", "/nothing", "/apis/apps/v9", "/api/v2/pods", "/openapi/v4"])
def test_paths_that_are_not_served_are_404(api: Api, path: str) -> None:
    assert api.ask("GET", path).status_code == 404
