"""Strategic merge patch: a merge patch that knows the lists of each kind.

Lists whose schema says so merge by key instead of being replaced; directives steer it:

* ``$patch: replace | delete | merge`` in a map or list item;
* ``$retainKeys: [a, b]``: drop the map's other keys;
* ``$setElementOrder/<list>``: order of the merged list;
* ``$deleteFromPrimitiveList/<list>``: remove scalars.

Items a patch adds come *before* the existing ones unless an order is given: that is what the real
server does, and it matters for environment variables that refer to each other. Pure. Neighbours:
``schema`` (merge keys), ``mergepatch``, ``jsonpatch``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiopslab.world.kube.objects import clone
from aiopslab.world.kube.schema import ANY, Field, Message, message

_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


class StrategicPatchError(Exception):
    """The patch cannot be applied; the message is the API server's."""


def apply(document: dict[str, Any], patch: Any, schema: Message) -> dict[str, Any]:
    """Return the document with the patch applied; neither argument is changed.

    Raises:
        StrategicPatchError: An item without its merge key, an unknown directive, wrong shapes.
    """
    if not isinstance(patch, dict):
        raise StrategicPatchError("cannot unmarshal a strategic merge patch that is not an object")
    return _merge_map(document, patch, schema)


def _merge_map(
    current: dict[str, Any], patch: dict[str, Any], schema: Message | None
) -> dict[str, Any]:
    directive = patch.get("$patch")
    if directive == "replace":
        return _plain_map(patch)
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise StrategicPatchError(f"unknown patch type: {directive}")
    result = dict(current)
    if "$retainKeys" in patch:
        retained = _expect_list(patch["$retainKeys"])
        result = {k: v for k, v in result.items() if k in retained}
    for name in _fields_touched(patch):
        field = schema.fields.get(name, ANY) if schema else ANY
        value = _merge_field(result.get(name), patch, name, field)
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


def _fields_touched(patch: dict[str, Any]) -> list[str]:
    """List the fields that keys and directives of a patch name, each once, in order."""
    names: dict[str, None] = {}
    for key in patch:
        if key in ("$patch", "$retainKeys"):
            continue
        names[key.removeprefix(_ORDER).removeprefix(_DELETE)] = None
    return list(names)


def _merge_field(current: Any, patch: dict[str, Any], name: str, field: Field) -> Any:
    """Return the new value of one field; None removes it."""
    order = patch.get(_ORDER + name)
    removed = patch.get(_DELETE + name)
    if name in patch and patch[name] is None:
        return None
    if field.type == "l" and field.merges:
        change = _expect_list(patch.get(name, []))
        items = current if isinstance(current, list) else []
        if field.merge_key:
            return _merge_items(items, change, field, order)
        return _merge_scalars(items, change, removed, order)
    if name not in patch:
        return current
    change = patch[name]
    if isinstance(change, dict):
        base = current if isinstance(current, dict) else {}
        return _merge_map(base, change, message(field.ref) if field.type == "o" else None)
    return _plain(change)


def _merge_scalars(current: list[Any], change: list[Any], removed: Any, order: Any) -> list[Any]:
    gone = {_text(value) for value in _expect_list(removed)} if removed is not None else set()
    left = [value for value in current if _text(value) not in gone]
    kept = list({_text(value): value for value in [*left, *change]}.values())
    if order is None:
        return kept
    return _in_order(kept, [_text(value) for value in _expect_list(order)], _text)


def _merge_items(
    current: list[Any], change: list[Any], field: Field, order: Any
) -> list[dict[str, Any]]:
    key = field.merge_key
    schema = message(field.item.ref) if field.item and field.item.type == "o" else None
    if any(_item(item).get("$patch") == "replace" for item in change):
        return [_plain(i) for i in change if _item(i).get("$patch") != "replace"]
    merged = {item[key]: item for item in current if key in item}
    added: dict[Any, dict[str, Any]] = {}
    for raw in change:
        item = _item(raw)
        if key not in item or isinstance(item[key], (dict, list)):
            raise StrategicPatchError(
                f"map: {_go_map(item)} does not contain declared merge key: {key}"
            )
        if item.get("$patch") == "delete":
            merged.pop(item[key], None)
        elif item[key] in merged:
            merged[item[key]] = _merge_map(merged[item[key]], item, schema)
        else:
            base = added.get(item[key], {})
            added[item[key]] = _merge_map(base, item, schema)
    items = [*added.values(), *merged.values()]
    if order is None:
        return items
    wanted = [_text(_item(entry).get(key)) for entry in _expect_list(order)]
    return _in_order(items, wanted, lambda item: _text(item[key]))


def _in_order(items: list[Any], wanted: list[str], key_of: Callable[[Any], str]) -> list[Any]:
    """Order items as wanted; those not named keep their place after their predecessor."""
    rank = {value: position for position, value in enumerate(wanted)}
    runs: list[list[Any]] = [[]]  # each begins with a named item, but for the first
    for item in items:
        if key_of(item) in rank:
            runs.append([])
        runs[-1].append(item)
    runs[1:] = sorted(runs[1:], key=lambda run: rank[key_of(run[0])])
    return [item for run in runs for item in run]


def _text(value: Any) -> str:
    """Return what identifies a scalar."""
    return json.dumps(value, sort_keys=True)


def _plain_map(value: dict[str, Any]) -> dict[str, Any]:
    return {k: _plain(v) for k, v in value.items() if v is not None and not k.startswith("$")}


def _plain(value: Any) -> Any:
    """Copy a value that has nothing to merge with: directives and nulls mean nothing there."""
    if isinstance(value, dict):
        return _plain_map(value)
    if isinstance(value, list):
        kept = (i for i in value if not (isinstance(i, dict) and i.get("$patch") == "delete"))
        return [_plain(item) for item in kept]
    return clone(value)


def _expect_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise StrategicPatchError(f"expected a list, got {value!r}")
    return value


def _item(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StrategicPatchError(f"expected an object as list item, got {value!r}")
    return value


def _go_map(value: Any) -> str:
    """Print a value the way Go prints ``map[string]interface{}``."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{k}:{_go_map(v)}' for k, v in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_go_map, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
