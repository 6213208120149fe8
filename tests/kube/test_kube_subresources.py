"""Status and scale from outside, collections, preconditions, validation modes, other versions."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import versions
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.bootstrap import bootstrap
from aiopslab.world.kube.objects import name_of
from aiopslab.world.kube.options import DeleteOptions, WriteOptions

ACTOR = "alice"
Build = Callable[..., dict[str, Any]]


def refused(call: Callable[[], Any]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        call()
    return caught.value


@pytest.fixture
def web(api: ApiServer, deployment: Build) -> ApiServer:
    api.create(deployment(), actor=ACTOR)
    return api


# -- status ---------------------------------------------------------------------------------------


def test_a_write_of_the_status_changes_nothing_else(web: ApiServer) -> None:
    old = web.get("deploy", "web", "shop")
    change = {
        "metadata": {"labels": {"x": "y"}},
        "spec": {"replicas": 9},
        "status": {"observedGeneration": 1},
    }
    new = web.patch("deploy", "web", change, namespace="shop", type="merge",
                    subresource="status", actor=ACTOR)  # fmt: skip
    assert new["status"] == {"observedGeneration": 1}
    assert new["spec"] == old["spec"]
    assert new["metadata"].get("labels") == old["metadata"].get("labels")
    assert new["metadata"]["generation"] == old["metadata"]["generation"]


def test_a_write_of_the_object_leaves_the_status(web: ApiServer) -> None:
    status = {"observedGeneration": 1}
    web.update_status("Deployment", "web", "shop", status, actor="system:x")
    change = {"spec": {"paused": True}, "status": {"observedGeneration": 7}}
    new = web.patch("deploy", "web", change, namespace="shop", type="merge", actor=ACTOR)
    assert new["status"] == status
    sent = {**new, "status": {"observedGeneration": 8}, "spec": {**new["spec"], "paused": False}}
    assert web.replace(sent, actor=ACTOR)["status"] == status


def test_a_status_is_held_to_its_schema(web: ApiServer) -> None:
    def write(status: Any) -> KubeError:
        return refused(
            lambda: web.patch(
                "deploy",
                "web",
                {"status": status},
                namespace="shop",
                type="merge",
                subresource="status",
                actor=ACTOR,
            )
        )

    assert write({"replicas": "three"}).code == 422
    error = write({"conditions": [{"type": "Available"}]})
    assert error.message.endswith("status.conditions[0].status: Required value")


def test_a_stale_status_and_a_kind_without_one_are_refused(web: ApiServer) -> None:
    old = web.get("deploy", "web", "shop")
    web.update_status("Deployment", "web", "shop", {"replicas": 1}, actor="system:x")
    stale = {**old, "status": {"replicas": 2}}
    assert refused(lambda: web.replace(stale, subresource="status", actor=ACTOR)).code == 409
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    web.create(config, actor=ACTOR)
    assert refused(lambda: web.replace(config, subresource="status", actor=ACTOR)).code == 404


def test_a_component_that_reports_takes_the_field_from_whom_wrote_it(web: ApiServer) -> None:
    def write(**status: int) -> Any:
        return web.patch("deploy", "web", {"status": status}, namespace="shop", type="merge",
                         subresource="status", actor=ACTOR)  # fmt: skip

    def owned(obj: dict[str, Any]) -> Any:
        entries = obj["metadata"]["managedFields"]
        found = [e["fieldsV1"]["f:status"] for e in entries if e.get("subresource") == "status"]
        return found[0] if found else {}

    assert set(owned(write(replicas=1, readyReplicas=1))) == {"f:replicas", "f:readyReplicas"}
    new = {"replicas": 2, "readyReplicas": 1}
    assert set(owned(web.update_status("Deployment", "web", "shop", new, actor="system:x"))) == {
        "f:readyReplicas"
    }


# -- scale ----------------------------------------------------------------------------------------


def test_a_scale_can_be_replaced(web: ApiServer) -> None:
    scale = web.get_scale("deploy", "web", "shop")
    wanted = {**scale, "spec": {"replicas": 4}}
    seen = web.replace_scale("deploy", "web", wanted, namespace="shop", actor=ACTOR)
    assert seen["spec"] == {"replicas": 4}
    assert web.get("deploy", "web", "shop")["spec"]["replicas"] == 4
    stale = refused(
        lambda: web.replace_scale("deploy", "web", wanted, namespace="shop", actor=ACTOR)
    )
    assert stale.code == 409


def test_a_dry_run_of_anything_stores_nothing(web: ApiServer) -> None:
    dry = WriteOptions(dry_run=True)
    before = web.revision
    wanted = {"spec": {"replicas": 4}}
    web.patch("deploy", "web", wanted, namespace="shop", subresource="scale", type="merge",
              actor=ACTOR, options=dry)  # fmt: skip
    web.patch("deploy", "web", {"status": {"replicas": 1}}, namespace="shop", type="merge",
              subresource="status", actor=ACTOR, options=dry)  # fmt: skip
    seen = web.delete("deploy", "web", "shop", actor=ACTOR, options=DeleteOptions(dry_run=True))
    assert "deletionTimestamp" in seen["metadata"]
    found = web.delete_collection("deploy", "shop", actor=ACTOR,
                                  options=DeleteOptions(dry_run=True))  # fmt: skip
    assert [name_of(obj) for obj in found] == ["web"]
    assert web.revision == before


# -- deletion -------------------------------------------------------------------------------------


def test_a_collection_is_deleted_as_far_as_it_is_selected(
    api: ApiServer, deployment: Build
) -> None:
    for name in ("a", "b", "c"):
        obj = deployment(name)
        obj["metadata"]["labels"] = {"keep": str(name == "b").lower()}
        api.create(obj, actor=ACTOR)
    gone = api.delete_collection("deploy", "shop", labels="keep=false", actor=ACTOR)
    assert [name_of(obj) for obj in gone] == ["a", "c"]
    assert [name_of(obj) for obj in api.list("deploy")] == ["b"]


def test_a_deletion_is_held_to_its_preconditions(web: ApiServer) -> None:
    metadata = web.get("deploy", "web", "shop")["metadata"]
    for options, word in (
        (DeleteOptions(uid="u-1"), "the UID in the precondition (u-1)"),
        (DeleteOptions(resource_version="1"), "the ResourceVersion in the precondition (1)"),
    ):
        with pytest.raises(KubeError) as caught:
            web.delete("deploy", "web", "shop", actor=ACTOR, options=options)
        assert caught.value.code == 409
        assert word in caught.value.message
    right = DeleteOptions(uid=metadata["uid"], resource_version=metadata["resourceVersion"])
    web.delete("deploy", "web", "shop", actor=ACTOR, options=right)
    assert web.find("deploy", "web", "shop") is None


def test_the_deleting_right_is_asked_for_a_collection_as_such(web: ApiServer) -> None:
    asked: list[str] = []

    def nothing(_actor: str, verb: str, _kind: str, _namespace: str) -> bool:
        asked.append(verb)
        return False

    web.allowed = nothing
    error = refused(lambda: web.delete_collection("deploy", "shop", actor="bob"))
    assert asked == ["deletecollection"]
    assert error.message == (
        'deployments.apps is forbidden: User "bob" cannot deletecollection resource "deployments" '
        'in API group "apps" in the namespace "shop"'
    )


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_a_cluster_keeps_its_own_namespaces(api: ApiServer, name: str) -> None:
    if api.find("ns", name) is None:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        api.create(space, actor="system:test")
    error = refused(lambda: api.delete("ns", name, actor=ACTOR))
    assert error.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


def test_nobody_takes_the_finalizer_off_a_namespace_by_an_ordinary_write(api: ApiServer) -> None:
    api.delete("ns", "shop", actor=ACTOR)
    change = {"spec": {"finalizers": []}, "metadata": {"labels": {"x": "y"}}}
    new = api.patch("ns", "shop", change, type="merge", actor=ACTOR)
    assert new["spec"]["finalizers"] == ["kubernetes"]
    assert new["metadata"]["labels"]["x"] == "y"


# -- field validation -----------------------------------------------------------------------------


def test_unknown_fields_are_refused_warned_of_or_ignored(api: ApiServer, deployment: Build) -> None:
    heard: list[str] = []
    assert refused(lambda: api.create(deployment(replicaz=3), actor=ACTOR)).code == 400
    warn = WriteOptions(validation="Warn", warn=heard.append)
    made = api.create(deployment(replicaz=3, pausd=True), actor=ACTOR, options=warn)
    assert heard == ['unknown field "spec.pausd"', 'unknown field "spec.replicaz"'] or heard == [
        'unknown field "spec.replicaz"', 'unknown field "spec.pausd"',
    ]  # fmt: skip
    assert not {"replicaz", "pausd"} & set(made["spec"])
    ignore = WriteOptions(validation="Ignore", warn=heard.append)
    api.patch("deploy", "web", {"spec": {"replicaz": 4}}, namespace="shop", type="merge",
              actor=ACTOR, options=ignore)  # fmt: skip
    assert len(heard) == 2


@pytest.mark.parametrize("depth", [200, 900, 5000])
def test_nesting_without_end_is_refused_before_anything_walks_it(
    web: ApiServer, depth: int
) -> None:
    deep: Any = "x"
    for _ in range(depth):
        deep = {"a": deep}
    revision = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": "r", "namespace": "shop"},
        "revision": 1,
        "data": deep,
    }
    fields = {"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsV1": deep}
    options = WriteOptions(field_manager="x")
    for attempt in (
        lambda: web.create(revision, actor=ACTOR),
        lambda: web.apply("controllerrevision", "r", revision, actor=ACTOR, options=options),
        lambda: web.patch("deploy", "web", {"metadata": {"managedFields": [fields]}},
                          namespace="shop", type="merge", actor=ACTOR),
    ):  # fmt: skip
        error = refused(attempt)
        assert (error.code, error.message) == (400, "json: exceeded max depth")


def test_a_pod_needs_an_account_that_exists(api: ApiServer, pod: Build) -> None:
    error = refused(lambda: api.create(pod(serviceAccountName="robot"), actor=ACTOR))
    assert error.message == (
        'pods "web-1" is forbidden: error looking up service account shop/robot: serviceaccount '
        '"robot" not found'
    )
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
    account["metadata"]["namespace"] = "shop"  # type: ignore[index]
    api.create(account, actor=ACTOR)
    assert api.create(pod(serviceAccountName="robot"), actor=ACTOR)


# -- other versions -------------------------------------------------------------------------------


def autoscaler(**spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 5, **spec},
    }


def test_an_autoscaler_of_version_1_is_stored_as_version_2(api: ApiServer) -> None:
    made = api.create(autoscaler(targetCPUUtilizationPercentage=60), actor=ACTOR)
    assert made["apiVersion"] == "autoscaling/v2"
    (metric,) = made["spec"]["metrics"]
    assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
    shown = versions.show(made, "autoscaling/v1")
    assert shown["spec"]["targetCPUUtilizationPercentage"] == 60
    old = WriteOptions(api_version="autoscaling/v1")
    change = {"spec": {"targetCPUUtilizationPercentage": 70}}
    api.patch("hpa", "web", change, namespace="shop", type="merge", actor=ACTOR, options=old)
    again = versions.show(api.get("hpa", "web", "shop"), "autoscaling/v1")
    assert again["spec"]["targetCPUUtilizationPercentage"] == 70
    api.replace({**again, "spec": {**again["spec"], "maxReplicas": 6}}, actor=ACTOR)
    assert api.get("hpa", "web", "shop")["spec"]["maxReplicas"] == 6


def test_each_version_knows_its_own_fields_only(api: ApiServer) -> None:
    error = refused(lambda: api.create(autoscaler(metrics=[]), actor=ACTOR))
    assert 'HorizontalPodAutoscaler in version "v1" cannot be handled' in error.message
    assert 'unknown field "spec.metrics"' in error.message


@pytest.mark.parametrize("text", ["[1]", '[{"type": 3}]', '{"a": 1}', "[", '[{"resource": "x"}]'])
def test_what_annotations_carry_is_held_to_the_schema(api: ApiServer, text: str) -> None:
    obj = autoscaler()
    key = "autoscaling.alpha.kubernetes.io/"
    obj["metadata"]["annotations"] = {f"{key}metrics": text, f"{key}behavior": text}
    with contextlib.suppress(KubeError):
        stored = api.create(obj, actor=ACTOR)
        assert stored["spec"]["metrics"][0]["resource"]["name"] == "cpu"
        versions.show(stored, "autoscaling/v1")


def test_an_applied_autoscaler_may_speak_version_1(api: ApiServer) -> None:
    options = WriteOptions(field_manager="kubectl")
    config = autoscaler(targetCPUUtilizationPercentage=60)
    made = api.apply("hpa", "web", config, namespace="shop", actor=ACTOR, options=options)
    assert made["apiVersion"] == "autoscaling/v2"
    again = api.apply("hpa", "web", config, namespace="shop", actor=ACTOR, options=options)
    assert again is made


_METRIC = st.one_of(
    st.integers(1, 200).map(
        lambda n: {
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": n},
            },
        }
    ),
    st.sampled_from(["memory", "ephemeral-storage"]).map(
        lambda name: {
            "type": "Resource",
            "resource": {"name": name, "target": {"type": "Value", "value": "1Gi"}},
        }
    ),
)


@given(
    st.lists(_METRIC, max_size=3, unique_by=str),
    st.booleans(),
    st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=3)),
)
def test_nothing_is_lost_on_the_way_through_version_1(
    metrics: list[dict[str, Any]], behaves: bool, annotations: dict[str, str]
) -> None:
    cpu = [m for m in metrics if "averageUtilization" in m["resource"]["target"]]
    ordered = [*cpu[:1], *(m for m in metrics if m not in cpu[:1])]
    spec: dict[str, Any] = {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "w"}}
    if ordered:
        spec["metrics"] = ordered
    if behaves:
        spec["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 10}}
    metadata: dict[str, Any] = {"name": "w"}
    if annotations:
        metadata["annotations"] = annotations
    stored = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": spec,
        "status": {
            "currentReplicas": 2,
            "conditions": [{"type": "AbleToScale", "status": "True"}],
            "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {
                    "averageUtilization": 5}}},
            ],
        },
    }  # fmt: skip
    assert versions.store(versions.show(stored, "autoscaling/v1")) == stored


def test_an_event_has_other_names_in_its_own_group(api: ApiServer) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "shop"},
        "involvedObject": {"kind": "Pod", "name": "web-1"},
        "message": "Started container web",
        "reason": "Started",
        "count": 2,
        "type": "Normal",
    }
    stored = api.store_event(event)
    shown = versions.show(stored, "events.k8s.io/v1")
    assert shown["apiVersion"] == "events.k8s.io/v1"
    assert (shown["note"], shown["deprecatedCount"]) == ("Started container web", 2)
    assert shown["regarding"] == event["involvedObject"]
    assert versions.store(shown) == stored


# -- roles ----------------------------------------------------------------------------------------

RBAC = "rbac.authorization.k8s.io"


def role(kind: str, **parts: Any) -> dict[str, Any]:
    metadata = {"name": "r"} if kind.startswith("Cluster") else {"name": "r", "namespace": "shop"}
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, **parts}


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (
            role("Role", rules=[{"verbs": [], "apiGroups": [""], "resources": ["pods"]}]),
            "rules[0].verbs: Required value: verbs must contain at least one value",
        ),
        (
            role("Role", rules=[{"apiGroups": [""], "resources": ["pods"]}]),
            'Role.rbac.authorization.k8s.io "r" is invalid: rules[0].verbs: Required value: verbs '
            "must contain at least one value",
        ),
        (
            role("Role", rules=[{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]),
            "namespaced rules cannot apply to non-resource URLs",
        ),
        (
            role("ClusterRole", rules=[{"verbs": ["get"], "resources": ["pods"]}]),
            "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
        ),
        (
            role("RoleBinding", roleRef={"kind": "User", "name": "x"}),
            'roleRef.kind: Unsupported value: "User": supported values: "Role", "ClusterRole"',
        ),
        (
            role("ClusterRoleBinding", roleRef={"kind": "ClusterRole", "name": "x"},
                 subjects=[{"kind": "ServiceAccount", "name": "x"}]),
            "subjects[0].namespace: Required value",
        ),
    ],
)  # fmt: skip
def test_what_roles_may_not_say(api: ApiServer, obj: dict[str, Any], words: str) -> None:
    error = refused(lambda: api.create(obj, actor=ACTOR))
    assert error.code == 422
    assert words in error.message


def test_a_binding_gets_its_group_and_keeps_its_role(api: ApiServer) -> None:
    reference = {"kind": "ClusterRole", "name": "view"}
    made = api.create(
        role("RoleBinding", roleRef=reference, subjects=[{"kind": "User", "name": "jo"}]),
        actor=ACTOR,
    )
    assert made["roleRef"]["apiGroup"] == RBAC
    assert made["subjects"][0]["apiGroup"] == RBAC
    change = {"roleRef": {"name": "edit"}}
    error = refused(
        lambda: api.patch("rolebinding", "r", change, namespace="shop", type="merge", actor=ACTOR)
    )
    assert "cannot change roleRef" in error.message


# -- what is there before anybody deploys ---------------------------------------------------------


def test_a_new_cluster_has_what_one_looks_for(clock: Any) -> None:
    from aiopslab.seeds import Streams

    api = ApiServer(clock, Streams(1))
    bootstrap(api)
    spaces = [name_of(obj) for obj in api.list("ns")]
    assert spaces == ["default", "kube-node-lease", "kube-public", "kube-system"]
    service = api.get("svc", "kubernetes", "default")
    assert service["spec"]["ports"][0]["port"] == 443
    (part,) = api.list("endpointslices", "default")
    assert part["endpoints"][0]["conditions"] == {"ready": True}
    assert {name_of(obj) for obj in api.list("clusterroles")} >= {"cluster-admin", "view"}
