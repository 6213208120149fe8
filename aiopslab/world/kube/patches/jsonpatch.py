"""JSON patch (RFC 6902) on JSON trees.

Pure: the document is not changed, the result shares nothing with it that was touched. Neighbours:
``mergepatch``, ``strategic``, the other patch types of the API server.
"""

from __future__ import annotations

import json
from typing import Any

from aiopslab.world.kube.objects import clone


class JsonPatchError(Exception):
    """The patch is malformed, a path does not exist, or a ``test`` failed."""


class JsonPatchTooLargeError(JsonPatchError):
    """The patch asks for more work than is granted."""


MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 2**20
"""Bytes of JSON that the ``copy`` operations of a patch may add together."""
_SHOWN = 200
"""Characters of an operation that an error shows."""


def apply(document: Any, operations: Any) -> Any:
    """Return the patched document; all operations apply or none.

    Args:
        document: Any JSON value.
        operations: A list of ``{op, path, value | from}``.

    Raises:
        JsonPatchError: With the operation at fault; or there are too many, or they copy too much.
    """
    if not isinstance(operations, list):
        raise JsonPatchError("a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise JsonPatchTooLargeError(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got "
            f"{len(operations)}"
        )
    document, copied = clone(document), 0
    for operation in operations:
        if isinstance(operation, dict) and operation.get("op") == "copy":
            source = _get(document, _pointer(operation, "from"))
            copied += len(json.dumps(source, separators=(",", ":")))
            if copied > MAX_COPIED:
                raise JsonPatchTooLargeError(
                    "Unable to complete the copy, the accumulated size increase of copy is "
                    f"{copied}, exceeding the limit {MAX_COPIED}"
                )
        document = _apply_one(document, operation)
    return document


def _apply_one(document: Any, operation: Any) -> Any:
    if not isinstance(operation, dict):
        raise JsonPatchError(f"not an operation: {_shown(operation)}")
    path = _pointer(operation, "path")
    match operation.get("op"):
        case "add":
            return _add(document, path, clone(_value(operation)))
        case "remove":
            return _remove(document, path)
        case "replace":
            _get(document, path)
            return _replace(document, path, clone(_value(operation)))
        case "move":
            source = _pointer(operation, "from")
            if path[: len(source)] == source and path != source:
                raise JsonPatchError(f"cannot move a value into itself: {operation['path']}")
            moved = _get(document, source)
            return _add(_remove(document, source), path, moved)
        case "copy":
            return _add(document, path, clone(_get(document, _pointer(operation, "from"))))
        case "test":
            if not same(_get(document, path), _value(operation)):
                raise JsonPatchError(f"testing path {operation['path']} value failed")
            return document
        case other:
            raise JsonPatchError(f"unexpected kind: {other}")


def _shown(operation: Any) -> str:
    return repr(operation)[:_SHOWN]


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values: unlike Python's, ``true`` is not ``1``."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(v, right[k]) for k, v in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise JsonPatchError(f"missing value: {_shown(operation)}")
    return operation["value"]


def _pointer(operation: dict[str, Any], key: str) -> list[str]:
    """Split a JSON pointer (RFC 6901) into its unescaped tokens."""
    text = operation.get(key)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise JsonPatchError(f"missing or invalid {key!r}: {_shown(operation)}")
    return [token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:]]


def _index(items: list[Any], token: str, *, end: bool) -> int:
    """Read a list index; ``end`` allows ``-`` and the position behind the last item."""
    if end and token == "-":
        return len(items)
    if not (token.isascii() and token.isdigit()) or (token != "0" and token.startswith("0")):
        raise JsonPatchError(f"not a list index: {token!r}")
    index = int(token)
    if index >= len(items) + end:
        raise JsonPatchError(f"index out of bounds: {index}")
    return index


def _get(document: Any, path: list[str]) -> Any:
    for token in path:
        if isinstance(document, list):
            document = document[_index(document, token, end=False)]
        elif isinstance(document, dict) and token in document:
            document = document[token]
        else:
            raise JsonPatchError(f"path does not exist: /{'/'.join(path)}")
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, token = _get(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(_index(parent, token, end=True), value)
    elif isinstance(parent, dict):
        parent[token] = value
    else:
        raise JsonPatchError(f"path does not exist: /{'/'.join(path)}")
    return document


def _remove(document: Any, path: list[str]) -> Any:
    _get(document, path)
    if not path:
        return None
    parent, token = _get(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[_index(parent, token, end=False)]
    else:
        del parent[token]
    return document


def _replace(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, token = _get(document, path[:-1]), path[-1]
    parent[_index(parent, token, end=False) if isinstance(parent, list) else token] = value
    return document
