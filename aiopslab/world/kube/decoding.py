"""Reading a request's body as its kind: strict about field names and types.

What passes here has the shape the schema promises, so no controller ever meets a string where a
number belongs. Texts are those of the API server's decoder. Neighbours: ``schema`` (fields),
``validation`` (whether the values are acceptable).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from aiopslab.models.timestamps import unix
from aiopslab.world.kube import kinds, versions
from aiopslab.world.kube.errors import bad_request, invalid_patch, no_match
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object
from aiopslab.world.kube.options import WRITE, WriteOptions
from aiopslab.world.kube.patches import patching
from aiopslab.world.kube.quantity import QuantityError, parse
from aiopslab.world.kube.schema import Field, Message, message

_GO_TYPES = {
    "s": "string",
    "b": "bool",
    "i32": "int32",
    "i64": "int64",
    "f": "float64",
    "y": "[]uint8",
    "t": "v1.Time",
}
_YEAR_1 = -62135596800.0
_LIMITS = {"i32": 2**31, "i64": 2**63, "ios": 2**31}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


MAX_DEPTH = 100
"""Levels of nesting a request may have; the deepest kind has about twenty."""


class DecodeError(Exception):
    """The object does not have the shape of its kind; the message is the API server's."""


def decode(kind: Kind, obj: Any, options: WriteOptions = WRITE) -> Object:
    """Return a copy of the object with nulls dropped, after checking every field's name and type.

    Unknown fields are refused, or dropped, as ``options.validation`` says.

    Raises:
        DecodeError: The first wrong type, or all unknown fields.
    """
    decoder = _Decoder()
    result: Object = decoder.message(obj, message(kind.schema), "", "")
    problems = [f'unknown field "{path}"' for path in decoder.unknown]
    if problems and options.validation == "Strict":
        raise DecodeError(f"strict decoding error: {', '.join(problems)}")
    if options.validation == "Warn":
        for problem in problems:
            options.warn(problem)
    return result


class _Decoder:
    """One pass over an object. ``path`` has list indexes, ``go_path`` has not, as in Go."""

    def __init__(self) -> None:
        self.unknown: list[str] = []

    def message(self, value: Any, schema: Message, path: str, go_path: str) -> Object:
        if not isinstance(value, dict):
            raise _mistyped(value, schema.go_name, go_path, f"v1.{schema.go_name}")
        result: Object = {}
        for name, item in value.items():
            field = schema.fields.get(name)
            inner = f"{path}.{name}" if path else str(name)
            if field is None:
                self.unknown.append(inner)
            elif item is not None:
                dotted = f"{go_path}.{name}" if go_path else name
                result[name] = self.value(item, field, inner, (schema.go_name, dotted))
        return result

    def value(self, value: Any, field: Field, path: str, at: tuple[str, str]) -> Any:
        match field.type:
            case "o":
                return self.message(value, message(field.ref), path, at[1])
            case "l" if field.item is not None:
                if not isinstance(value, list):
                    raise _mistyped(value, *at, f"[]{_go_type(field.item)}")
                return [
                    self.value(item, field.item, f"{path}[{index}]", at)
                    for index, item in enumerate(value)
                    if item is not None
                ]
            case "m" if field.item is not None:
                if not isinstance(value, dict):
                    raise _mistyped(value, *at, f"map[string]{_go_type(field.item)}")
                return {
                    str(key): self.value(item, field.item, f"{path}.{key}", at)
                    for key, item in value.items()
                    if item is not None
                }
            case "any":
                return value
            case _:
                _check_scalar(value, field, at)
                return value


def _is_time(text: str) -> bool:
    """Whether a text is a time of RFC 3339 that a calendar has."""
    try:
        return _TIME.fullmatch(text) is not None and unix(text) >= _YEAR_1
    except (ValueError, OverflowError):
        return False


