"""What a real kube-apiserver 1.36 answered to 38 scenarios of kubectl, as objects and words.

The scenarios and their results were recorded once against a real server; here they run against
ours. Those of client-side apply send the patch that kubectl computes.
"""

from collections.abc import Callable
from typing import Any

import pytest

from aiopslab.models.kube import KubeError, PatchType
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.objects import dig
from aiopslab.world.kube.options import WriteOptions

ACTOR = "alice"
STRICT = WriteOptions(field_manager="kubectl-client-side-apply")


def workload(name: str = "w", **spec: Any) -> dict[str, Any]:
    container = {
        "name": "a",
        "image": "i:1",
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    }
    pod = {"containers": [container], **spec.pop("pod", {})}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "labels": {"team": "x"}},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec},
    }


def service(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "shop"},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}], **spec},
    }


@pytest.fixture
def made(api: ApiServer) -> ApiServer:
    api.create(workload(), actor=ACTOR, options=STRICT)
    return api


def patch(api: ApiServer, change: Any, type: PatchType = "strategic", **how: Any) -> dict[str, Any]:
    return api.patch("Deployment", "w", change, namespace="shop", type=type, actor=ACTOR, **how)


def pod_patch(api: ApiServer, change: Any, type: PatchType = "strategic") -> dict[str, Any]:
    """Patch the pod spec of the workload's template and return it."""
    whole = patch(api, {"spec": {"template": {"spec": change}}}, type)
    found: dict[str, Any] = whole["spec"]["template"]["spec"]
    return found


