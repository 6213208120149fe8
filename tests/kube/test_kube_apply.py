"""Server-side apply and managed fields: who owns what, conflicts, pruning."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.kube import KubeError
from aiopslab.seeds import Streams
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.objects import clone
from aiopslab.world.kube.options import WriteOptions
from aiopslab.world.kube.patches import fieldsets, ownership

ACTOR = "alice"
Build = Callable[..., dict[str, Any]]


def by(manager: str, **how: Any) -> WriteOptions:
    return WriteOptions(field_manager=manager, **how)


def workload(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    labels = {"app": "w"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": list(containers)}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w"},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


WEB = {"name": "a", "image": "shop/a:1"}


def apply(api: ApiServer, obj: dict[str, Any], manager: str = "kubectl", **how: Any) -> Any:
    name = obj["metadata"]["name"]
    return api.apply(
        obj["kind"], name, obj, namespace="shop", actor=ACTOR, options=by(manager), **how
    )


def patch(api: ApiServer, change: Any, manager: str, **how: Any) -> Any:
    return api.patch(
        "Deployment", "w", change, namespace="shop", actor=ACTOR, options=by(manager), **how
    )


def owners(obj: dict[str, Any]) -> dict[tuple[str, str, str], Any]:
    return {
        (e["manager"], e["operation"], e.get("subresource", "")): e["fieldsV1"]
        for e in obj["metadata"]["managedFields"]
    }


def containers(obj: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = obj["spec"]["template"]["spec"]["containers"]
    return found


def refused(call: Callable[[], Any]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        call()
    return caught.value


# -- what is entered ------------------------------------------------------------------------------


def test_an_applier_owns_what_it_says_and_no_default(api: ApiServer) -> None:
    created = apply(api, workload(WEB, replicas=2))
    assert owners(created) == {
        ("kubectl", "Apply", ""): {
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:template": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {
                        "f:containers": {'k:{"name":"a"}': {".": {}, "f:image": {}, "f:name": {}}}
                    },
                },
            }
        }
    }
    assert created["spec"]["revisionHistoryLimit"] == 10


def test_a_creator_owns_defaults_too_in_the_form_of_the_real_server(api: ApiServer) -> None:
    created = api.create(
        {**workload(WEB), "metadata": {"name": "w", "namespace": "shop", "labels": {"app": "w"}}},
        actor=ACTOR,
        options=by("kubectl-create"),
    )
    fields = owners(created)["kubectl-create", "Update", ""]
    assert fields["f:metadata"] == {"f:labels": {".": {}, "f:app": {}}}
    rolling: dict[str, Any] = {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}
    assert fields["f:spec"]["f:strategy"] == {"f:rollingUpdate": rolling, "f:type": {}}
    inner = fields["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert list(inner) == ['k:{"name":"a"}']
    assert inner['k:{"name":"a"}']["f:terminationMessagePath"] == {}


def test_an_update_takes_what_it_changes_and_nobody_else_has_it_then(api: ApiServer) -> None:
    apply(api, workload(WEB, replicas=2))
    image = {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "shop/a:2"}]}}}}
    changed = owners(patch(api, image, "kubectl-set"))
    item = 'k:{"name":"a"}'
    path = ("f:spec", "f:template", "f:spec", "f:containers", item)
    assert fieldsets.from_v1(changed["kubectl-set", "Update", ""]) == {(*path, "f:image")}
    assert (*path, "f:image") not in fieldsets.from_v1(changed["kubectl", "Apply", ""])


def test_scale_and_status_are_entered_as_the_subresources_they_are(api: ApiServer) -> None:
    apply(api, workload(WEB, replicas=2))
    patch(api, {"spec": {"replicas": 3}}, "kubectl", type="merge", subresource="scale")
    status = {"status": {"observedGeneration": 1}}
    seen = owners(patch(api, status, "probe", type="merge", subresource="status"))
    assert seen["kubectl", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert seen["probe", "Update", "status"] == {"f:status": {"f:observedGeneration": {}}}
    assert "f:replicas" not in seen["kubectl", "Apply", ""]["f:spec"]


def test_what_is_removed_belongs_to_nobody(api: ApiServer) -> None:
    apply(api, {**workload(WEB), "metadata": {"name": "w", "labels": {"team": "x"}}})
    seen = owners(patch(api, {"metadata": {"labels": None}}, "kubectl-label", type="merge"))
    assert "f:metadata" not in seen["kubectl", "Apply", ""]
    assert ("kubectl-label", "Update", "") not in seen


def test_components_of_the_cluster_are_shown_as_owners_without_being_stored(
    api: ApiServer, pod: Build
) -> None:
    made = api.create(pod(), actor="system:serviceaccount:kube-system:replicaset-controller")
    status = {"phase": "Running", "podIP": "198.19.0.5"}
    stored = api.update_status("Pod", "web-1", "shop", status, actor="system:node:n")
    assert "managedFields" not in made["metadata"]
    shown = owners(ownership.shown(api.kind("Pod"), stored))
    assert sorted(shown) == [
        ("kube-controller-manager", "Update", ""),
        ("kubelet", "Update", "status"),
    ]
    assert shown["kubelet", "Update", "status"] == {
        "f:status": {"f:phase": {}, "f:podIP": {}}
    }  # fmt: skip


def test_a_write_from_outside_leaves_the_rest_with_the_component_that_made_it(
    api: ApiServer, pod: Build
) -> None:
    api.create(pod(), actor="system:serviceaccount:kube-system:replicaset-controller")
    label = {"metadata": {"labels": {"team": "x"}}}
    stored = api.patch("Pod", "web-1", label, namespace="shop", actor=ACTOR,
                       options=by("kubectl-label"))  # fmt: skip
    seen = owners(stored)
    assert seen["kubectl-label", "Update", ""] == {"f:metadata": {"f:labels": {"f:team": {}}}}
    assert "f:app" in seen["kube-controller-manager", "Update", ""]["f:metadata"]["f:labels"]


def test_a_writer_that_names_no_manager_looks_like_plain_kubectl(api: ApiServer) -> None:
    obj = workload(WEB)
    obj["metadata"]["namespace"] = "shop"
    api.create(obj, actor="t.lindqvist")
    change = {"spec": {"paused": True}}
    seen = api.patch("Deployment", "w", change, namespace="shop", actor="t.lindqvist")
    assert sorted(m for m, _, _ in owners(seen)) == ["kubectl-create", "kubectl-patch"]
    assert "lindqvist" not in json.dumps(seen)


# -- applying -------------------------------------------------------------------------------------


def test_applying_the_same_again_changes_nothing_at_all(api: ApiServer) -> None:
    first = apply(api, workload({**WEB, "ports": [{"containerPort": 80}]}))
    assert apply(api, workload({**WEB, "ports": [{"containerPort": 80}]})) is first


def test_a_port_without_protocol_is_the_tcp_port(api: ApiServer) -> None:
    apply(api, workload({**WEB, "ports": [{"containerPort": 80, "protocol": "TCP"}]}))
    again = apply(api, workload({**WEB, "ports": [{"containerPort": 80, "name": "http"}]}))
    assert containers(again)[0]["ports"] == [
        {"containerPort": 80, "protocol": "TCP", "name": "http"}
    ]


def test_what_an_applier_drops_is_pruned_with_its_defaults(api: ApiServer) -> None:
    probe = {"httpGet": {"path": "/", "port": 80}}
    env = [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]
    apply(api, workload({**WEB, "env": env, "livenessProbe": probe}, {"name": "b", "image": "b:1"}))
    after = apply(api, workload({**WEB, "env": env[:1]}))
    assert [c["name"] for c in containers(after)] == ["a"]
    assert containers(after)[0]["env"] == env[:1]
    assert "livenessProbe" not in containers(after)[0]


def test_two_appliers_share_an_object_and_prune_only_their_own(api: ApiServer) -> None:
    apply(api, workload({**WEB, "env": [{"name": "X", "value": "1"}]}))
    other = workload({"name": "a", "env": [{"name": "Y", "value": "2"}]})
    del other["spec"]["selector"], other["spec"]["template"]["metadata"]
    merged = apply(api, other, "other")
    assert [e["name"] for e in containers(merged)[0]["env"]] == ["X", "Y"]
    pruned = apply(api, workload(WEB))
    assert [e["name"] for e in containers(pruned)[0]["env"]] == ["Y"]
    assert containers(pruned)[0]["image"] == "shop/a:1"


def test_what_another_applier_also_says_stays(api: ApiServer) -> None:
    apply(api, workload(WEB, minReadySeconds=5))
    other = workload(WEB, minReadySeconds=5)
    apply(api, other, "other")
    assert apply(api, workload(WEB))["spec"]["minReadySeconds"] == 5
    gone = apply(api, workload(WEB), "other")
    assert "minReadySeconds" not in gone["spec"]


CONFLICT = (
    'Apply failed with 1 conflict: conflict with "kubectl-set" using apps/v1: '
    '.spec.template.spec.containers[name="a"].image'
)
SCALED = (
    'Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using '
    "apps/v1: .spec.replicas"
)


def set_image(api: ApiServer, image: str) -> Any:
    change = {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": image}]}}}}
    return patch(api, change, "kubectl-set")


def test_a_field_that_somebody_else_changed_is_a_conflict_in_the_servers_words(
    api: ApiServer,
) -> None:
    apply(api, workload(WEB, replicas=2))
    set_image(api, "shop/a:2")
    error = refused(lambda: apply(api, workload(WEB, replicas=2)))
    assert (error.code, error.reason, error.message) == (409, "Conflict", CONFLICT)
    assert error.details["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-set" using apps/v1',
            "field": '.spec.template.spec.containers[name="a"].image',
        }
    ]


def test_a_conflict_with_scale_names_the_subresource(api: ApiServer) -> None:
    apply(api, workload(WEB, replicas=2))
    patch(api, {"spec": {"replicas": 3}}, "kubectl", type="merge", subresource="scale")
    assert refused(lambda: apply(api, workload(WEB, replicas=2))).message == SCALED


def test_several_conflicts_are_listed_by_manager(api: ApiServer) -> None:
    apply(api, workload(WEB, replicas=2))
    patch(api, {"spec": {"replicas": 3, "minReadySeconds": 2}}, "tool", type="merge")
    set_image(api, "shop/a:2")
    error = refused(lambda: apply(api, workload(WEB, replicas=2, minReadySeconds=1)))
    assert error.message == (
        'Apply failed with 3 conflicts: conflicts with "kubectl-set" using apps/v1:\n'
        '- .spec.template.spec.containers[name="a"].image\n'
        'conflicts with "tool" using apps/v1:\n- .spec.minReadySeconds\n- .spec.replicas'
    )


def test_force_takes_the_field_away(api: ApiServer) -> None:
    apply(api, workload(WEB))
    set_image(api, "shop/a:2")
    forced = apply(api, workload(WEB), force=True)
    assert containers(forced)[0]["image"] == "shop/a:1"
    assert list(owners(forced)) == [("kubectl", "Apply", "")]


def test_a_field_set_to_the_value_it_has_is_shared_without_conflict(api: ApiServer) -> None:
    apply(api, workload(WEB, replicas=2))
    seen = owners(apply(api, workload(WEB, replicas=2), "other"))
    assert seen["kubectl", "Apply", ""] == seen["other", "Apply", ""]


def test_a_dry_run_of_an_apply_stores_nothing(api: ApiServer) -> None:
    first = apply(api, workload(WEB, replicas=2))
    seen = api.apply("Deployment", "w", workload(WEB, replicas=5), namespace="shop", actor=ACTOR,
                     options=by("kubectl", dry_run=True))  # fmt: skip
    assert seen["spec"]["replicas"] == 5
    assert api.get("Deployment", "w", "shop") is first
    api.apply("Deployment", "x", {**workload(WEB), "metadata": {"name": "x"}}, namespace="shop",
              actor=ACTOR, options=by("kubectl", dry_run=True))  # fmt: skip
    assert api.find("Deployment", "x", "shop") is None


def test_items_are_added_after_those_that_are_there(api: ApiServer) -> None:
    env = [{"name": n, "value": "1"} for n in "AB"]
    apply(api, workload({**WEB, "env": env}))
    other = workload({"name": "a", "env": [{"name": "C", "value": "1"}]})
    del other["spec"]["selector"], other["spec"]["template"]["metadata"]
    merged = apply(api, other, "other")
    assert [e["name"] for e in containers(merged)[0]["env"]] == ["A", "B", "C"]


def test_service_ports_are_told_apart_by_number_and_protocol(api: ApiServer) -> None:
    def service(*ports: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": "s"}
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata,
                "spec": {"ports": list(ports)}}  # fmt: skip

    apply(api, service({"name": "dns", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}))
    after = apply(api, service({"name": "dns", "port": 53}))
    assert [(p["port"], p["protocol"]) for p in after["spec"]["ports"]] == [(53, "TCP")]


# -- taking over, clearing ------------------------------------------------------------------------


def test_kubectl_takes_over_from_client_side_apply_with_a_json_patch(api: ApiServer) -> None:
    obj = workload(WEB, replicas=2)
    obj["metadata"]["namespace"] = "shop"
    made = api.create(obj, actor=ACTOR, options=by("kubectl-client-side-apply"))
    entry = clone(made["metadata"]["managedFields"][0])
    entry |= {"manager": "kubectl", "operation": "Apply"}
    version = made["metadata"]["resourceVersion"]
    operations = [
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
    ]
    taken = patch(api, operations, "kubectl", type="json")
    assert list(owners(taken)) == [("kubectl", "Apply", "")]
    after = apply(api, workload(WEB))
    assert after["spec"]["replicas"] == 1  # pruned, then the default
    stale = refused(lambda: patch(api, operations, "kubectl", type="json"))
    assert stale.code == 409


def test_a_list_of_one_empty_entry_clears_the_managed_fields(api: ApiServer) -> None:
    apply(api, workload(WEB))
    cleared = patch(api, {"metadata": {"managedFields": [{}]}}, "x", type="merge")
    kind = api.kind("Deployment")
    assert "managedFields" not in ownership.shown(kind, cleared)["metadata"]
    changed = patch(api, {"spec": {"paused": True}}, "x", type="merge")
    assert "managedFields" not in ownership.shown(kind, changed)["metadata"]
    error = refused(lambda: apply(api, workload({**WEB, "image": "shop/a:9"})))
    assert error.message == CONFLICT.replace("kubectl-set", "before-first-apply")


def test_clients_that_know_nothing_of_managed_fields_do_not_lose_them(api: ApiServer) -> None:
    first = apply(api, workload(WEB))
    sent = clone(first)
    sent["metadata"]["managedFields"] = []
    sent["spec"]["paused"] = True
    seen = owners(api.replace(sent, actor=ACTOR, options=by("client")))
    assert ("kubectl", "Apply", "") in seen
    assert seen["client", "Update", ""] == {"f:spec": {"f:paused": {}}}


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"apiVersion": "v1"}, 400, "incorrect type or version"),
        ({"metadata": {"name": "other"}}, 400, "does not match the name on the URL"),
        ({"metadata": {"managedFields": [{}]}}, 400, "metadata.managedFields must be nil"),
        ({"spec": {"replicaz": 2}}, 500, ".spec.replicaz: field not declared in schema"),
        ({"spec": "none"}, 500, ".spec: expected map, got string"),
    ],
)
def test_configurations_that_cannot_be_applied(
    api: ApiServer, change: dict[str, Any], code: int, words: str
) -> None:
    config = {**workload(WEB), **change}
    options = by("kubectl")
    error = refused(
        lambda: api.apply("Deployment", "w", config, namespace="shop", actor=ACTOR, options=options)
    )
    assert error.code == code
    assert words in error.message


def test_an_apply_needs_a_field_manager(api: ApiServer) -> None:
    error = refused(lambda: apply(api, workload(WEB), ""))
    assert error.code == 422
    assert "fieldManager: Required value: is required for apply patch" in error.message


def test_an_item_twice_is_refused(api: ApiServer) -> None:
    env = [{"name": "X", "value": "1"}, {"name": "X", "value": "2"}]
    error = refused(lambda: apply(api, workload({**WEB, "env": env})))
    assert 'duplicate entries for key [name="X"]' in error.message


def test_an_apply_of_nonsense_is_validated_like_any_write(api: ApiServer) -> None:
    error = refused(lambda: apply(api, workload(WEB, replicas=-1)))
    assert (error.code, error.reason) == (422, "Invalid")


# -- properties -----------------------------------------------------------------------------------

_NAMES = st.sampled_from("abcd")
_VALUES = st.sampled_from(["1", "2", "3"])
_CONFIG = st.fixed_dictionaries(
    {
        "labels": st.dictionaries(_NAMES, _VALUES, max_size=3),
        "env": st.dictionaries(_NAMES, _VALUES, max_size=3),
        "replicas": st.none() | st.integers(1, 3),
        "second": st.booleans(),
    }
)


def configuration(drawn: dict[str, Any]) -> dict[str, Any]:
    env = [{"name": n, "value": v} for n, v in drawn["env"].items()]
    web = {**WEB, **({"env": env} if env else {})}
    found = workload(web, *([{"name": "b", "image": "b:1"}] if drawn["second"] else []))
    if drawn["labels"]:
        found["metadata"]["labels"] = drawn["labels"]
    if drawn["replicas"] is not None:
        found["spec"]["replicas"] = drawn["replicas"]
    return found


def server() -> ApiServer:
    api = ApiServer(lambda: 1.8e9, Streams(3))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    api.create(space, actor="system:test")
    return api


def fields_of(obj: dict[str, Any], manager: str) -> fieldsets.FieldSet:
    entry = owners(obj).get((manager, "Apply", ""), {})
    return fieldsets.from_v1(entry) if entry else fieldsets.EMPTY


def declared(obj: dict[str, Any]) -> dict[str, Any]:
    """Return what the configurations of these tests speak of, as it is stored."""
    env = {e["name"]: e["value"] for e in containers(obj)[0].get("env", [])}
    return {
        "labels": obj["metadata"].get("labels", {}),
        "env": env,
        "replicas": obj["spec"]["replicas"],
        "second": len(containers(obj)) == 2,
    }


@given(_CONFIG, _CONFIG)
def test_one_manager_gets_exactly_what_it_applied_last(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    api = server()
    apply(api, configuration(first))
    after = apply(api, configuration(second))
    assert declared(after) == {**second, "replicas": second["replicas"] or 1}
    assert apply(api, configuration(second)) is after
    assert len(owners(after)) == 1


@given(_CONFIG, _CONFIG, _CONFIG)
def test_two_managers_get_the_union_and_own_only_what_exists(
    mine: dict[str, Any], theirs: dict[str, Any], later: dict[str, Any]
) -> None:
    api = server()
    apply(api, configuration(mine), "mine")
    both = apply(api, configuration(theirs), "theirs", force=True)
    for part in ("labels", "env"):
        assert declared(both)[part] == {**mine[part], **theirs[part]}
    after = apply(api, configuration(later), "mine", force=True)
    for part in ("labels", "env"):
        assert declared(after)[part] == {**theirs[part], **later[part]}
    existing = ownership.everything(api.kind("Deployment"), after)
    for manager in ("mine", "theirs"):
        assert fields_of(after, manager) <= existing


@given(_CONFIG, _CONFIG)
def test_conflicts_are_symmetric_and_about_values_that_differ(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    def conflicts(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
        api = server()
        apply(api, configuration(first), "first")
        try:
            apply(api, configuration(second), "second")
        except KubeError as error:
            return {cause["field"] for cause in error.details["causes"]}
        return set()

    assert conflicts(one, two) == conflicts(two, one)
    assert conflicts(one, one) == set()


@given(_CONFIG)
def test_field_sets_survive_their_wire_form(drawn: dict[str, Any]) -> None:
    entry = apply(server(), configuration(drawn))["metadata"]["managedFields"][0]
    fields = fieldsets.from_v1(entry["fieldsV1"])
    assert fieldsets.to_v1(fields) == entry["fieldsV1"]
    assert json.loads(json.dumps(entry)) == entry
