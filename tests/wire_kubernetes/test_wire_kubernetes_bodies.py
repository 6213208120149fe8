"""Bodies of requests: JSON, YAML and protobuf come out as the same object; no bytes do harm."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.kube import KubeError
from aiopslab.wire.kubernetes import body, protobuf

PROTOBUF = "application/vnd.kubernetes.protobuf"

# -- a protobuf writer, as small as the tests need ------------------------------------------------


def varint(number: int) -> bytes:
    number %= 2**64
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    meta = field(1, api_version) + field(2, kind)
    return protobuf.MAGIC + field(1, meta) + field(2, raw) + field(3, "") + field(4, "")


def entry(key: str, value: str | bytes) -> bytes:
    return field(1, key) + field(2, value)


METADATA = field(1, "web") + field(2, "") + field(3, "hotel") + field(7, 0) + field(8, b"")


def test_a_config_map_is_read() -> None:
    raw = field(1, METADATA + field(11, entry("app", "web"))) + field(2, entry("a", "1"))
    raw += field(3, entry("b", b"\x00\x01"))
    assert protobuf.decode(envelope("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web", "namespace": "hotel", "labels": {"app": "web"}},
        "data": {"a": "1"},
        "binaryData": {"b": "AAE="},
    }


def test_zeros_stay_where_they_mean_something() -> None:
    spec = field(1, 0) + field(5, 0) + field(7, 0) + field(6, 0)
    found = protobuf.decode(envelope("apps/v1", "Deployment", field(2, spec)))
    # replicas and revisionHistoryLimit are pointers in Go, minReadySeconds and paused are not.
    assert found["spec"] == {"replicas": 0, "revisionHistoryLimit": 0}


def test_special_types_are_read_as_json_writes_them() -> None:
    resources = field(2, entry("cpu", field(1, "100m")))
    get = field(1, "/ready") + field(2, field(1, 1) + field(2, 0) + field(3, "http"))
    probe = field(1, field(2, get)) + field(2, 5)
    port = field(1, "http") + field(3, 8080) + field(4, "TCP")
    container = field(1, "c") + field(2, "i:1") + field(6, port) + field(8, resources)
    container += field(11, probe)
    volume = field(1, "cfg") + field(2, field(19, field(1, field(1, "settings"))))
    pod = envelope("v1", "Pod", field(2, field(1, volume) + field(2, container) + field(4, 0)))
    spec = protobuf.decode(pod)["spec"]
    assert spec["volumes"] == [{"name": "cfg", "configMap": {"name": "settings"}}]
    assert spec["terminationGracePeriodSeconds"] == 0
    (found,) = spec["containers"]
    assert found["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
    assert found["resources"] == {"requests": {"cpu": "100m"}}
    probe_read = found["readinessProbe"]
    assert probe_read == {"httpGet": {"path": "/ready", "port": "http"}, "initialDelaySeconds": 5}


def test_a_number_may_be_negative_and_a_time_be_set() -> None:
    stamp = field(1, 1_800_000_000) + field(2, 0)
    raw = field(1, field(1, "p") + field(8, stamp)) + field(2, -5) + field(3, 1)
    found = protobuf.decode(envelope("scheduling.k8s.io/v1", "PriorityClass", raw))
    assert (found["value"], found["globalDefault"]) == (-5, True)
    assert found["metadata"]["creationTimestamp"] == "2027-01-15T08:00:00Z"


def test_fields_of_a_newer_client_are_left_out() -> None:
    raw = field(1, METADATA) + field(999, "new") + varint(998 << 3 | 1) + struct.pack("<d", 1.5)
    assert set(protobuf.decode(envelope("v1", "ConfigMap", raw))) == {
        "apiVersion", "kind", "metadata",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{}", "does not appear to be a protobuf message"),
        (protobuf.MAGIC, 'no kind ""'),
        (envelope("v9", "Pod", b""), 'no kind "Pod" is registered for version "v9"'),
        (envelope("v1", "Pod", b"\x0a\xff"), "unable to decode"),
        (envelope("v1", "ConfigMap", field(2, entry("a", b"\xff"))), "not UTF-8"),
        (envelope("v1", "ConfigMap", field(1, 7)), "a message is a number"),
        (envelope("v1", "ConfigMap", b"\x0b"), "wire type 3"),
        (envelope("v1", "ConfigMap", b"\x80" * 12), "does not end"),
    ],
)
def test_malformed_protobuf_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(KubeError, match=words) as error:
        protobuf.decode(data)
    assert error.value.code == 400


@given(st.binary(max_size=80), st.sampled_from(["Pod", "Service", "Event", "ConfigMap"]))
def test_any_bytes_are_an_object_or_a_refusal(data: bytes, kind: str) -> None:
    with contextlib.suppress(KubeError):
        json.dumps(protobuf.decode(envelope("v1", kind, data)))


# -- JSON and YAML --------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text("abc xyz:#-0'\"", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abcdef", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("depth", range(100, 2000, 100))
@pytest.mark.parametrize("kind", ["application/json", "application/yaml"])
def test_bodies_of_any_depth_are_read_or_refused(depth: int, kind: str) -> None:
    for text in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        with contextlib.suppress(KubeError):
            body.read(text, kind)


@pytest.mark.parametrize(
    "text", ["a: !!bool x", "a: !!int ''", "a: !!timestamp x", "a: !!omap [b: c]", "a: !!set {b}"]
)
def test_a_tag_that_its_text_does_not_keep_is_refused(text: str) -> None:
    with pytest.raises(KubeError, match="error parsing YAML"):
        body.read(text.encode(), "application/yaml")


def test_a_time_of_day_is_text_as_in_go() -> None:
    assert body.read(b"{a: 12:30, b: 1:2:3.5, c: 5}", "application/yaml")[0] == {
        "a": "12:30", "b": "1:2:3.5", "c": 5,
    }  # fmt: skip


def test_a_body_is_no_larger_than_an_api_server_takes() -> None:
    large = json.dumps({"data": {"a": "x" * (2 * 2**20)}}).encode()
    assert body.read(large, "application/apply-patch+yaml") == body.read(large, "application/json")
    for text, kind in ((large + b" " * 2**20, "application/json"), (b"a: " + large, body.APPLY[0])):
        with pytest.raises(KubeError, match="Request entity too large") as refusal:
            body.read(text, kind)
        assert refusal.value.code == 413


@given(VALUES)
def test_json_and_yaml_say_the_same(value: Any) -> None:
    text = json.dumps(value).encode()
    assert body.read(text, "application/json; charset=utf-8") == (value, [])
    dumped = yaml.safe_dump(value).encode()
    assert body.read(dumped, "application/yaml") == (value, [])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b'{"a":{"b":1,"b":2,"c":[{"d":1,"d":3}]},"a2":1}', "application/json"),
        (b"a:\n  b: 1\n  b: 2\n  c:\n  - d: 1\n    d: 3\na2: 1\n", "application/yaml"),
    ],
)
def test_of_a_repeated_key_the_last_counts_and_the_path_is_told(text: bytes, kind: str) -> None:
    value, repeated = body.read(text, kind)
    assert value == {"a": {"b": 2, "c": [{"d": 3}]}, "a2": 1}
    assert repeated == ["a.b", "a.c[0].d"]


def test_yaml_dates_and_odd_keys_are_text() -> None:
    value, _ = body.read(b"day: 2026-01-02\n1: one\ntrue: yes\n", "application/yaml")
    assert value == {"day": "2026-01-02", "1": "one", "true": True}


@pytest.mark.parametrize(
    "text",
    [
        b"a: &x [1]\nb: *x\n",
        b"a: !!python/object/apply:os.getcwd []\n",
        b"a: [1\n",
        b"a: .nan\n",
        b"[" * 5000,
        b"\xff\xfe\x00",
    ],
)
def test_yaml_that_could_do_harm_is_refused(text: bytes) -> None:
    with pytest.raises(KubeError) as error:
        body.read(text, "application/yaml")
    assert error.value.code == 400


@pytest.mark.parametrize("kind", ["application/json", "application/apply-patch+yaml"])
def test_surrogates_become_unicode(kind: str) -> None:
    value, _ = body.read(rb'{"pair": "\ud83d\ude00", "\ud800": "a\udc00"}', kind)
    assert value == {"pair": "\U0001f600", "\ufffd": "a\ufffd"}


@pytest.mark.parametrize("text", [b"{", b"[" * 100_000, b'{"a":NaN}', b"\xff", b'{"a":1}x'])
def test_json_that_cannot_be_read_is_refused(text: bytes) -> None:
    with pytest.raises(KubeError) as error:
        body.read(text, "application/json")
    assert error.value.code == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/cbor", "multipart/form-data"])
def test_other_media_types_are_not_taken(kind: str) -> None:
    with pytest.raises(KubeError) as error:
        body.read(b"{}", kind)
    assert error.value.code == 415


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_numbers_that_json_cannot_write_are_refused(number: str) -> None:
    with pytest.raises(KubeError, match="error decoding the body"):
        body.read(f'{{"a": {number}}}'.encode(), "application/json")
