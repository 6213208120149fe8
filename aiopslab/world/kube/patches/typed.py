"""Objects as sets of fields: what an object has, what a change did, merging and removing.

The operations of server-side apply on one object and its schema, after the published
specification (KEP 555; the semantics of ``sigs.k8s.io/structured-merge-diff``): lists are atomic,
sets, or maps by key; messages and maps are granular unless the schema calls them atomic. Pure: no
argument is changed. Neighbours: ``fieldsets`` (paths), ``ownership`` (whose fields they are).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiopslab.world.kube.objects import Object, clone
from aiopslab.world.kube.patches import fieldsets
from aiopslab.world.kube.patches.fieldsets import FieldSet, Path
from aiopslab.world.kube.schema import ANY, Field, message

_ALWAYS_THERE = frozenset(
    {
        ("f:metadata",),
        ("f:spec",),
        ("f:status",),
        *(
            (*prefix, *rest)
            for prefix in ((), ("f:spec", "f:jobTemplate"))
            for rest in (
                ("f:metadata",),
                ("f:spec",),
                ("f:spec", "f:template"),
                ("f:spec", "f:template", "f:metadata"),
                ("f:spec", "f:template", "f:spec"),
                ("f:spec", "f:template", "f:spec", "f:containers"),
                ("f:spec", "f:containers"),
                ("f:spec", "f:strategy"),
                ("f:spec", "f:updateStrategy"),
            )
        ),
        ("f:spec", "f:jobTemplate"),
        ("f:spec", "f:resources"),
        ("f:status", "f:loadBalancer"),
    }
)
"""Fields the server's own types always have, so that no writer adds or removes them as such."""


class SchemaError(Exception):
    """The object does not fit its schema; the message names the field."""


