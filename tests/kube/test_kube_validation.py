import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import decoding, kinds
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.metadata import LONGEST_S
from aiopslab.world.kube.validation import validation

Build = Callable[..., dict[str, Any]]


def create_error(api: ApiServer, obj: dict[str, Any]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        api.create(obj, actor="oncall")
    return caught.value


def patch_error(api: ApiServer, patch: Any, type_: Any = "strategic") -> KubeError:
    with pytest.raises(KubeError) as caught:
        api.patch("deploy", "web", patch, namespace="shop", type=type_, actor="oncall")
    return caught.value


def container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "web", **fields}]}}}}


def test_an_unknown_field_is_refused_with_its_path(api: ApiServer, deployment: Build) -> None:
    error = create_error(api, deployment(replicaz=3))
    assert (error.code, error.reason) == (400, "BadRequest")
    assert error.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.replicaz"'
    )


def test_a_wrong_type_is_refused_as_go_words_it(api: ApiServer, deployment: Build) -> None:
    assert create_error(api, deployment(replicas="many")).message == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
        "string into Go struct field DeploymentSpec.spec.replicas of type int32"
    )


@pytest.mark.parametrize("replicas", ["3", 2.5, True, [1], {}, 2**31])
def test_no_replicas_but_a_small_integer_ever_reach_a_controller(
    api: ApiServer, deployment: Build, replicas: Any
) -> None:
    assert create_error(api, deployment(replicas=replicas)).code == 400


def test_a_bad_quantity_is_refused_on_create_and_patch(api: ApiServer, deployment: Build) -> None:
    api.create(deployment(), actor="oncall")
    error = patch_error(api, container(resources={"limits": {"memory": "64Mib"}}))
    assert error.code == 422
    assert error.message.endswith(
        "quantities must match the regular expression "
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )


def test_a_bad_name_is_refused(api: ApiServer, deployment: Build) -> None:
    sent = deployment()
    sent["metadata"]["name"] = "Bad_Name"
    error = create_error(api, sent)
    assert error.code == 422
    assert error.message.startswith(
        'Deployment.apps "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a '
        "lowercase RFC 1123 subdomain must consist of"
    )


def test_a_changed_selector_is_refused(api: ApiServer, deployment: Build) -> None:
    api.create(deployment(), actor="oncall")
    labels = {"app": "web", "v": "2"}
    change = {
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}},
        }
    }
    assert patch_error(api, change).message == (
        'Deployment.apps "web" is invalid: spec.selector: Invalid value: '
        '{"matchLabels":{"app":"web","v":"2"}}: field is immutable'
    )


def test_a_selector_that_misses_its_template_is_refused(api: ApiServer, deployment: Build) -> None:
    error = create_error(api, deployment(selector={"matchLabels": {"q": "r"}}))
    assert error.message == (
        'Deployment.apps "web" is invalid: spec.template.metadata.labels: Invalid value: '
        '{"app":"web"}: `selector` does not match template `labels`'
    )


def test_a_json_patch_that_does_not_apply_is_refused(api: ApiServer, deployment: Build) -> None:
    api.create(deployment(), actor="oncall")
    for operation in (
        {"op": "remove", "path": "/spec/nothing"},
        {"op": "test", "path": "/spec/replicas", "value": 9},
    ):
        error = patch_error(api, [operation], "json")
        assert error.code == 422
        assert error.message.startswith(
            "The request is invalid: the server rejected our request due to an error in our request"
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": ""}, "spec.template.spec.containers[0].image: Required value"),
        ({"ports": [{"containerPort": 70000}]}, "must be between 1 and 65535, inclusive"),
        (
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
            'resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
        ({"resources": {"limits": {"cpus": "1"}}}, "must be a standard resource type"),
        ({"imagePullPolicy": "Often"}, 'supported values: "Always", "IfNotPresent", "Never"'),
        ({"readinessProbe": {"periodSeconds": 5}}, "Required value: must specify a handler type"),
        (
            {"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}},
            "livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            'volumeMounts[0].name: Not found: "data"',
        ),
        (
            {"env": [{"name": "X", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "f"}}}]},
            "may not be specified when `value` is not empty",
        ),
        ({"securityContext": {"privileged": True}}, "privileged: Forbidden"),
    ],
)
def test_what_a_container_may_not_say(
    api: ApiServer, deployment: Build, change: dict[str, Any], words: str
) -> None:
    api.create(deployment(), actor="oncall")
    assert words in patch_error(api, container(**change)).message