def _check_scalar(value: Any, field: Field, at: tuple[str, str]) -> None:
    """Raise DecodeError unless a scalar has the type of its field."""
    kind = field.type
    if kind == "b":
        fits = isinstance(value, bool)
    elif kind == "ios" and isinstance(value, str):
        fits = True
    elif kind in _LIMITS:
        limit = _LIMITS[kind]
        fits = isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit
    elif kind == "f":
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif kind == "q":
        fits = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    else:
        fits = isinstance(value, str)
    if not fits:
        raise _mistyped(value, *at, _go_type(field))
    if kind == "q":
        try:
            parse(value)
        except QuantityError as error:
            raise DecodeError(str(error)) from error
    elif kind == "t" and not _is_time(value):
        raise DecodeError(
            f'parsing time {json.dumps(value)} as "2006-01-02T15:04:05Z07:00": '
            f'cannot parse {json.dumps(value)} as "2006"'
        )
    elif kind == "y":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DecodeError("illegal base64 data at input byte 0") from error


def _go_type(field: Field) -> str:
    if field.type == "o":
        return f"v1.{message(field.ref).go_name}"
    return {"ios": "intstr.IntOrString", "q": "resource.Quantity"}.get(
        field.type, _GO_TYPES.get(field.type, "interface {}")
    )


def _mistyped(value: Any, struct: str, path: str, wanted: str) -> DecodeError:
    if isinstance(value, bool):
        found = "bool"
    elif isinstance(value, (int, float)):
        # Go prints the literal only when a number was wanted and this one does not fit.
        found = f"number {value}" if wanted in ("int32", "int64") else "number"
    else:
        names = ((dict, "object"), (list, "array"), (str, "string"))
        found = next((name for type_, name in names if isinstance(value, type_)), "null")
    target = f"struct field {struct}.{path}" if path else "value"
    return DecodeError(f"json: cannot unmarshal {found} into Go {target} of type {wanted}")


def check_depth(value: Any) -> None:
    """Refuse what is nested deeper than any kind is, before anything walks it.

    Raises:
        KubeError: 400.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise bad_request("json: exceeded max depth")


def kind_of(obj: Any) -> Kind:
    """Find the kind an object says it is, in the version it speaks.

    Raises:
        KubeError: 400, it does not say, or the kind is not served.
    """
    name, version = type_of(obj)
    kind = versions.spoken(name, version)
    if kind is None:
        raise no_match(name, version)
    return kind


def type_of(obj: Any) -> tuple[str, str]:
    """Return the kind and the version that an object says it is.

    Raises:
        KubeError: 400, it does not say.
    """
    if not isinstance(obj, dict):
        raise bad_request("the body is not an object")
    name, version = obj.get("kind"), obj.get("apiVersion")
    if not name or not version:
        missing = "Kind" if not name else "apiVersion"
        raise bad_request(f"Object '{missing}' is missing in the request")
    return str(name), str(version)


def read(kind: Kind, obj: Object, options: WriteOptions = WRITE) -> Object:
    """Decode the body of a create or replace; returns it in the version that is stored.

    Raises:
        KubeError: 400 with the decoder's words.
    """
    check_depth(obj)
    try:
        return _stored(kind, decode(kind, obj, options))
    except DecodeError as error:
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {error}'
        ) from error


def _stored(kind: Kind, obj: Object) -> Object:
    """Return a decoded object in the version that is stored.

    Raises:
        DecodeError: What annotations carried from one version to the other has not its shape.
    """
    stored = versions.store(obj)
    return obj if stored is obj else decode(kinds.BY_KIND[kind.kind], stored)


def read_patched(kind: Kind, obj: Any, patch: Any, options: WriteOptions = WRITE) -> Object:
    """Decode the result of a patch; returns it in the version that is stored.

    Raises:
        KubeError: 422 with the patch and the decoder's words.
    """
    check_depth(obj)
    try:
        return _stored(kind, decode(kind, obj, options))
    except DecodeError as error:
        detail = f"patch: Invalid value: {patching.quote(patch)}: {error}"
        raise invalid_patch(detail) from error
