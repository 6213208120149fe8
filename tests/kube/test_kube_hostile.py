"""Whatever a client sends is stored or refused in the API's own words; nothing else happens."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.models.kube import KubeError, PatchType
from aiopslab.seeds import Streams
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.options import FieldValidation, Subresource, WriteOptions
from aiopslab.world.kube.patches import jsonpatch, ownership

ACTOR = "alice"
_LABELS = {"app": "w"}
WORKLOAD = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "w", "namespace": "shop"},
    "spec": {
        "selector": {"matchLabels": _LABELS},
        "template": {
            "metadata": {"labels": _LABELS, "finalizers": ["a/b"]},
            "spec": {"containers": [{"name": "a", "image": "a:1", "ports": [
                {"containerPort": 80}], "env": [{"name": "A", "value": "1"}]}]},
        },
    },
}  # fmt: skip
_WORDS = st.sampled_from(
    ["metadata", "spec", "status", "template", "containers", "name", "image", "ports", "env",
     "containerPort", "protocol", "labels", "annotations", "finalizers", "managedFields", "value",
     "manager", "operation", "fieldsV1", "f:spec", "k:{}", "v:1", "time", "subresource",
     "$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers",
     "conditions", "type", "replicas", "selector", "matchLabels", "resourceVersion", "strategy",
     "rollingUpdate", "maxSurge", "volumes", "configMap", "livenessProbe", "httpGet", "port",
     "resources", "limits", "cpu", "topologySpreadConstraints", "topologyKey", "tolerations"]
)  # fmt: skip
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "w", "a", "delete", "replace", "merge", "25%", "1Gi", "Apply", "Update"])
    | st.text(max_size=3)
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)
_POINTERS = st.lists(_WORDS | st.sampled_from(["0", "-", "1", "~1"]), max_size=5).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)
_OPERATIONS = st.lists(
    st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
            "path": _POINTERS,
        },
        optional={"from": _POINTERS, "value": _JSON},
    ),
    max_size=4,
)


def server() -> ApiServer:
    api = ApiServer(lambda: 1.8e9, Streams(3))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    api.create(space, actor="system:test")
    api.create(WORKLOAD, actor=ACTOR, options=WriteOptions(field_manager="x"))
    return api


def holds(api: ApiServer, call: Callable[[], Any]) -> None:
    """Make a request; whatever comes of it, the object stays one that can be read and written."""
    refusal = None
    try:
        call()
    except KubeError as error:
        refusal = error
    if refusal is not None:
        assert 400 <= refusal.code <= 500
        assert len(refusal.message) < 20_000
    stored = api.find("Deployment", "w", "shop")
    if stored is None:  # a finalizer was the last thing that held it
        return
    json.dumps(ownership.shown(api.kind("Deployment"), stored))
    api.patch("Deployment", "w", {"spec": {"minReadySeconds": 3}}, namespace="shop", type="merge",
              actor=ACTOR)  # fmt: skip


@settings(max_examples=150)
@given(
    st.sampled_from(["strategic", "merge"]),
    st.sampled_from(["", "scale", "status"]),
    st.dictionaries(_WORDS, _JSON, max_size=4) | _JSON,
    st.sampled_from(["Strict", "Warn", "Ignore"]),
)
def test_any_merge_of_anything(
    kind: PatchType, subresource: Subresource, change: Any, mode: FieldValidation
) -> None:
    api = server()
    options = WriteOptions(validation=mode)
    holds(
        api,
        lambda: api.patch("Deployment", "w", change, namespace="shop", type=kind,
                          subresource=subresource, actor=ACTOR, options=options),
    )  # fmt: skip


@settings(max_examples=100)
@given(_OPERATIONS | _JSON)
def test_any_json_patch(operations: Any) -> None:
    api = server()
    holds(
        api,
        lambda: api.patch(
            "Deployment", "w", operations, namespace="shop", type="json", actor=ACTOR
        ),
    )


@settings(max_examples=100)
@given(st.dictionaries(_WORDS, _JSON, max_size=4), st.booleans())
def test_any_apply(parts: dict[str, Any], force: bool) -> None:
    api = server()
    config = {"apiVersion": "apps/v1", "kind": "Deployment", **parts}
    options = WriteOptions(field_manager="y")
    holds(
        api,
        lambda: api.apply("Deployment", "w", config, namespace="shop", force=force, actor=ACTOR,
                          options=options),
    )  # fmt: skip


@settings(max_examples=100)
@given(st.lists(st.dictionaries(_WORDS, _JSON, max_size=5), max_size=3))
def test_any_list_of_managed_fields(entries: list[dict[str, Any]]) -> None:
    api = server()
    change = {"metadata": {"managedFields": entries}}
    holds(
        api,
        lambda: api.patch("Deployment", "w", change, namespace="shop", type="merge", actor=ACTOR),
    )


def test_a_patch_that_copies_without_end_is_refused() -> None:
    api = server()
    place = "/metadata/annotations"
    double = [{"op": "copy", "from": place, "path": f"{place}/k{n}"} for n in range(60)]
    start = [{"op": "add", "path": "/metadata/annotations", "value": {"a": "x" * 1000}}]
    operations = start + double
    with pytest.raises(KubeError) as caught:
        api.patch("Deployment", "w", operations, namespace="shop", type="json", actor=ACTOR)
    assert caught.value.code == 413
    assert "accumulated size increase of copy" in caught.value.message


def test_a_patch_has_a_bounded_number_of_operations() -> None:
    operations = [{"op": "test", "path": "/kind", "value": "Deployment"}] * (
        jsonpatch.MAX_OPERATIONS + 1
    )
    api = server()
    with pytest.raises(KubeError) as caught:
        api.patch("Deployment", "w", operations, namespace="shop", type="json", actor=ACTOR)
    assert caught.value.code == 413


def test_a_long_list_is_merged_in_one_pass() -> None:
    """Quadratic work on lists of this length would take minutes."""
    api = server()
    env = [{"name": f"V{n}", "value": "1"} for n in range(20_000)]
    order = [{"name": item["name"]} for item in env[::2]]
    one = {"name": "a", "env": env, "$setElementOrder/env": order}
    change = {"spec": {"template": {"spec": {"containers": [one]}}}}
    new = api.patch("Deployment", "w", change, namespace="shop", actor=ACTOR)
    assert len(new["spec"]["template"]["spec"]["containers"][0]["env"]) == 20_001