def test_a_stateful_set_may_mount_its_claim_templates_and_nothing_unknown(
    api: ApiServer, deployment: Build
) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    sent = deployment("db", serviceName="db", volumeClaimTemplates=[claim])
    sent["kind"] = "StatefulSet"
    web = sent["spec"]["template"]["spec"]["containers"][0]
    web["volumeMounts"] = [{"name": "other", "mountPath": "/data"}]
    assert 'volumeMounts[0].name: Not found: "other"' in create_error(api, sent).message
    web["volumeMounts"][0]["name"] = "data"
    assert api.create(sent, actor="oncall")["spec"]["podManagementPolicy"] == "OrderedReady"
    with pytest.raises(KubeError, match="updates to statefulset spec for fields other than"):
        api.patch("sts", "db", {"spec": {"serviceName": "x"}}, namespace="shop", actor="oncall")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            "may not be 0 when `maxSurge` is 0",
        ),
        ({"strategy": {"rollingUpdate": {"maxSurge": "some"}}}, "a valid percent string"),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
            "may not be specified when strategy `type` is 'Recreate'",
        ),
        ({"strategy": {"type": "Slow"}}, 'Unsupported value: "Slow"'),
        ({"progressDeadlineSeconds": 5, "minReadySeconds": 5}, "greater than minReadySeconds"),
        ({"selector": {}}, "empty selector is invalid for deployment"),
    ],
)
def test_what_a_deployment_may_not_say(
    api: ApiServer, deployment: Build, spec: dict[str, Any], words: str
) -> None:
    assert words in create_error(api, deployment(**spec)).message


def test_pods_without_a_dns_policy_have_to_name_their_server(
    api: ApiServer, deployment: Build
) -> None:
    sent = deployment()
    pods = sent["spec"]["template"]["spec"]
    pods["dnsPolicy"] = "None"
    words = "spec.template.spec.dnsConfig.nameservers: Required value"
    assert words in create_error(api, sent).message
    pods["dnsConfig"] = {"nameservers": ["198.18.0.10"]}
    assert api.create(sent, actor="oncall")["spec"]["template"]["spec"]["dnsPolicy"] == "None"


def test_several_problems_are_listed_together(api: ApiServer, deployment: Build) -> None:
    error = create_error(api, deployment(replicas=-1, minReadySeconds=-1))
    assert "is invalid: [spec.replicas: Invalid value: -1" in error.message
    assert "spec.minReadySeconds: Invalid value: -1" in error.message


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("* * * *", "expected exactly 5 fields, found 4"),
        ("61 * * * *", "above maximum (59)"),
        ("soon * * * *", "failed to parse int"),
        ("@never", "unrecognized descriptor"),
    ],
)
def test_a_cron_schedule_has_to_parse(
    api: ApiServer, pod_spec: dict[str, Any], schedule: str, words: str
) -> None:
    job = {"template": {"spec": {**pod_spec, "restartPolicy": "Never"}}}
    cron = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "c", "namespace": "shop"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": job}},
    }
    assert words in create_error(api, cron).message
    good = {**cron, "spec": {**cron["spec"], "schedule": "*/5 0-6,22 * jan mon-fri"}}
    assert api.create(good, actor="oncall")["spec"]["concurrencyPolicy"] == "Allow"


def test_a_service_needs_ports_and_unique_names(api: ApiServer) -> None:
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}},
    }
    assert "spec.ports: Required value" in create_error(api, service).message
    service["spec"]["ports"] = [{"port": 80}, {"port": 81}]
    assert "spec.ports[0].name: Required value" in create_error(api, service).message
    service["spec"]["ports"] = [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]
    assert "Duplicate value" in create_error(api, service).message


def test_kind_and_version_have_to_be_served(api: ApiServer) -> None:
    wrong = {"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "x"}}
    assert 'no matches for kind "Deployment" in version "apps/v1beta1"' in str(
        create_error(api, wrong)
    )
    assert create_error(api, {"kind": "Pod"}).code == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=10,
)
FIELDS = ["apiVersion", "kind", "metadata", "spec", "data", "type", "stringData"]