def first(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["containers"][0]
    return found


def refused(call: Callable[[], Any]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        call()
    return caught.value


# -- defaults -------------------------------------------------------------------------------------


def test_01_defaults(made: ApiServer) -> None:
    spec = made.get("Deployment", "w", "shop")["spec"]
    rolling = {"maxSurge": "25%", "maxUnavailable": "25%"}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert (spec["replicas"], spec["revisionHistoryLimit"]) == (1, 10)
    assert spec["progressDeadlineSeconds"] == 600
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Always"
    assert pod["dnsPolicy"] == "ClusterFirst"
    assert pod["schedulerName"] == "default-scheduler"
    assert pod["terminationGracePeriodSeconds"] == 30
    assert first(pod)["imagePullPolicy"] == "IfNotPresent"
    assert first(pod)["terminationMessagePath"] == "/dev/termination-log"


def test_02_service_defaults(api: ApiServer) -> None:
    spec = api.create(service(), actor=ACTOR)["spec"]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    for name, value in (
        ("type", "ClusterIP"),
        ("sessionAffinity", "None"),
        ("internalTrafficPolicy", "Cluster"),
        ("ipFamilies", ["IPv4"]),
        ("ipFamilyPolicy", "SingleStack"),
    ):
        assert spec[name] == value


# -- strategic merge patches ----------------------------------------------------------------------


def test_03_env_added(made: ApiServer) -> None:
    env = [{"name": "C", "value": "3"}]
    seen = first(pod_patch(made, {"containers": [{"name": "a", "env": env}]}))
    assert [e["name"] for e in seen["env"]] == ["C", "A", "B"]


def test_04_env_deleted(made: ApiServer) -> None:
    env = [{"name": "A", "$patch": "delete"}]
    seen = first(pod_patch(made, {"containers": [{"name": "a", "env": env}]}))
    assert [e["name"] for e in seen["env"]] == ["B"]


def test_05_list_replaced(made: ApiServer) -> None:
    env = [{"name": "Z", "value": "9"}, {"$patch": "replace"}]
    seen = first(pod_patch(made, {"containers": [{"name": "a", "env": env}]}))
    assert seen["env"] == [{"name": "Z", "value": "9"}]


def test_06_order(made: ApiServer) -> None:
    change = {
        "$setElementOrder/env": [{"name": n} for n in "ABC"],
        "env": [{"name": "C", "value": "3"}],
        "name": "a",
    }
    seen = first(pod_patch(made, {"containers": [change]}))
    assert [e["name"] for e in seen["env"]] == ["A", "B", "C"]


def test_07_retain_keys(made: ApiServer) -> None:
    strategy = {"$retainKeys": ["type"], "type": "Recreate"}
    assert patch(made, {"spec": {"strategy": strategy}})["spec"]["strategy"] == {"type": "Recreate"}


def test_08_volume_switched(made: ApiServer) -> None:
    pod_patch(made, {"volumes": [{"name": "v", "emptyDir": {}}]})
    change = {"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}
    seen = pod_patch(made, {"volumes": [change]})
    assert seen["volumes"] == [{"name": "v", "configMap": {"name": "c", "defaultMode": 420}}]


def test_09_atomic_tolerations(made: ApiServer) -> None:
    one, two = ({"key": k, "operator": "Exists"} for k in "xy")
    pod_patch(made, {"tolerations": [one]})
    assert pod_patch(made, {"tolerations": [two]})["tolerations"] == [two]


def test_10_missing_merge_key(made: ApiServer) -> None:
    error = refused(lambda: pod_patch(made, {"containers": [{"image": "q"}]}))
    assert error.message == "map: map[image:q] does not contain declared merge key: name"


# -- merge and JSON patches -----------------------------------------------------------------------


def test_11_merge_replaces_lists(made: ApiServer) -> None:
    seen = pod_patch(made, {"containers": [{"name": "b", "image": "b:1"}]}, "merge")
    assert [c["name"] for c in seen["containers"]] == ["b"]


def test_12_merge_null_removes(made: ApiServer) -> None:
    seen = patch(made, {"metadata": {"labels": {"team": None}}}, "merge")
    assert not seen["metadata"].get("labels")


def test_13_json_patch(made: ApiServer) -> None:
    operations = [
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 2},
        {"op": "add", "path": "/spec/template/spec/containers/0/env/-",
         "value": {"name": "C", "value": "3"}},
    ]  # fmt: skip
    spec = patch(made, operations, "json")["spec"]
    assert spec["replicas"] == 2
    assert [e["name"] for e in first(spec["template"]["spec"])["env"]] == ["A", "B", "C"]


REJECTED = "the server rejected our request due to an error in our request"


def test_14_json_patch_of_a_missing_path(made: ApiServer) -> None:
    error = refused(lambda: patch(made, [{"op": "remove", "path": "/spec/nothing"}], "json"))
    assert error.code == 422
    assert error.message.startswith(f"The request is invalid: {REJECTED}")


def test_15_json_patch_whose_test_fails(made: ApiServer) -> None:
    operations = [{"op": "test", "path": "/spec/replicas", "value": 7}]
    error = refused(lambda: patch(made, operations, "json"))
    assert error.code == 422
    assert error.message.startswith(f"The request is invalid: {REJECTED}")


# -- validation -----------------------------------------------------------------------------------


def test_16_selector_is_immutable(made: ApiServer) -> None:
    change = {"spec": {"selector": {"matchLabels": {"a": "b", "q": "r"}},
                       "template": {"metadata": {"labels": {"q": "r"}}}}}  # fmt: skip
    error = refused(lambda: patch(made, change))
    assert error.message == (
        'Deployment.apps "w" is invalid: spec.selector: Invalid value: '
        '{"matchLabels":{"a":"b","q":"r"}}: field is immutable'
    )
    assert error.details["kind"] == "Deployment"
    assert error.details["causes"][0]["reason"] == "FieldValueInvalid"


def test_17_selector_must_match_the_template(api: ApiServer) -> None:
    obj = workload(selector={"matchLabels": {"q": "z"}})
    error = refused(lambda: api.create(obj, actor=ACTOR))
    assert error.message == (
        'Deployment.apps "w" is invalid: spec.template.metadata.labels: Invalid value: '
        '{"a":"b"}: `selector` does not match template `labels`'
    )


def test_18_unknown_field(api: ApiServer) -> None:
    error = refused(lambda: api.create(workload(replicaz=3), actor=ACTOR))
    assert (error.code, error.message) == (
        400,
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.replicaz"',
    )


def test_19_wrong_type(api: ApiServer) -> None:
    error = refused(lambda: api.create(workload(replicas="many"), actor=ACTOR))
    assert (error.code, error.message) == (
        400,
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
        "string into Go struct field DeploymentSpec.spec.replicas of type int32",
    )


def test_20_bad_name(api: ApiServer) -> None:
    error = refused(lambda: api.create(workload("Bad_Name"), actor=ACTOR))
    assert error.message.startswith(
        'Deployment.apps "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a '
        "lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters"
    )


def test_21_bad_quantity(api: ApiServer) -> None:
    obj = workload()
    first(obj["spec"]["template"]["spec"])["resources"] = {"limits": {"memory": "64Mib"}}
    error = refused(lambda: api.create(obj, actor=ACTOR))
    assert error.code == 400
    assert error.message.endswith(
        "quantities must match the regular expression "
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )


def test_22_duplicate_create(made: ApiServer) -> None:
    error = refused(lambda: made.create(workload(), actor=ACTOR))
    assert (error.code, error.reason) == (409, "AlreadyExists")
    assert error.message == 'deployments.apps "w" already exists'


# -- client-side apply ----------------------------------------------------------------------------


def test_23_apply_that_removes_an_env_entry(made: ApiServer) -> None:
    change = {
        "$setElementOrder/env": [{"name": "B"}],
        "env": [{"$patch": "delete", "name": "A"}],
        "name": "a",
    }
    seen = pod_patch(made, {"$setElementOrder/containers": [{"name": "a"}], "containers": [change]})
    assert first(seen)["env"] == [{"name": "B", "value": "2"}]


def test_24_apply_that_removes_a_container(made: ApiServer) -> None:
    pod_patch(made, {"containers": [{"name": "b", "image": "b:1"}]})
    seen = pod_patch(
        made,
        {
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [{"$patch": "delete", "name": "b"}],
        },
    )
    assert [c["name"] for c in seen["containers"]] == ["a"]


# -- server-side apply ----------------------------------------------------------------------------


def apply(api: ApiServer, obj: dict[str, Any], manager: str = "kubectl", **how: Any) -> Any:
    name, kind = obj["metadata"]["name"], obj["kind"]
    options = WriteOptions(field_manager=manager)
    return api.apply(kind, name, obj, namespace="shop", actor=ACTOR, options=options, **how)


def test_25_server_side_create(api: ApiServer) -> None:
    made = apply(api, workload())
    assert [m["operation"] for m in made["metadata"]["managedFields"]] == ["Apply"]
    assert made["spec"]["replicas"] == 1


def test_26_server_side_prunes_an_env_entry(api: ApiServer) -> None:
    apply(api, workload())
    obj = workload()
    del first(obj["spec"]["template"]["spec"])["env"][0]
    seen = apply(api, obj)["spec"]["template"]["spec"]
    assert first(seen)["env"] == [{"name": "B", "value": "2"}]


def test_27_server_side_prunes_a_container(api: ApiServer) -> None:
    obj = workload()
    obj["spec"]["template"]["spec"]["containers"].append({"name": "b", "image": "b:1"})
    apply(api, obj)
    seen = apply(api, workload())["spec"]["template"]["spec"]
    assert [c["name"] for c in seen["containers"]] == ["a"]


def test_28_two_managers(api: ApiServer) -> None:
    apply(api, workload())
    mine = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"},
            "spec": {"minReadySeconds": 7}}  # fmt: skip
    seen = apply(api, mine, "other")
    assert seen["spec"]["minReadySeconds"] == 7
    assert [m["manager"] for m in seen["metadata"]["managedFields"]] == ["kubectl", "other"]


def set_image(api: ApiServer) -> None:
    change = {"containers": [{"name": "a", "image": "i:2"}]}
    api.patch("Deployment", "w", {"spec": {"template": {"spec": change}}}, namespace="shop",
              actor=ACTOR, options=WriteOptions(field_manager="kubectl-set"))  # fmt: skip


def test_29_conflict(api: ApiServer) -> None:
    apply(api, workload())
    set_image(api)
    assert refused(lambda: apply(api, workload())).message == (
        'Apply failed with 1 conflict: conflict with "kubectl-set" using apps/v1: '
        '.spec.template.spec.containers[name="a"].image'
    )


def test_30_forced(api: ApiServer) -> None:
    apply(api, workload())
    set_image(api)
    seen = apply(api, workload(), force=True)
    assert first(seen["spec"]["template"]["spec"])["image"] == "i:1"


def test_31_conflict_with_scale(api: ApiServer) -> None:
    apply(api, workload(replicas=2))
    scale(api, 3)
    assert refused(lambda: apply(api, workload(replicas=2))).message == (
        'Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using '
        "apps/v1: .spec.replicas"
    )


def test_32_service_ports(api: ApiServer) -> None:
    apply(api, service(ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81}]))
    seen = apply(api, service(ports=[{"name": "a", "port": 80, "targetPort": 8080}]))
    assert seen["spec"]["ports"] == [
        {"name": "a", "port": 80, "protocol": "TCP", "targetPort": 8080}
    ]


