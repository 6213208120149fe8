"""Which resource is a culprit short of? Levels now and before, from ``resources.yaml``.

The resource whose level is highest against what counts as full, with what it rose by on top (FIRM
reads performance counters; here it is what cAdvisor, the kernel and clients export). Not here: who
the culprit is (``classifier``), giving it more (``reprovision``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from aiopslab.agents import TrialHandle
from aiopslab.agents.sampling import Grid, grid, hand_over
from aiopslab.content import load_yaml
from aiopslab.models.base import Model

WINDOW_S = 1800.0
STEP_S = 15.0
LATEST = 4
"""Samples that are now."""
CONTENDED = 0.9
"""Contention below which no resource explains anything."""
GROWN = 1.5
"""Growth of the use beyond which the use is to blame, not the limit."""


class Resource(Model):
    """One line of the table."""

    resource: str
    query: str
    of: Literal["component", "node"]
    full: float = Field(gt=0.0)
    cause: str
    grown: str | None = None
    """Cause where the use grew; None: the same."""
    raise_: Literal["cpu", "memory"] | None = Field(default=None, alias="raise")
    use: str | None = None
    """PromQL of the use in absolute terms."""


@cache
def table() -> tuple[Resource, ...]:
    """Return the resources, in the order of the file."""
    rows = load_yaml(Path(__file__).with_name("resources.yaml"))
    return tuple(Resource.model_validate(row) for row in rows)


@dataclass(frozen=True, slots=True)
class Shortage:
    """A resource that somebody is short of."""

    resource: Resource | None
    """None: no resource explains it."""
    place: str
    """The component, or the node."""
    cause: str
    contention: float = 0.0


@dataclass(frozen=True, slots=True)
class Levels:
    """Every resource's series, and where instances run."""

    grids: Mapping[str, Grid]
    uses: Mapping[str, Grid]
    """PromQL of a use to its series."""
    nodes: Mapping[str, str]
    """Pod to node."""

    def shortage(self, component: str, kind: str, pod: str) -> Shortage:
        """Return what a component is short of, and the cause that this suggests."""
        found = Shortage(None, component, unexplained(kind))
        for resource in table():
            place = component if resource.of == "component" else self.nodes.get(pod, "")
            contention = contended(self.grids[resource.resource].values.get(place, ()), resource)
            if contention > max(CONTENDED, found.contention):
                cause = self._cause(resource, place)
                found = Shortage(resource, place, cause, contention)
        return found

    def _cause(self, resource: Resource, place: str) -> str:
        use = self.uses[resource.use].values.get(place, ()) if resource.use else ()
        now, before = now_and_before(use)
        grew = before > 0.0 and now / before > GROWN
        return resource.grown if grew and resource.grown else resource.cause


async def levels(trial: TrialHandle, known: Sequence[str]) -> Levels:
    """Ask for every resource's series up to hand-over, and for the nodes of pods."""
    end = hand_over(trial)
    grids, uses = {}, {}
    for resource in table():
        grids[resource.resource] = await grid(
            trial, resource.query, known, start=end - WINDOW_S, end=end, step=STEP_S
        )
        if resource.use and resource.use not in uses:
            uses[resource.use] = await grid(
                trial, resource.use, known, start=end - WINDOW_S, end=end, step=STEP_S
            )
    seen = await trial.call("metrics_query", query="kube_pod_info")
    nodes = {row["labels"].get("pod", ""): row["labels"].get("node", "") for row in seen.data or []}
    return Levels(grids, uses, nodes)


def contended(values: Sequence[float], resource: Resource) -> float:
    """Return the level now over what counts as full, plus what of that it rose by."""
    now, before = now_and_before(values)
    return (now + max(0.0, now - before)) / resource.full


def now_and_before(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of the last samples and the median of the first half; 0 of nothing."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return 0.0, 0.0
    recent = finite[-LATEST:]
    first = sorted(finite[: max(1, len(finite) // 2)])
    return sum(recent) / len(recent), first[len(first) // 2]


def unexplained(kind: str) -> str:
    """Return the cause that a culprit of a kind of component has if no resource is short."""
    causes = {"Deployment": "errors_in_release", "StatefulSet": "lock_contention"}
    return causes.get(kind, "partner_degraded")