@given(st.sampled_from(kinds.KINDS), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json_decodes_or_is_refused_and_never_breaks_the_decoder(
    kind: kinds.Kind, obj: dict[str, Any]
) -> None:
    try:
        decoded = decoding.decode(kind, obj)
    except decoding.DecodeError:
        return
    assert decoding.decode(kind, decoded) == decoded


@given(JSON)
def test_any_pod_spec_is_checked_without_breaking_the_rules(spec: Any) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [spec]}}
    kind = kinds.BY_KIND["Pod"]
    try:
        decoded = decoding.decode(kind, pod)
    except decoding.DecodeError:
        return
    assert all(json.dumps(str(cause)) for cause in validation.check(kind, decoded))


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ({"livenessProbe": {"exec": {}}}, "livenessProbe.exec.command: Required value"),
        ({"lifecycle": {"preStop": {"exec": {"command": []}}}}, "preStop.exec.command: Required"),
        ({"lifecycle": {"preStop": {}}}, "must specify a handler type"),
        ({"lifecycle": {"postStart": {"sleep": {"seconds": 1}, "tcpSocket": {"port": 1}}}},
         "may not specify more than 1 handler type"),
        ({"envFrom": [{"configMapRef": {}}]}, "configMapRef.name: Required value"),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"key": "a"}}}]},
         "secretKeyRef.name: Required value"),
        ({"env": [{"name": "A\n", "value": "1"}]}, "a valid environment variable name"),
    ],
)  # fmt: skip
def test_what_a_kubelet_could_not_carry_out_is_refused(
    api: ApiServer, deployment: Build, part: dict[str, Any], where: str
) -> None:
    api.create(deployment(), actor="oncall")
    error = patch_error(api, container(**part))
    assert error.code == 422
    assert where in error.message


def test_a_line_break_at_the_end_makes_a_value_another_one(
    api: ApiServer, deployment: Build
) -> None:
    api.create(deployment(), actor="oncall")
    rolling = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": "25%\n"}}}}
    assert "a valid percent string" in patch_error(api, rolling).message
    labels = {"metadata": {"labels": {"team": "stay\n"}}}
    assert "a valid label must be" in patch_error(api, labels).message


def test_a_count_or_percentage_is_no_larger_than_an_int32(
    api: ApiServer, deployment: Build
) -> None:
    api.create(deployment(), actor="oncall")
    rolling = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 2**31}}}}
    assert patch_error(api, rolling).code == 422


def test_an_empty_dir_has_no_negative_size(api: ApiServer, deployment: Build) -> None:
    api.create(deployment(), actor="oncall")
    volume = {"name": "v", "emptyDir": {"sizeLimit": "-1Gi"}}
    error = patch_error(api, {"spec": {"template": {"spec": {"volumes": [volume]}}}})
    assert "sizeLimit: Forbidden" in error.message


@pytest.mark.parametrize("name", ["a/b", "a%", "."])
def test_a_role_may_have_any_name_that_is_one_part_of_a_path(api: ApiServer, name: str) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "system:reader", "namespace": "shop"},
        "rules": [],
    }
    api.create(role, actor="oncall")
    error = create_error(api, {**role, "metadata": {"name": name, "namespace": "shop"}})
    assert (error.code, error.reason) == (422, "Invalid")


@pytest.mark.parametrize("time", ["9999-99-99T99:99:99Z", "2027-02-30T00:00:00Z"])
def test_a_timestamp_names_a_moment_that_exists(api: ApiServer, time: str) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "often", "namespace": "shop"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "m", "image": "m:1"}]}}}}},
    }  # fmt: skip
    api.create(job, actor="oncall")
    with pytest.raises(KubeError, match="parsing time"):
        api.patch("CronJob", "often", {"status": {"lastScheduleTime": time}}, namespace="shop",
                  type="merge", subresource="status", actor="oncall")  # fmt: skip


def test_a_pod_may_be_given_more_time_to_end_than_dates_have_words_for(api: ApiServer) -> None:
    containers = [{"name": "m", "image": "m:1"}]
    spec = {"nodeName": "n1", "terminationGracePeriodSeconds": 10**12, "containers": containers}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}}
    api.create({**pod, "spec": spec}, actor="oncall")
    marked = api.delete("Pod", "p", "shop", actor="oncall")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == LONGEST_S
    assert marked["metadata"]["deletionTimestamp"] > "2300"
