import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.world.kube.patches import jsonpatch, mergepatch, strategic
from aiopslab.world.kube.schema import message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab~/", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.text("abc", max_size=2), JSON, max_size=4)
POD = message("core.PodSpec")


# -- JSON patch: examples of RFC 6902, appendix A -------------------------------------------------


@pytest.mark.parametrize(
    ("document", "operation", "expected"),
    [
        ({"a": 1}, {"op": "add", "path": "/b", "value": 2}, {"a": 1, "b": 2}),
        ({"a": [1, 3]}, {"op": "add", "path": "/a/1", "value": 2}, {"a": [1, 2, 3]}),
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": [2]}, {"a": [1, [2]]}),
        ({"a": [1, 2]}, {"op": "remove", "path": "/a/0"}, {"a": [2]}),
        ({"a": {"b": 1}}, {"op": "replace", "path": "/a/b", "value": None}, {"a": {"b": None}}),
        ({"a": {"b": 1}}, {"op": "move", "from": "/a/b", "path": "/c"}, {"a": {}, "c": 1}),
        ({"a": [1, 2, 3]}, {"op": "move", "from": "/a/0", "path": "/a/2"}, {"a": [2, 3, 1]}),
        (
            {"a": {"b": 1}},
            {"op": "copy", "from": "/a", "path": "/c"},
            {"a": {"b": 1}, "c": {"b": 1}},
        ),
        ({"~1": 9, "/": 8}, {"op": "remove", "path": "/~01"}, {"/": 8}),
        ({"~1": 9, "/": 8}, {"op": "remove", "path": "/~1"}, {"~1": 9}),
        ({"a": 1}, {"op": "replace", "path": "", "value": []}, []),
        ({"a": 1}, {"op": "test", "path": "/a", "value": 1.0}, {"a": 1}),
    ],
)
def test_json_patch_operations_do_what_the_rfc_says(
    document: Any, operation: dict[str, Any], expected: Any
) -> None:
    assert jsonpatch.apply(document, [operation]) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/x"},
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/3", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "remove", "path": "/l/-"},
        {"op": "test", "path": "/a", "value": True},
        {"op": "move", "from": "/d", "path": "/d/e"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "jump", "path": "/a"},
        "remove",
    ],
)
def test_json_patch_refuses_what_cannot_apply(operation: Any) -> None:
    with pytest.raises(jsonpatch.JsonPatchError):
        jsonpatch.apply({"a": 1, "l": [1, 2], "d": {"e": 1}}, [operation])


@given(OBJECT, st.text("ab~/", max_size=3), JSON)
def test_json_patch_add_then_remove_restores_the_document(
    document: dict[str, Any], key: str, value: Any
) -> None:
    before = copy.deepcopy(document)
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    added = jsonpatch.apply(document, [{"op": "add", "path": path, "value": value}])
    assert jsonpatch.same(added[key], value)
    if key not in before:
        assert jsonpatch.apply(added, [{"op": "remove", "path": path}]) == before
    assert document == before


def test_a_failing_operation_leaves_nothing_of_the_earlier_ones() -> None:
    document = {"a": 1}
    with pytest.raises(jsonpatch.JsonPatchError):
        jsonpatch.apply(
            document, [{"op": "add", "path": "/b", "value": 1}, {"op": "remove", "path": "/c"}]
        )
    assert document == {"a": 1}


# -- merge patch ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], {"a": "b"}, {"a": "b"}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_examples_of_the_rfc(document: Any, patch: Any, expected: Any) -> None:
    assert mergepatch.apply(document, patch) == expected


@given(JSON, JSON)
def test_merge_patch_twice_is_merge_patch_once(document: Any, patch: Any) -> None:
    once = mergepatch.apply(document, patch)
    assert mergepatch.apply(once, patch) == once


@given(OBJECT)
def test_an_empty_patch_changes_nothing(document: dict[str, Any]) -> None:
    assert mergepatch.apply(document, {}) == document
    assert strategic.apply(document, {}, POD) == document
    assert jsonpatch.apply(document, []) == document


# -- strategic merge patch ------------------------------------------------------------------------


def _env(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "value": name.lower()} for name in names]


def _spec(*names: str) -> dict[str, Any]:
    return {"containers": [{"name": "web", "image": "i:1", "env": _env(*names)}]}


def _patched_env(spec: dict[str, Any], **container: Any) -> list[str]:
    result = strategic.apply(spec, {"containers": [{"name": "web", **container}]}, POD)
    return [variable["name"] for variable in result["containers"][0]["env"]]