# -- kubectl's other commands ---------------------------------------------------------------------


def scale(api: ApiServer, replicas: int, version: str = "") -> dict[str, Any]:
    change: dict[str, Any] = {"spec": {"replicas": replicas}}
    if version:
        change["metadata"] = {"resourceVersion": version}
    return api.patch("Deployment", "w", change, namespace="shop", type="merge",
                     subresource="scale", actor=ACTOR,
                     options=WriteOptions(field_manager="kubectl"))  # fmt: skip


def test_33_set_env_removes(made: ApiServer) -> None:
    change = {
        "$setElementOrder/containers": [{"name": "a"}],
        "containers": [{"env": [{"$patch": "delete", "name": "A"}], "name": "a"}],
    }
    assert [e["name"] for e in first(pod_patch(made, change))["env"]] == ["B"]


def test_34_set_resources(made: ApiServer) -> None:
    limits = {"limits": {"cpu": "200m", "memory": "512Mi"}}
    seen = pod_patch(made, {"containers": [{"name": "a", "resources": limits}]})
    assert first(seen)["resources"] == limits


def test_35_scale_with_a_stale_version(made: ApiServer) -> None:
    version = made.get_scale("Deployment", "w", "shop")["metadata"]["resourceVersion"]
    assert scale(made, 3, version)["spec"]["replicas"] == 3
    error = refused(lambda: scale(made, 4, version))
    assert (error.code, error.reason) == (409, "Conflict")


