"""Whether a decoded object's values are acceptable, in the API server's words.

:func:`check` walks an object with the schema and applies what ``rules`` says about each message,
plus what the schema itself knows: required fields and duplicate list keys. Neighbours:
``decoding`` (shape), ``immutability`` (what an update may change).
"""

from __future__ import annotations

import json
from typing import Any

from aiopslab.world.kube.errors import Cause
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object
from aiopslab.world.kube.schema import KEY_DEFAULTS, Field, Message, message
from aiopslab.world.kube.validation import rules, syntax


def check(kind: Kind, obj: Object, *, status: bool = False) -> list[Cause]:
    """Return everything that makes a decoded object unacceptable; empty if nothing does.

    The status is looked at only if asked for: as a rule the cluster wrote it.
    """
    causes = syntax.check_name(kind, obj["metadata"]["name"])
    for name, field in message(kind.schema).fields.items():
        if name in obj and (status or name != "status"):
            _walk(obj[name], field, name, causes)
    causes += _missing(obj, message(kind.schema), "")
    rule = rules.RULES.get(kind.schema)
    if rule is not None:
        causes += rule(obj, "")
    return causes


def _walk(value: Any, field: Field, path: str, causes: list[Cause]) -> None:
    if field.type == "l" and field.item is not None:
        _check_unique(value, field, path, causes)
        for index, item in enumerate(value):
            _walk(item, field.item, f"{path}[{index}]", causes)
    elif field.type == "m" and field.item is not None and field.item.type in ("o", "l"):
        for key, item in value.items():
            _walk(item, field.item, f"{path}[{key}]", causes)
    elif field.type == "o":
        schema = message(field.ref)
        causes += _missing(value, schema, path)
        for name, item in value.items():
            _walk(item, schema.fields[name], f"{path}.{name}", causes)
            allowed = rules.ENUMS.get((schema.name, name))
            if allowed is not None:
                causes += syntax.check_enum(item, allowed, f"{path}.{name}")
        rule = rules.RULES.get(schema.name)
        if rule is not None:
            causes += rule(value, path)


def _missing(value: Object, schema: Message, path: str) -> list[Cause]:
    return [
        Cause(f"{path}.{name}" if path else name, "Required value")
        for name in schema.required
        if value.get(name) in (None, "") and (schema.name, name) not in rules.MAY_BE_EMPTY
    ]


def _check_unique(items: list[Any], field: Field, path: str, causes: list[Cause]) -> None:
    """Report items of a list-map or list-set that occur twice."""
    if not field.map_keys and not field.is_set:
        return
    seen: set[str] = set()
    for index, item in enumerate(items):
        key: Any = item
        if field.map_keys:
            key = {k: item.get(k, KEY_DEFAULTS.get(k)) for k in field.map_keys}
            if any(v is None for v in key.values()):
                continue
            if len(key) == 1:
                key = next(iter(key.values()))
        text = json.dumps(key, sort_keys=True, separators=(",", ":"))
        if text in seen:
            at = f"{path}[{index}]"
            if len(field.map_keys) == 1:
                at += f".{field.map_keys[0]}"
            causes.append(Cause(at, f"Duplicate value: {text}"))
        seen.add(text)
