"""The difference of two objects as lines people read: ``path: old -> new``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def difference(old: Any, new: Any, path: str = "") -> list[str]:
    """Return one line for every leaf that differs, in sorted order of paths.

    Lists of equal length are compared item by item, others as a whole. A missing leaf is None.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            line
            for key in sorted({*old, *new})
            for line in difference(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for i, (a, b) in pairs for line in difference(a, b, f"{path}[{i}]")]
    return [] if old == new else [f"{path}: {_leaf(old)} -> {_leaf(new)}"]


def _leaf(value: Any) -> str:
    return "(none)" if value is None else repr(value)
