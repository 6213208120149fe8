import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aiopslab.models.kube import KubeError
from aiopslab.seeds import Streams
from aiopslab.world.kube import snapshot
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.options import DeleteOptions, WriteOptions

Build = Callable[..., dict[str, Any]]
ACTOR = "oncall"


def refused(call: Callable[[], Any]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        call()
    return caught.value


def patch_deployment(api: ApiServer, patch: Any, **options: Any) -> dict[str, Any]:
    return api.patch("deploy", "web", patch, namespace="shop", actor=ACTOR, **options)


# -- create ---------------------------------------------------------------------------------------


def test_a_new_object_gets_what_only_the_server_sets(api: ApiServer, deployment: Build) -> None:
    sent = deployment()
    sent["metadata"]["resourceVersion"] = "99"
    sent["status"] = {"replicas": 7}
    stored = api.create(sent, actor=ACTOR)
    metadata = stored["metadata"]
    assert metadata["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert metadata["generation"] == 1
    assert metadata["resourceVersion"] == str(api.revision)
    assert len(metadata["uid"]) == 36
    assert "status" not in stored
    assert sent["metadata"]["resourceVersion"] == "99", "the caller's object is not changed"


def test_defaults_are_those_of_the_real_server(api: ApiServer, deployment: Build) -> None:
    spec = api.create(deployment(), actor=ACTOR)["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    container = spec["template"]["spec"]["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30


def test_nulls_mean_left_out_whoever_sends_them(api: ApiServer, pod: Build) -> None:
    for name, actor in (("a", ACTOR), ("b", "system:controller")):
        sent = pod(name, volumes=[{"name": "v", "emptyDir": {}, "secret": None}], hostname=None)
        stored = api.create(sent, actor=actor)
        assert stored["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]
        assert "hostname" not in stored["spec"]


def test_an_emptied_directory_volume_keeps_its_source(api: ApiServer, pod: Build) -> None:
    stored = api.create(pod(volumes=[{"name": "v", "emptyDir": {}}]), actor=ACTOR)
    change = {"metadata": {"labels": {"x": "y"}}}
    patched = api.patch("po", "web-1", change, namespace="shop", actor=ACTOR)
    assert patched["spec"] == stored["spec"]


def test_a_generated_name_is_the_prefix_and_five_letters(api: ApiServer, pod: Build) -> None:
    sent = pod()
    sent["metadata"] = {"generateName": "web-", "namespace": "shop"}
    name = api.create(sent, actor=ACTOR)["metadata"]["name"]
    assert name.startswith("web-")
    assert len(name) == 9


def test_two_servers_with_one_seed_hand_out_the_same_uids(deployment: Build) -> None:
    def uid() -> str:
        server = ApiServer(lambda: 0.0, Streams(3))
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
        server.create(namespace, actor=ACTOR)
        return str(server.create(deployment(), actor=ACTOR)["metadata"]["uid"])

    assert uid() == uid()


def test_a_taken_name_and_a_missing_namespace_are_refused(
    api: ApiServer, deployment: Build
) -> None:
    api.create(deployment(), actor=ACTOR)
    error = refused(lambda: api.create(deployment(), actor=ACTOR))
    assert (error.code, error.reason) == (409, "AlreadyExists")
    assert error.message == 'deployments.apps "web" already exists'
    elsewhere = deployment()
    elsewhere["metadata"]["namespace"] = "nowhere"
    error = refused(lambda: api.create(elsewhere, actor=ACTOR))
    assert (error.code, error.message) == (404, 'namespaces "nowhere" not found')


def test_a_dry_run_answers_but_stores_nothing_and_shifts_no_uid(
    api: ApiServer, deployment: Build
) -> None:
    revision = api.revision
    assert (
        api.create(deployment(), actor=ACTOR, options=WriteOptions(dry_run=True))["spec"][
            "replicas"
        ]
        == 1
    )
    assert api.revision == revision
    assert api.find("Deployment", "web", "shop") is None
    twin = ApiServer(api.now, Streams(7))
    for name in ("default", "shop"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        twin.create(namespace, actor="system:bootstrap")
    first = api.create(deployment(), actor=ACTOR)["metadata"]["uid"]
    assert first == twin.create(deployment(), actor=ACTOR)["metadata"]["uid"]


def test_a_service_gets_an_address_of_the_service_network(api: ApiServer) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    spec = api.create(service, actor=ACTOR)["spec"]
    assert spec["clusterIP"].startswith("198.18.")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    kept = api.replace({**service, "spec": {**service["spec"], "selector": {}}}, actor=ACTOR)
    assert kept["spec"]["clusterIP"] == spec["clusterIP"]
    labels = {"metadata": {"labels": {"a": "b"}}}
    assert api.patch("svc", "web", labels, namespace="shop", actor=ACTOR)["spec"] == kept["spec"]
    error = refused(
        lambda: api.patch(
            "svc", "web", {"spec": {"clusterIP": "198.18.1.1"}}, namespace="shop", actor=ACTOR
        )
    )
    assert "may not change once set" in error.message


# -- change ---------------------------------------------------------------------------------------


def test_generation_moves_with_spec_and_not_with_labels_or_status(
    api: ApiServer, deployment: Build
) -> None:
    api.create(deployment(), actor=ACTOR)
    labelled = patch_deployment(api, {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 1
    actor = "system:controller"
    written = api.update_status("Deployment", "web", "shop", {"replicas": 1}, actor=actor)
    assert written["metadata"]["generation"] == 1
    scaled = patch_deployment(api, {"spec": {"replicas": 3}})
    assert scaled["metadata"]["generation"] == 2
    assert scaled["status"] == {"replicas": 1}


def test_a_write_that_changes_nothing_keeps_the_revision(api: ApiServer, deployment: Build) -> None:
    stored = api.create(deployment(), actor=ACTOR)
    assert patch_deployment(api, {"spec": {"replicas": 1}}) is stored
    assert api.replace(stored, actor=ACTOR) is stored
    first = api.update_status("Deployment", "web", "shop", {"replicas": 1}, actor="system:c")
    again = api.update_status("Deployment", "web", "shop", {"replicas": 1}, actor="system:c")
    assert again is first


def test_an_update_from_a_stale_copy_conflicts(api: ApiServer, deployment: Build) -> None:
    stale = api.create(deployment(), actor=ACTOR)
    patch_deployment(api, {"spec": {"replicas": 3}})
    error = refused(lambda: api.replace({**stale, "spec": stale["spec"]}, actor=ACTOR))
    assert (error.code, error.reason) == (409, "Conflict")
    assert "the object has been modified" in error.message
    version = {"metadata": {"resourceVersion": stale["metadata"]["resourceVersion"]}}
    assert refused(lambda: patch_deployment(api, version)).code == 409


def test_stored_objects_are_never_changed_by_later_writes(
    api: ApiServer, deployment: Build
) -> None:
    before = api.create(deployment(), actor=ACTOR)
    container = {"name": "web", "image": "shop/web:1.3"}
    patch_deployment(api, {"spec": {"template": {"spec": {"containers": [container]}}}})
    assert before["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/web:1.2"


def test_status_cannot_be_written_by_a_patch(api: ApiServer, deployment: Build) -> None:
    api.create(deployment(), actor=ACTOR)
    assert "status" not in patch_deployment(api, {"status": {"readyReplicas": 9}})


def test_the_three_patch_types_reach_the_same_state(api: ApiServer, deployment: Build) -> None:
    api.create(deployment(), actor=ACTOR)
    for number, (type_, patch) in enumerate(
        (
            ("strategic", {"spec": {"replicas": 2}}),
            ("merge", {"spec": {"replicas": 3}}),
            ("json", [{"op": "replace", "path": "/spec/replicas", "value": 4}]),
        ),
        2,
    ):
        assert patch_deployment(api, patch, type=type_)["spec"]["replicas"] == number


def test_scale_reads_and_writes_only_replicas(api: ApiServer, deployment: Build) -> None:
    api.create(deployment(), actor=ACTOR)
    options = {"type": "merge", "subresource": "scale"}
    scale = patch_deployment(api, {"spec": {"replicas": 5}}, **options)
    assert scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 5}
    assert api.get_scale("deploy", "web", "shop")["status"]["selector"] == "app=web"
    assert api.get("deploy", "web", "shop")["metadata"]["generation"] == 2
    strategic = patch_deployment(api, {"spec": {"replicas": 6}}, subresource="scale")
    assert strategic["spec"] == {"replicas": 6}
    for wrong in ({"replicas": "six"}, {"replicaz": 6}):
        assert refused(lambda wrong=wrong: patch_deployment(api, {"spec": wrong}, **options))
    error = refused(lambda: patch_deployment(api, {"spec": {"replicas": -1}}, **options))
    assert "must be greater than or equal to 0" in error.message
    assert refused(lambda: api.get_scale("svc", "web", "shop")).code == 404


def test_a_pod_is_bound_to_a_node_once(api: ApiServer, pod: Build) -> None:
    api.create(pod(), actor=ACTOR)
    bound = api.bind("web-1", "shop", "node-1", actor="system:kube-scheduler")
    assert bound["spec"]["nodeName"] == "node-1"
    again = refused(lambda: api.bind("web-1", "shop", "node-2", actor="system:kube-scheduler"))
    assert again.code == 409
    change = {"spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "9"}]}]}}
    error = refused(lambda: api.patch("po", "web-1", change, namespace="shop", actor=ACTOR))
    assert "pod updates may not change fields other than" in error.message


# -- delete ---------------------------------------------------------------------------------------


def test_a_running_pod_is_marked_and_goes_when_the_kubelet_confirms(
    api: ApiServer, pod: Build
) -> None:
    api.create(pod(), actor=ACTOR)
    api.bind("web-1", "shop", "node-1", actor="system:kube-scheduler")
    marked = api.delete("pod", "web-1", "shop", actor=ACTOR)
    assert marked["metadata"]["deletionTimestamp"] == "2027-01-15T08:00:30Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert api.delete("pod", "web-1", "shop", actor=ACTOR) is marked
    api.delete("pod", "web-1", "shop", actor="system:node:node-1", options=DeleteOptions(grace_s=0))
    assert api.find("pod", "web-1", "shop") is None


def test_a_pod_that_never_ran_goes_at_once(api: ApiServer, pod: Build) -> None:
    api.create(pod(), actor=ACTOR)
    api.delete("pod", "web-1", "shop", actor=ACTOR)
    assert api.find("pod", "web-1", "shop") is None


@pytest.mark.parametrize(
    ("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
def test_foreground_and_orphan_deletion_wait_for_their_finalizer(
    api: ApiServer, deployment: Build, propagation: Any, finalizer: str
) -> None:
    api.create(deployment(), actor=ACTOR)
    marked = api.delete(
        "deploy", "web", "shop", actor=ACTOR, options=DeleteOptions(propagation=propagation)
    )
    assert marked["metadata"]["finalizers"] == [finalizer]
    assert marked["metadata"]["deletionTimestamp"]
    patch_deployment(api, {"metadata": {"finalizers": None}}, type="merge")
    assert api.find("deploy", "web", "shop") is None


def test_a_namespace_terminates_and_takes_nothing_new(api: ApiServer, pod: Build) -> None:
    gone = api.delete("ns", "shop", actor=ACTOR)
    assert gone["status"]["phase"] == "Terminating"
    error = refused(lambda: api.create(pod(), actor=ACTOR))
    assert error.code == 403
    assert "because it is being terminated" in error.message
    assert api.delete("ns", "shop", actor=ACTOR, options=DeleteOptions(grace_s=0)) == gone
    emptied = {**gone, "spec": {"finalizers": []}}
    api.replace(emptied, actor="system:namespace-controller")
    assert refused(lambda: api.get("ns", "shop")).code == 404


def test_what_an_owner_owns_is_found_by_its_uid(api: ApiServer, pod: Build) -> None:
    owner = {"apiVersion": "v1", "kind": "ReplicaSet", "name": "r", "uid": "u-1"}
    sent = pod()
    sent["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    api.create(sent, actor="system:replicaset-controller")
    assert [o["metadata"]["name"] for o in api.owned_by("u-1")] == ["web-1"]
    api.delete("Pod", "web-1", "shop", actor=ACTOR)
    assert api.owned_by("u-1") == []


# -- reads, subscriptions, audit ------------------------------------------------------------------


def test_lists_are_sorted_and_take_selectors(api: ApiServer, pod: Build) -> None:
    for name in ("b", "c", "a"):
        api.create(pod(name), actor=ACTOR)
    api.bind("b", "shop", "n1", actor="system:s")
    assert [o["metadata"]["name"] for o in api.list("po", "shop", labels="app=web")] == [*"abc"]
    assert [o["metadata"]["name"] for o in api.list("po", fields="spec.nodeName=n1")] == ["b"]
    assert api.list("pods", "default") == []


def test_an_unknown_kind_is_named(api: ApiServer) -> None:
    assert 'resource type "podz"' in refused(lambda: api.list("podz")).message


def test_subscribers_hear_of_every_commit_in_order_even_of_nested_writes(
    api: ApiServer, deployment: Build
) -> None:
    heard: list[tuple[str, str, int]] = []

    def scale_once(event: str, obj: dict[str, Any], _old: dict[str, Any] | None) -> None:
        heard.append(("first", event, obj["spec"]["replicas"]))
        if event == "ADDED":
            patch_deployment(api, {"spec": {"replicas": 2}})

    api.subscribe("Deployment", scale_once)
    stop = api.subscribe(
        "deploy", lambda event, obj, _old: heard.append(("second", event, obj["spec"]["replicas"]))
    )
    api.create(deployment(), actor=ACTOR)
    assert heard == [
        ("first", "ADDED", 1),
        ("second", "ADDED", 1),
        ("first", "MODIFIED", 2),
        ("second", "MODIFIED", 2),
    ]
    stop()
    api.delete("deploy", "web", "shop", actor=ACTOR)
    assert heard[-1] == ("first", "DELETED", 2)


def test_a_watch_yields_changes_from_now_on(api: ApiServer, pod: Build) -> None:
    async def follow() -> list[str]:
        watch = api.watch("Pod", "shop")
        api.create(pod(), actor=ACTOR)
        api.delete("Pod", "web-1", "shop", actor=ACTOR)
        seen = [(await anext(watch))[0] for _ in range(2)]
        watch.close()
        watch.close()
        return seen

    assert asyncio.run(follow()) == ["ADDED", "DELETED"]


def test_the_audit_trail_holds_desired_state_before_and_after(
    api: ApiServer, deployment: Build
) -> None:
    heard: list[str] = []
    api.on_audit.append(lambda entry: heard.append(entry.verb))
    api.create(deployment(), actor=ACTOR)
    api.update_status("Deployment", "web", "shop", {"replicas": 1}, actor="system:c")
    patch_deployment(api, {"spec": {"replicas": 3}})
    api.delete("deploy", "web", "shop", actor=ACTOR)
    assert heard == ["create", "patch", "delete"]
    patched = api.audit[-2]
    assert (patched.actor, patched.namespace, patched.name) == (ACTOR, "shop", "web")
    assert patched.before is not None
    assert patched.after is not None
    assert (patched.before["spec"]["replicas"], patched.after["spec"]["replicas"]) == (1, 3)


def test_a_policy_decides_who_may_write(api: ApiServer, deployment: Build) -> None:
    api.create(deployment(), actor=ACTOR)
    api.allowed = lambda actor, verb, kind, namespace: (actor, verb) != (ACTOR, "delete")
    error = refused(lambda: api.delete("deploy", "web", "shop", actor=ACTOR))
    assert (error.code, error.reason) == (403, "Forbidden")
    assert error.message == (
        'deployments.apps "web" is forbidden: User "oncall" cannot delete resource "deployments" '
        'in API group "apps" in the namespace "shop"'
    )


def test_a_snapshot_is_what_people_declared(api: ApiServer, deployment: Build, pod: Build) -> None:
    api.create(deployment(), actor=ACTOR)
    api.create(pod(), actor=ACTOR)
    before = snapshot.take(api.store, "shop")
    assert [o["kind"] for o in before] == ["Deployment"]
    assert set(before[0]["metadata"]) == {"name", "namespace"}
    api.update_status("Deployment", "web", "shop", {"replicas": 1}, actor="system:c")
    revision = {"deployment.kubernetes.io/revision": "1"}
    patch_deployment(api, {"metadata": {"annotations": revision}})
    assert snapshot.take(api.store, "shop") == before
    patch_deployment(api, {"spec": {"replicas": 2}})
    assert snapshot.take(api.store, "shop") != before
