"""Sets of fields of an object: paths, their FieldsV1 form, and how messages print them.

A path is a tuple of elements in the words of FieldsV1: ``f:name`` a field, ``k:{...}`` an item of
a list of maps by its keys, ``v:...`` a member of a set. Pure. Neighbours: ``typed`` finds the
fields of objects, ``ownership`` says whose they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from aiopslab.world.kube.schema import KEY_DEFAULTS

Path = tuple[str, ...]
FieldSet = frozenset[Path]

EMPTY: FieldSet = frozenset()
_ITSELF = "."


class FieldsError(Exception):
    """Not a FieldsV1 value."""


def element_of(item: Any, keys: tuple[str, ...]) -> str:
    """Return the element of a list item: by its keys, or (without keys) its value.

    Raises:
        KeyError: The item lacks a key that has no default.
    """
    if not keys:
        return f"v:{_json(item)}"
    return f"k:{_json({key: _key(item, key) for key in sorted(keys)})}"


def _key(item: Any, key: str) -> Any:
    if key not in item and key in KEY_DEFAULTS:
        return KEY_DEFAULTS[key]
    return item[key]


def to_v1(fields: Iterable[Path]) -> dict[str, Any]:
    """Return the FieldsV1 tree of a set, keys in order."""
    root: dict[str, Any] = {}
    for path in sorted(fields):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node[_ITSELF] = {}
    return _pruned(root)


def _pruned(node: dict[str, Any]) -> dict[str, Any]:
    """Drop the mark of a member that has no fields below it: it is one anyway."""
    if list(node) == [_ITSELF]:
        return {}
    return {key: _pruned(node[key]) for key in sorted(node)}


def from_v1(tree: Any) -> FieldSet:
    """Read a FieldsV1 tree.

    Raises:
        FieldsError: It is not one.
    """
    found: set[Path] = set()
    _collect(tree, (), found)
    return frozenset(found)


def _collect(node: Any, path: Path, found: set[Path]) -> None:
    if not isinstance(node, dict):
        raise FieldsError(f"expected an object at {show(path) or 'the root'}")
    if path and (not node or _ITSELF in node):
        found.add(path)
    for key, child in node.items():
        if key == _ITSELF:
            continue
        if key[:2] not in ("f:", "k:", "v:", "i:"):
            raise FieldsError(f"missing key {key!r}")
        if key[:2] in ("k:", "v:"):
            try:
                json.loads(key[2:])
            except ValueError as error:
                raise FieldsError(f"parsing value of {key!r}") from error
        _collect(child, (*path, key), found)


def with_parents(fields: FieldSet) -> FieldSet:
    """Return the set and every named field above its members."""
    found = set(fields)
    for path in fields:
        for end in range(1, len(path)):
            if path[end - 1].startswith("f:"):
                found.add(path[:end])
    return frozenset(found)


def prefixes(fields: Iterable[Path]) -> FieldSet:
    """Return every path that a member of a set stands at or below."""
    return frozenset(path[:end] for path in fields for end in range(len(path) + 1))


def show(path: Path) -> str:
    """Print a path: ``.spec.containers[name="web"].image``."""
    return "".join(map(_show, path))


def _show(element: str) -> str:
    kind, text = element[:2], element[2:]
    if kind == "f:":
        return f".{text}"
    if kind == "i:":
        return f"[{text}]"
    value = json.loads(text)
    if kind == "v:":
        return f"[={_json(value)}]"
    return f"[{','.join(f'{key}={_json(value[key])}' for key in sorted(value))}]"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
