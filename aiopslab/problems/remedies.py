"""Reference fixes in words, as a write-up tells them.

Not here: the fixes (``faults``), what a rollback costs (``tools``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from aiopslab.models.truth import FixStep

MANY = 3
"""So many objects are named; more are counted."""


def told(fix: Sequence[FixStep]) -> str:
    """Tell what was done, one sentence."""
    patches = [step for step in fix if step.tool == "k8s_patch"]
    said: list[str] = []
    if len(patches) > MANY:
        said.append(_alike(patches))
        fix = [step for step in fix if step.tool != "k8s_patch"]
    said += [text for step in fix if (text := _step(step))]
    sentence = ", then ".join(dict.fromkeys(said)) or "waited until it was over"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _alike(patches: Sequence[FixStep]) -> str:
    """Tell of one change that was made to many workloads."""
    text = str(patches[0].arguments.get("patch", ""))
    nodes = [value for key, value in _leaves(_parsed(text)) if key == "values"]
    if "nodeAffinity" in text and nodes:
        return f"kept all {len(patches)} workloads off {nodes[0]} with a node affinity"
    names = ", ".join(str(step.arguments.get("name")) for step in patches[:MANY])
    return f"patched {len(patches)} workloads ({names} and others)"


def _step(step: FixStep) -> str:
    """Tell one call; empty for waiting."""
    given = step.arguments
    kind, name = str(given.get("kind", "")).lower(), str(given.get("name", ""))
    match step.tool:
        case "wait":
            return ""
        case "k8s_rollout":
            verbs = {"undo": "rolled back", "restart": "restarted"}
            return f"{verbs.get(given['action'], given['action'])} {kind} {name}"
        case "k8s_scale":
            return f"scaled {kind} {name} to {given['replicas']}"
        case "k8s_patch":
            return f"set {_changes(str(given['patch']))} of {kind} {name}"
        case _:
            words = " ".join(str(value) for value in given.values())
            return f"ran {step.tool.replace('_', ' ')}: {words}"


def _changes(patch: str) -> str:
    found = [f"{key}={value}" for key, value in _leaves(_parsed(patch))]
    more = f" and {len(found) - MANY} more" if len(found) > MANY else ""
    return f"{', '.join(found[:MANY])}{more}"


def _parsed(patch: str) -> Any:
    return json.loads(patch) if patch else {}


def _leaves(data: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the innermost keys with their values as text; a list of plain values is one."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _leaves(value, name)
    elif isinstance(data, list) and any(isinstance(item, dict | list) for item in data):
        for item in data:
            yield from _leaves(item, key)
    elif isinstance(data, list):
        yield key, ", ".join(map(str, data))
    elif key != "name":
        yield key, "nothing" if data is None else str(data)