def test_36_a_label_is_changed_from_the_version_it_was_read_at(made: ApiServer) -> None:
    obj = made.get("Deployment", "w", "shop")
    version = obj["metadata"]["resourceVersion"]
    change = {"metadata": {"labels": {"team": "y"}, "resourceVersion": version}}
    assert patch(made, change, "merge")["metadata"]["labels"]["team"] == "y"
    error = refused(lambda: patch(made, change, "merge"))
    assert error.message == (
        'Operation cannot be fulfilled on deployments.apps "w": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_37_create_deployment(api: ApiServer) -> None:
    labels = {"app": "web"}
    pod = {"containers": [{"name": "web", "image": "web", "resources": {}}]}
    obj = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "strategy": {},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
        "status": {},
    }
    made = api.create(obj, actor=ACTOR, options=WriteOptions(field_manager="kubectl-create"))
    assert first(made["spec"]["template"]["spec"])["imagePullPolicy"] == "Always"
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"


def test_38_create_configmap_and_headless_service(api: ApiServer) -> None:
    metadata = {"name": "c", "namespace": "shop"}
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}}
    assert api.create(data, actor=ACTOR)["data"] == {"k": "v"}
    spec = api.create(service(clusterIP="None"), actor=ACTOR)["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])
    assert dig(spec, "internalTrafficPolicy") == "Cluster"