def test_items_a_patch_adds_come_before_the_existing_ones() -> None:
    assert _patched_env(_spec("A", "B"), env=_env("C")) == ["C", "A", "B"]


def test_an_order_directive_places_added_items() -> None:
    order = [{"name": n} for n in "ABC"]
    changed = {"env": _env("C"), "$setElementOrder/env": order}
    assert _patched_env(_spec("A", "B"), **changed) == ["A", "B", "C"]


def test_a_delete_directive_removes_one_item() -> None:
    assert _patched_env(_spec("A", "B"), env=[{"name": "A", "$patch": "delete"}]) == ["B"]


def test_a_replace_directive_replaces_the_list() -> None:
    changed = [{"$patch": "replace"}, *_env("Z")]
    assert _patched_env(_spec("A", "B"), env=changed) == ["Z"]


def test_items_with_the_same_key_merge() -> None:
    result = strategic.apply(_spec("A"), {"containers": [{"name": "web", "image": "i:2"}]}, POD)
    assert result["containers"] == [{"name": "web", "image": "i:2", "env": _env("A")}]


def test_an_item_without_its_merge_key_is_refused_in_the_servers_words() -> None:
    with pytest.raises(
        strategic.StrategicPatchError,
        match=r"map: map\[image:q\] does not contain declared merge key: name",
    ):
        strategic.apply(_spec("A"), {"containers": [{"image": "q"}]}, POD)


def test_retain_keys_switches_a_volume_from_one_source_to_another() -> None:
    spec = {"volumes": [{"name": "v", "emptyDir": {}}]}
    change = {"name": "v", "configMap": {"name": "c"}, "$retainKeys": ["name", "configMap"]}
    result = strategic.apply(spec, {"volumes": [change]}, POD)
    assert result["volumes"] == [{"name": "v", "configMap": {"name": "c"}}]


def test_lists_without_a_merge_strategy_are_replaced() -> None:
    spec = {"tolerations": [{"key": "a", "operator": "Exists"}]}
    result = strategic.apply(spec, {"tolerations": [{"key": "b", "operator": "Exists"}]}, POD)
    assert [t["key"] for t in result["tolerations"]] == ["b"]


def test_scalar_lists_are_united_and_can_lose_members() -> None:
    metadata = message("ObjectMeta")
    current = {"finalizers": ["a", "b"]}
    assert strategic.apply(current, {"finalizers": ["c", "a"]}, metadata)["finalizers"] == [
        "a",
        "b",
        "c",
    ]
    removal = {"$deleteFromPrimitiveList/finalizers": ["a"]}
    assert strategic.apply(current, removal, metadata) == {"finalizers": ["b"]}


def test_null_removes_a_field_and_replace_directive_a_map() -> None:
    spec = {"nodeSelector": {"a": "1", "b": "2"}, "hostname": "h"}
    assert "hostname" not in strategic.apply(spec, {"hostname": None}, POD)
    replaced = strategic.apply(spec, {"nodeSelector": {"$patch": "replace", "c": "3"}}, POD)
    assert replaced["nodeSelector"] == {"c": "3"}


@given(
    st.lists(st.sampled_from("ABCDEF"), unique=True),
    st.lists(st.sampled_from("ABCDEF"), unique=True),
)
def test_a_strategic_patch_keeps_every_item_once_and_changes_neither_argument(
    have: list[str], want: list[str]
) -> None:
    spec, change = _spec(*have), {"containers": [{"name": "web", "env": _env(*want)}]}
    before = copy.deepcopy((spec, change))
    result = strategic.apply(spec, change, POD)
    names = [variable["name"] for variable in result["containers"][0]["env"]]
    assert sorted(names) == sorted({*have, *want})
    assert (spec, change) == before
    again = strategic.apply(result, change, POD)
    assert again == result


@given(
    st.lists(st.sampled_from("ABCDEF"), unique=True),
    st.lists(st.sampled_from("ABCDEF"), unique=True),
    st.permutations("ABCDEF"),
)
def test_a_full_order_directive_decides_the_order(
    have: list[str], want: list[str], order: list[str]
) -> None:
    changed = {"env": _env(*want), "$setElementOrder/env": [{"name": n} for n in order]}
    names = _patched_env(_spec(*have), **changed)
    assert names == [n for n in order if n in {*have, *want}]
