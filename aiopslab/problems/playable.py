"""On which environment an incident can be played: where all that it is made of exists.

Faults and distractors say it of themselves (``models.support``); an app cannot leave the simulated
world where it is tied to machines of its own, nor an incident that says so of itself. Not here:
whether one particular cluster has room (``environments.cluster.checks``).
"""

from __future__ import annotations

from collections.abc import Iterable

from aiopslab.faults import registry
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.support import ENVIRONMENTS, EnvironmentName
from aiopslab.problems import distractors
from aiopslab.services.catalogue import load_app


def playable(spec: IncidentSpec, environment: EnvironmentName) -> bool:
    """Whether an incident can be played there."""
    return not obstacles(spec, environment)


def obstacles(spec: IncidentSpec, environment: EnvironmentName) -> list[str]:
    """Say why an incident cannot be played there: what does not exist, and why; sorted."""
    if environment == "sim":
        return []
    needed = {use.kind: registry.find(use.kind).support for use in spec.faults}
    needed |= {other.kind: distractors.find(other.kind).support for other in spec.distractors}
    found = [f"{kind}: {has.note}" for kind, has in needed.items() if not has.on(environment)]
    tied = sorted(name for name, s in load_app(spec.app).services.items() if s.node)
    if tied:
        found.append(f"{spec.app}: {tied[0]} and others are tied to machines of its own")
    if spec.simulated_only:
        found.append(f"its symptom: {spec.simulated_only}")
    return sorted(found)


def playing(spec: IncidentSpec) -> list[EnvironmentName]:
    """Name the environments on which an incident can be played."""
    return [environment for environment in ENVIRONMENTS if playable(spec, environment)]


def count(specs: Iterable[IncidentSpec]) -> dict[EnvironmentName, int]:
    """Count the incidents that can be played, by environment."""
    where = [playing(spec) for spec in specs]
    return {name: sum(name in one for one in where) for name in ENVIRONMENTS}
