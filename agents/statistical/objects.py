"""Reading Kubernetes objects: selectors, containers, what the last template change changed.

Pure functions of wire-form dicts. Not here: what is suspicious about them (``state_rules``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]
_REVISION = "deployment.kubernetes.io/revision"


def labels(obj: Row) -> dict[str, str]:
    """Return the labels of an object."""
    found: dict[str, str] = obj["metadata"].get("labels") or {}
    return found


def selects(selector: dict[str, str], have: dict[str, str]) -> bool:
    """Say whether plain label equality holds for every key."""
    return all(have.get(key) == value for key, value in selector.items())


def container(workload: Row) -> Row:
    """Return the first container of a workload's template."""
    found: Row = workload["spec"]["template"]["spec"]["containers"][0]
    return found


def ports(pod_spec: Row) -> dict[str, int]:
    """Return the declared container ports by name (or by number where unnamed)."""
    found = {}
    for one in pod_spec["containers"]:
        for port in one.get("ports", []):
            found[port.get("name", str(port["containerPort"]))] = port["containerPort"]
    return found


def template_change(deployment: Row, replica_sets: list[Row]) -> dict[str, tuple[Any, Any]]:
    """Return path -> (old, new) between the previous and the current pod template.

    Empty without an earlier revision. Restart annotations and template hashes are left out.
    """
    uid = deployment["metadata"].get("uid")
    owned = [
        rs
        for rs in replica_sets
        if any(o.get("uid") == uid for o in rs["metadata"].get("ownerReferences", []))
    ]
    owned.sort(key=lambda rs: int(rs["metadata"].get("annotations", {}).get(_REVISION, "0")))
    if len(owned) < 2:
        return {}
    old, new = (dict(_leaves(rs["spec"]["template"])) for rs in owned[-2:])
    paths = [p for p in sorted({*old, *new}) if old.get(p) != new.get(p)]
    return {
        p: (old.get(p), new.get(p))
        for p in paths
        if "restartedAt" not in p and "pod-template-hash" not in p
    }


def quantity(text: Any) -> float:
    """Read a Kubernetes quantity: ``100m``, ``64Mi``, ``2``; NaN for anything else."""
    scale = {"m": 1e-3, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "k": 1e3, "M": 1e6, "G": 1e9}
    plain = str(text)
    for suffix in ("Ki", "Mi", "Gi", "m", "k", "M", "G", ""):
        if plain.endswith(suffix):
            try:
                return float(plain.removesuffix(suffix)) * scale.get(suffix, 1.0)
            except ValueError:
                return float("nan")
    return float("nan")


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, JSON text) of every leaf; items with a name are addressed by it."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(node, list) and node and all(isinstance(i, dict) for i in node):
        for index, item in enumerate(node):
            yield from _leaves(item, f"{path}[{item.get('name', index)}]")
    else:
        yield path, json.dumps(node, sort_keys=True)
