"""What a write changed, as ``path: old -> new`` lines.

Server-set fields are left out: they change with every write and say nothing. Not here: the diff
of the whole namespace at the end of a trial (``orchestrator``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_SERVER_SET = frozenset({"resourceVersion", "generation", "managedFields", "uid", "status"})
_LONGEST = 160


def differences(before: Any, after: Any) -> list[str]:
    """Return the changed leaves in the order of the new object."""
    return [f"  {path}: {_brief(old)} -> {_brief(new)}" for path, old, new in _walk(before, after)]


def _walk(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, old, new); list items with a ``name`` are compared by it."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*after, *(k for k in before if k not in after)]
        for key in keys:
            if key not in _SERVER_SET:
                yield from _walk(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif _named(before) and _named(after):
        old = {item["name"]: item for item in before}
        new = {item["name"]: item for item in after}
        for name in [*new, *(n for n in old if n not in new)]:
            yield from _walk(old.get(name), new.get(name), f"{path}[{name}]")
    elif before != after:
        yield path, before, after


def _named(items: Any) -> bool:
    """Say whether this is a list of objects with unique names."""
    if not isinstance(items, list) or not all(isinstance(i, dict) and "name" in i for i in items):
        return False
    return len({i["name"] for i in items}) == len(items)


def _brief(value: Any) -> str:
    text = "(absent)" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
