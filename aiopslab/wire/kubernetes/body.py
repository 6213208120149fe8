"""Bodies of requests: JSON, YAML or protobuf, as one plain object.

JSON and YAML are read strictly: of a key that occurs twice the last value counts, as in Go, and the
repetition is reported. Not here: whether the object fits its kind (``world.kube.decoding``).
"""

from __future__ import annotations

import json
import math
from typing import Any

import yaml

from aiopslab.models.kube import KubeError, PatchType
from aiopslab.wire.kubernetes import protobuf

PROTOBUF = "application/vnd.kubernetes.protobuf"
APPLY = ("application/apply-patch+yaml", "application/apply-patch+json")
PATCHES: dict[str, PatchType] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}
_YAML_TYPES = ("application/yaml", "application/apply-patch+yaml")
LIMIT = 3 * 2**20
"""Bytes of a body, the API server's own bound."""
_YAML_LIMIT = 2**20
"""Bytes of YAML that is no JSON: reading a mebibyte takes seconds. No stored object is larger."""


def media_type(content_type: str) -> str:
    """Return the media type of a ``Content-Type`` header without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def read(body: bytes, content_type: str) -> tuple[Any, list[str]]:
    """Return the value of a body, and the paths of keys that occur twice in it.

    Raises:
        KubeError: 415 for other media types, 413 for what is too large, 400 for what cannot be
            read.
    """
    kind = media_type(content_type)
    _check_size(body, LIMIT)
    if kind == PROTOBUF:
        return protobuf.decode(body), []
    if kind in _YAML_TYPES:
        return _yaml_or_json(body)
    if kind in ("", "application/json", *APPLY, *PATCHES):
        return _json(body)
    accepted = f"application/json, application/yaml, {PROTOBUF}"
    message = (
        f"the body of the request was in an unknown format - accepted media types include: "
        f"{accepted}"
    )
    raise KubeError(415, "UnsupportedMediaType", message)


def _check_size(body: bytes, limit: int) -> None:
    if len(body) > limit:
        words = f"Request entity too large: limit is {limit}"
        raise KubeError(413, "RequestEntityTooLarge", words)


def _yaml_or_json(body: bytes) -> tuple[Any, list[str]]:
    """Read YAML; what is JSON, as kubectl sends it under this name, in a hundredth of the time."""
    if body.lstrip()[:1] == b"{":
        try:
            return _json(body)
        except KubeError:
            pass  # braces are YAML, too
    _check_size(body, _YAML_LIMIT)
    return _yaml(body)


def _json(body: bytes) -> tuple[Any, list[str]]:
    try:
        value = json.loads(
            body, object_pairs_hook=_Pairs, parse_constant=_no_constant, parse_float=_finite
        )
        repeated: list[str] = []
        return _plain(value, "", repeated), repeated
    except (ValueError, RecursionError) as error:
        text = str(error) or "it is nested too deeply"
        raise KubeError(400, "BadRequest", f"error decoding the body: {text}") from error


class _Pairs(list[tuple[str, Any]]):
    """The members of one JSON object in their order, repetitions included."""


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"number {digits[:40]} out of range")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"invalid character in {name}")


def _plain(value: Any, path: str, repeated: list[str]) -> Any:
    """Turn members into dicts and text into Unicode; note the paths of keys that occur again."""
    if isinstance(value, str):
        return _unicode(value)
    if isinstance(value, _Pairs):
        result: dict[str, Any] = {}
        for name, item in value:
            key = _unicode(name)
            inner = f"{path}.{key}" if path else key
            if key in result:
                repeated.append(inner)
            result[key] = _plain(item, inner, repeated)
        return result
    if isinstance(value, list):
        return [_plain(item, f"{path}[{at}]", repeated) for at, item in enumerate(value)]
    return value


def _unicode(text: str) -> str:
    """Return a text whose escaped surrogates are joined; single ones become U+FFFD, as in Go."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: dates and 12:30 are strings, mappings keep their members.

    Aliases are refused: they can make a small text a huge object, and kubectl resolves them before
    it sends anything.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not accepted")
        return super().compose_node(parent, index)

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and implicit[0] and ":" in value:
            return self.DEFAULT_SCALAR_TAG
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # no stubs


def _members(loader: _Loader, node: yaml.MappingNode) -> _Pairs:
    loader.flatten_mapping(node)
    pairs = _Pairs()
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, bool):
            key = str(key).lower()
        pairs.append((str(key), loader.construct_object(value_node, deep=True)))
    return pairs


_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or not tag.endswith((":omap", ":pairs", ":set", ":timestamp"))
}
_Loader.add_constructor("tag:yaml.org,2002:map", _members)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":timestamp", ":value"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(body: bytes) -> tuple[Any, list[str]]:
    try:
        value = yaml.load(body, _Loader)
        repeated: list[str] = []
        plain = _plain(value, "", repeated)
        json.dumps(plain, allow_nan=False)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, RecursionError) as error:
        # A tag promises what its text is not: each constructor has its own way to fail.
        first = str(error).splitlines()[0] if str(error) else "it is nested too deeply"
        raise KubeError(400, "BadRequest", f"error parsing YAML: {first}") from error
    return plain, repeated
