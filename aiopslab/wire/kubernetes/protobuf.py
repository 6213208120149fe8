r"""Protobuf bodies of typed clients (kubectl's ``create``, ``autoscale``, ``auth``), read as JSON.

The envelope is ``k8s\0`` and a ``runtime.Unknown`` that names the type and holds the object. A
field table derived from the published Go types (``data/README.md``) says what each field is called
and whether a zero in it means something, so the result is what the same client would have sent
as JSON. Not here: encoding; every answer is JSON, which those clients accept too.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from aiopslab.models.kube import KubeError, Object
from aiopslab.models.timestamps import rfc3339

MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_YEAR_10000 = 253402300800


class _Malformed(Exception):
    """The bytes are not what their type says."""


def decode(body: bytes) -> Object:
    """Return the object in a protobuf body, with ``apiVersion`` and ``kind``.

    Raises:
        KubeError: 400; no envelope, unknown type, or malformed bytes.
    """
    if not body.startswith(MAGIC):
        raise _bad("provided data does not appear to be a protobuf message, expected prefix k8s")
    try:
        envelope = dict(_fields(body[len(MAGIC) :]))
        meta = {number: _text(value) for number, value in _fields(_bytes(envelope.get(1, b"")))}
        api_version, kind = meta.get(1, ""), meta.get(2, "")
        key = f"{api_version}.{kind}"
        if kind == "DeleteOptions":
            key = "meta.DeleteOptions"
        if key not in _table():
            raise _bad(f'no kind "{kind}" is registered for version "{api_version}"')
        decoded = _message(_bytes(envelope.get(2, b"")), key)
    except _Malformed as error:
        raise _bad(f"unable to decode a protobuf body: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **decoded}


@cache
def _table() -> dict[str, dict[str, list[Any]]]:
    data = resources.files("aiopslab.wire.kubernetes") / "data" / "protobuf-1.36.json.gz"
    table: dict[str, dict[str, list[Any]]] = json.loads(gzip.decompress(data.read_bytes()))
    return table


def _message(data: bytes, name: str) -> Object:
    known = _table()[name]
    result: Object = {}
    for number, raw in _fields(data):
        field = known.get(str(number))
        if field is None:
            continue  # of a newer client: unknown to this version, as to a real server
        label, type_, *drops_zero = field
        if not label:  # an embedded struct
            result.update(_message(_bytes(raw), type_[1:]))
        elif type_.startswith("l:"):
            result.setdefault(label, []).append(_value(raw, type_[2:]))
        elif type_.startswith("m:"):
            key, value = _entry(_bytes(raw), type_[2:])
            result.setdefault(label, {})[key] = value
        else:
            value = _value(raw, type_)
            if value is not None and not (drops_zero and not value):
                result[label] = value
    return result


def _entry(data: bytes, type_: str) -> tuple[str, Any]:
    """Decode an entry of a map; a missing value is the zero of its type."""
    parts = dict(_fields(data))
    blank: int | bytes = 0 if type_ in ("i", "b") else b""
    return _text(parts.get(1, b"")), _value(parts.get(2, blank), type_)


def _value(raw: int | bytes, type_: str) -> Any:
    if type_.startswith("@"):
        return _message(_bytes(raw), type_[1:])
    if type_.startswith("x:"):  # a named list: a message whose first field repeats
        return [_value(item, type_[4:]) for _, item in _fields(_bytes(raw))]
    return _SCALARS[type_](raw)


def _integer(raw: int | bytes) -> int:
    if not isinstance(raw, int):
        raise _Malformed("a number is not one")
    return raw - 2**64 if raw >= 2**63 else raw


def _bytes(raw: int | bytes) -> bytes:
    if not isinstance(raw, bytes):
        raise _Malformed("a message is a number")
    return raw


def _text(raw: int | bytes) -> str:
    try:
        return _bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise _Malformed("a string is not UTF-8") from error


def _time(raw: int | bytes) -> str | None:
    """Decode a Time or MicroTime; the zero time, which JSON writes as null, is None."""
    parts = dict(_fields(_bytes(raw)))
    seconds = _integer(parts.get(1, 0))
    if not parts:
        return None
    if not 0 <= seconds < _YEAR_10000:
        raise _Malformed("a time is out of range")
    return rfc3339(seconds)


def _micro_time(raw: int | bytes) -> str | None:
    whole = _time(raw)
    nanos = _integer(dict(_fields(_bytes(raw))).get(2, 0))
    return whole and f"{whole.removesuffix('Z')}.{nanos // 1000:06d}Z"


def _int_or_string(raw: int | bytes) -> int | str:
    parts = dict(_fields(_bytes(raw)))
    return _text(parts.get(3, b"")) if parts.get(1) else _integer(parts.get(2, 0))


def _json(raw: int | bytes) -> Any:
    """Decode a RawExtension or FieldsV1: JSON bytes in the first field."""
    text = _text(dict(_fields(_bytes(raw))).get(1, b""))
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        raise _Malformed("an embedded object is not JSON") from error


def _double(raw: int | bytes) -> float:
    value: float = struct.unpack("<d", struct.pack("<Q", _integer(raw) % 2**64))[0]
    return value


_SCALARS: dict[str, Any] = {
    "s": _text,
    "b": lambda raw: bool(_integer(raw)),
    "i": _integer,
    "f": _double,
    "y": lambda raw: base64.b64encode(_bytes(raw)).decode(),
    "t": _time,
    "mt": _micro_time,
    "q": lambda raw: _text(dict(_fields(_bytes(raw))).get(1, b"0")),
    "ios": _int_or_string,
    "raw": _json,
    "fields": _json,
}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Iterate over (number, value) of a message: integers for numbers, bytes for the rest."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise _Malformed(f"wire type {wire}")
        if at + length > len(data):
            raise _Malformed("it ends too early")
        piece = data[at : at + length]
        yield number, piece if wire == _BYTES else int.from_bytes(piece, "little")
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result % 2**64, at
        shift += 7
    raise _Malformed("a number does not end")


def _bad(message: str) -> KubeError:
    return KubeError(400, "BadRequest", message)