@dataclass(slots=True)
class Comparison:
    """How a new object differs from an old one."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)


def root(schema: str) -> Field:
    """Return the field that a whole object of a message is."""
    return Field("o", ref=schema, map_type="granular")


def field_set(obj: Any, schema: Field) -> FieldSet:
    """Return the fields an applied configuration speaks of.

    Raises:
        SchemaError: A field is unknown, or an item lacks its key or occurs twice.
    """
    found: set[Path] = set()
    _fields(obj, schema, (), found)
    return frozenset(found)


def _fields(value: Any, schema: Field, path: Path, found: set[Path]) -> None:
    if schema.atomic or not value:
        found.add(path)
    elif schema.type == "l":
        for element, item in _items(value, schema, path).items():
            found.add((*path, element))
            if schema.map_keys:
                _fields(item, schema.item or ANY, (*path, element), found)
    else:
        for name, item in _entries(value, path).items():
            _fields(item, _child(schema, name, path), (*path, f"f:{name}"), found)


def _child(schema: Field, name: str, path: Path) -> Field:
    if schema.type == "m":
        return schema.item or ANY
    found = message(schema.ref).fields.get(name)
    if found is None:
        raise SchemaError(f"{fieldsets.show((*path, f'f:{name}'))}: field not declared in schema")
    return found


def _entries(value: Any, path: Path) -> Object:
    if not isinstance(value, dict):
        raise SchemaError(f"{fieldsets.show(path)}: expected map, got {_shape(value)}")
    return value


def _shape(value: Any) -> str:
    return {list: "list", str: "string", bool: "boolean"}.get(type(value), "number")


def _items(value: Any, schema: Field, path: Path) -> dict[str, Any]:
    """Return the items of a list by their elements."""
    if not isinstance(value, list):
        raise SchemaError(f"{fieldsets.show(path)}: expected list, got {_shape(value)}")
    found: dict[str, Any] = {}
    for index, item in enumerate(value):
        at = f"{fieldsets.show(path)}: element {index}"
        if schema.map_keys and not isinstance(item, dict):
            raise SchemaError(f"{at}: associative list with keys has an element that is not a map")
        try:
            element = fieldsets.element_of(item, schema.map_keys)
        except KeyError as error:
            words = "associative list with keys has an element that omits key field"
            raise SchemaError(f'{at}: {words} "{error.args[0]}"') from error
        if element in found:
            shown = fieldsets.show((element,))
            raise SchemaError(f"{fieldsets.show(path)}: duplicate entries for key {shown}")
        found[element] = item
    return found


def _loose_items(value: Any, schema: Field) -> dict[str, Any]:
    """As :func:`_items` of an object that is stored: the first of several items counts."""
    found: dict[str, Any] = {}
    for item in value or ():
        try:
            found.setdefault(fieldsets.element_of(item, schema.map_keys), item)
        except KeyError:
            continue  # stored before its key was required: nobody can own it
    return found


# -- comparing ------------------------------------------------------------------------------------


def compare(old: Any, new: Any, schema: Field) -> Comparison:
    """Return the fields that were added, modified and removed; None stands for nothing at all."""
    result = Comparison()
    _compare(old, new, schema, (), result)
    return result


def _compare(old: Any, new: Any, schema: Field, path: Path, result: Comparison) -> None:
    if old is new or old == new:
        return
    if schema.atomic or (not old and not new):
        _note(old, new, path, result)
        if schema.atomic and old is not None and new is not None:
            result.modified.add(path)
        return
    if schema.type == "l":
        _compare_items(old, new, schema, path, result)
    else:
        was, now = old or {}, new or {}
        for name in {**was, **now}:
            child = _known(schema, name)
            _compare(was.get(name), now.get(name), child, (*path, f"f:{name}"), result)
    if path and path not in _ALWAYS_THERE:
        _note(old, new, path, result)


def _note(old: Any, new: Any, path: Path, result: Comparison) -> None:
    """Note a field that came or went as a whole."""
    if old is None:
        result.added.add(path)
    elif new is None:
        result.removed.add(path)


def _compare_items(old: Any, new: Any, schema: Field, path: Path, result: Comparison) -> None:
    was, now = _loose_items(old, schema), _loose_items(new, schema)
    for element in {**was, **now}:
        at, a, b = (*path, element), was.get(element), now.get(element)
        if schema.map_keys:
            _compare(a, b, schema.item or ANY, at, result)
        else:
            _note(a, b, at, result)


def _known(schema: Field, name: str) -> Field:
    """As :func:`_child`, for stored objects."""
    if schema.type == "m":
        return schema.item or ANY
    return message(schema.ref).fields.get(name, ANY)


# -- merging and removing -------------------------------------------------------------------------


def merge(live: Any, config: Any, schema: Field) -> Any:
    """Return the live value with an applied configuration laid over it."""
    if live is None or schema.atomic:
        return clone(config)
    if schema.type == "l":
        return _merge_items(live, config, schema)
    result = dict(live)
    for name, value in config.items():
        result[name] = merge(result.get(name), value, _known(schema, name))
    return result


def _merge_items(live: list[Any], config: list[Any], schema: Field) -> list[Any]:
    """Merge two lists: the order of the configuration, other items before what they preceded."""
    mine, theirs = _loose_items(config, schema), _loose_items(live, schema)
    waiting = deque(theirs)
    merged: list[Any] = []
    for element, item in mine.items():
        while waiting and waiting[0] not in mine:
            merged.append(theirs[waiting.popleft()])
        if waiting and waiting[0] == element:
            waiting.popleft()
        if element in theirs and schema.map_keys:
            merged.append(merge(theirs[element], item, schema.item or ANY))
        else:
            merged.append(clone(item))
    return [*merged, *(theirs[element] for element in waiting if element not in mine)]


def remove(value: Any, gone: FieldSet, schema: Field) -> Any:
    """Return the value without the fields of a set; None if nothing is left of it."""
    return _remove(value, gone, fieldsets.prefixes(gone), schema, ())


def _remove(value: Any, gone: FieldSet, above: FieldSet, schema: Field, path: Path) -> Any:
    if path in gone:
        return None
    if schema.atomic or not value or path not in above:
        return value
    if schema.type == "l":
        items = _loose_items(value, schema)
        child = schema.item or ANY if schema.map_keys else ANY
        kept = {e: _remove(item, gone, above, child, (*path, e)) for e, item in items.items()}
        result: Any = [item for item in kept.values() if item is not None]
    else:
        named = {
            name: _remove(item, gone, above, _known(schema, name), (*path, f"f:{name}"))
            for name, item in value.items()
        }
        result = {name: item for name, item in named.items() if item is not None}
    return result or None
