"""The difference of two objects as lines people read: ``path: old -> new``.

The one form in which change logs, tools and evidence say what changed. Not here: what to compare;
callers leave out what says nothing (:data:`SERVER_SET`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

SERVER_SET = frozenset({"resourceVersion", "generation", "managedFields", "uid", "status"})
"""Fields that change with every write and say nothing about it."""
_LONGEST = 160


def difference(old: Any, new: Any, path: str = "", *, skip: Collection[str] = ()) -> list[str]:
    """Return one line for every leaf that differs, in sorted order of paths.

    Items of lists are compared by their ``name`` where all have one, else by position if the
    lists are equally long; other lists are compared as a whole. Leaves are JSON, cut if long.

    Args:
        old: The value before; None is absent.
        new: The value after.
        path: What both stand at.
        skip: Keys that are left out wherever they occur.
    """
    changed = _walk(old, new, path, frozenset(skip))
    return [f"{at}: {_leaf(before)} -> {_leaf(after)}" for at, before, after in changed]


def _walk(old: Any, new: Any, path: str, skip: frozenset[str]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, old, new) of the leaves that differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new} - skip):
            at = f"{path}.{key}" if path else key
            yield from _walk(old.get(key), new.get(key), at, skip)
    elif _named(old) and _named(new):
        was, now = ({item["name"]: item for item in items} for items in (old, new))
        for name in [*now, *(n for n in was if n not in now)]:
            yield from _walk(was.get(name), now.get(name), f"{path}[{name}]", skip)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _walk(before, after, f"{path}[{index}]", skip)
    elif old != new:
        yield path, old, new


def _named(items: Any) -> bool:
    """Say whether this is a list of objects with unique names."""
    if not isinstance(items, list) or not all(isinstance(i, dict) and "name" in i for i in items):
        return False
    return len({str(item["name"]) for item in items}) == len(items)


def _leaf(value: Any) -> str:
    text = "(absent)" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
