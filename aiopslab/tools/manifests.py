"""Reading manifests and patches that an agent wrote: JSON, or YAML that stands for JSON.

What YAML has beyond JSON is read the way Kubernetes reads it: keys are text, dates stay text.
Text that would unfold into something huge (aliases of aliases) or that contains itself is refused.
Not here: whether the API accepts the objects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import count
from typing import Any

import yaml

_DEPTH = 100
_NODES = 50_000
"""Values of one document, aliases unfolded; a cluster's largest object has a few thousand."""

_BITS = 1024
"""Of a whole number: more does not fit a floating point number, which is what JSON's are."""
_TOO_LARGE = "it holds too large a number"


class ManifestError(ValueError):
    """The text is no manifest; says why."""


class _Loader(yaml.SafeLoader):
    """YAML without dates, and without numbers to the base of 60: 12:30 is a text."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and implicit[0] and ":" in value:
            return self.DEFAULT_SCALAR_TAG
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # no stubs


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rx) for tag, rx in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(text: str) -> list[Any]:
    """Return the documents of a text as JSON values, empty documents left out.

    Raises:
        ManifestError: It is neither JSON nor YAML, or does not stand for JSON.
    """
    try:
        loaded = _loaded(text)
    except RecursionError as error:
        raise ManifestError("it is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ManifestError(f"it is neither JSON nor YAML: {error}") from error
    return [_json(document, count(), 0) for document in loaded if document is not None]


def _loaded(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        # The loader is a SafeLoader: it builds plain values only.
        return list(yaml.load_all(text, Loader=_Loader))


def _json(value: Any, nodes: Iterator[int], depth: int) -> Any:
    """Copy a value, keys as text."""
    if next(nodes) >= _NODES or depth > _DEPTH:
        raise ManifestError("it is too large or contains itself")
    match value:
        case dict():
            return {_key(k): _json(v, nodes, depth + 1) for k, v in value.items()}
        case list():
            return [_json(v, nodes, depth + 1) for v in value]
        case str():
            return _text(value)
        case int() if value.bit_length() > _BITS:
            raise ManifestError(_TOO_LARGE)
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case _:
            raise ManifestError(f"{value!r:.80} does not exist in JSON")


def _text(text: str) -> str:
    """Return a text that can be written down; halves of characters become U+FFFD, as in Go."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(key)
    if isinstance(key, int) and key.bit_length() > _BITS:
        raise ManifestError(_TOO_LARGE)
    if isinstance(key, bool | int | float):
        return json.dumps(key)
    raise ManifestError(f"{key!r:.80} cannot be a key in JSON")
