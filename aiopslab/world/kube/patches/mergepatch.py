"""JSON merge patch (RFC 7386) on JSON trees.

Pure. Lists are replaced whole and null removes a key; for lists that merge see ``strategic``.
"""

from __future__ import annotations

from typing import Any

from aiopslab.world.kube.objects import clone


def apply(document: Any, patch: Any) -> Any:
    """Return the document with the patch merged in; neither argument is changed."""
    if not isinstance(patch, dict):
        return clone(patch)
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply(result.get(key), value)
    return result
