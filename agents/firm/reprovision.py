"""Rules that give a culprit more: twice the limit that it is short of, or one replica.

Rules, not FIRM's reinforcement learning: one step up, looked at, taken back if it did not help.
Limits cost none of the requests that owners budget; a replica does, and must stay far below. Not
here: whether it helped (``agent``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .resources import Shortage

Row = dict[str, Any]
Call = tuple[str, dict[str, Any]]
REQUESTS_GROWTH = 0.1
"""Most that a replica may add to all CPU requests; owners allow a quarter or so."""
_QUANTITY = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[A-Za-z]*)")


@dataclass(frozen=True, slots=True)
class Step:
    """A change and the way back."""

    said: str
    do: Call
    undo: Call


def step_for(
    component: str, kind: str, shortage: Shortage, workloads: Sequence[Row]
) -> Step | None:
    """Return the change that gives a culprit more; None where no rule does.

    Args:
        component: The culprit.
        kind: Its kind, as the tool ``services`` has it.
        shortage: What it is short of.
        workloads: Deployments and StatefulSets in wire form.
    """
    found = next((w for w in workloads if w["metadata"]["name"] == component), None)
    if found is None or kind not in ("Deployment", "StatefulSet"):
        return None
    wanted = shortage.resource.raise_ if shortage.resource else None
    limits = _container(found).get("resources", {}).get("limits", {})
    if wanted and wanted in limits:
        limit, more = str(limits[wanted]), doubled(str(limits[wanted]))
        call = {"name": component, "kind": kind}
        return Step(
            f"{wanted} limit of {component} from {limit} to {more}",
            ("k8s_set_resources", {**call, f"{wanted}_limit": more}),
            ("k8s_set_resources", {**call, f"{wanted}_limit": limit}),
        )
    if kind == "Deployment" and affordable(found, workloads):
        replicas = int(found["spec"].get("replicas", 1))
        return Step(
            f"replicas of {component} from {replicas} to {replicas + 1}",
            ("k8s_scale", {"name": component, "replicas": replicas + 1}),
            ("k8s_scale", {"name": component, "replicas": replicas}),
        )
    return None


def affordable(workload: Row, workloads: Sequence[Row]) -> bool:
    """Say whether one more replica stays within the share of requests that may be added."""
    total = sum(_cpu_request(w) * int(w["spec"].get("replicas", 1)) for w in workloads)
    return _cpu_request(workload) <= REQUESTS_GROWTH * total


def doubled(quantity: str) -> str:
    """Return twice a Kubernetes quantity, in its unit.

    >>> doubled("250m"), doubled("128Mi"), doubled("1")
    ('500m', '256Mi', '2')
    """
    found = _QUANTITY.fullmatch(quantity)
    return f"{2.0 * float(found['number']):.12g}{found['unit']}" if found else quantity


def _cpu_request(workload: Row) -> float:
    """Return the cores that a pod of a workload requests."""
    text = str(_container(workload).get("resources", {}).get("requests", {}).get("cpu", "0"))
    found = _QUANTITY.fullmatch(text)
    scale = {"m": 1e-3, "": 1.0}
    return float(found["number"]) * scale.get(found["unit"], 0.0) if found else 0.0


def _container(workload: Row) -> Row:
    first: Row = workload["spec"]["template"]["spec"]["containers"][0]
    return first
