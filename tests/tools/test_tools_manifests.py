"""Manifests and patches that an agent wrote: JSON values, or a refusal that says why."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.tools.manifests import ManifestError, read

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_is_read_as_it_is(value: object) -> None:
    assert read(json.dumps(value)) == ([] if value is None else [value])


@given(st.text("{}[]:-&*!#|> \n\tab12.'\"", max_size=40))
def test_any_text_is_read_as_json_values_or_refused(text: str) -> None:
    try:
        values = read(text)
    except ManifestError:
        return
    assert json.loads(json.dumps(values)) == values


def test_yaml_beyond_json_is_read_as_kubernetes_does() -> None:
    text = "on: 2026-01-01\n2: a\nx: &x {y: z}\nw: *x\n---\n---\nb: 2\nc: 12:30"
    first, second = read(text)
    assert first == {"true": "2026-01-01", "2": "a", "x": {"y": "z"}, "w": {"y": "z"}}
    assert second == {"b": 2, "c": "12:30"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "neither JSON nor YAML"),
        ("!!python/object/apply:os.system [id]", "neither JSON nor YAML"),
        ("&a [*a]", "contains itself"),
        ("a: .nan", "does not exist in JSON"),
        ("!!binary aGk=", "does not exist in JSON"),
        ("? [a]\n: b", "neither JSON nor YAML|key"),
        ("[" * 90_000, "too deeply|neither"),
        ('{"a":' * 200 + "1" + "}" * 200, "too large"),
        ("9" * 5000, "neither JSON nor YAML"),
        ("0x" + "f" * 5000, "too large"),
    ],
)
def test_what_does_not_stand_for_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read(text)


def test_aliases_of_aliases_do_not_unfold_into_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert yaml.safe_load(lines[0])
    with pytest.raises(ManifestError, match="too large"):
        read("\n".join(lines))


@pytest.mark.parametrize("text", ["a: 0x" + "f" * 5000, "? 0x" + "f" * 5000 + "\n: a"])
def test_a_number_that_nobody_could_write_down_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="too large a number"):
        read(text)


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', 'a: "\\ud800"', '"\\ud800": a'])
def test_halves_of_characters_are_replaced_as_by_an_api_server(text: str) -> None:
    (found,) = read(text)
    assert "\ufffd" in str(found)
    str(found).encode("utf-8")


def test_whole_characters_stay() -> None:
    assert read('{"é": "\\ud83d\\ude00 💥"}') == [{"é": "😀 💥"}]
