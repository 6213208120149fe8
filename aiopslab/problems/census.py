"""Counting incidents: per app, fault family, hops and kind of trouble.

What ``aiopslab list incidents`` and the catalogue pages say of a selection. Not here: how good an
incident is (``aiopslab check``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from aiopslab.faults import registry
from aiopslab.models.base import Model
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.support import EnvironmentName
from aiopslab.problems.playable import count


class Census(Model):
    """What a selection of incidents consists of. Mappings are sorted by key."""

    incidents: int
    apps: dict[str, int]
    families: dict[str, int]
    """Fault family to incidents that have a fault of it."""
    kinds: int
    """Distinct fault kinds."""
    causes: int
    """Distinct cause kinds."""
    hops: dict[int, int]
    without_fault: int
    """Nothing is wrong; it only looks alarming."""
    with_distractors: int
    several_faults: int
    """Two or more faults at once."""
    loud_and_innocent: int
    """A fault, and beside it a rollout that has nothing to do with it."""
    playable: dict[EnvironmentName, int]
    """Environment to incidents that can be played there."""


def census(specs: Iterable[IncidentSpec]) -> Census:
    """Count incidents."""
    specs = list(specs)
    kinds = {fault.kind for spec in specs for fault in spec.faults}
    return Census(
        incidents=len(specs),
        apps=_sorted(Counter(s.app for s in specs)),
        families=_sorted(Counter(f for s in specs for f in families(s))),
        kinds=len(kinds),
        causes=len({registry.find(kind).cause for kind in kinds}),
        hops=dict(sorted(Counter(s.difficulty.hops for s in specs).items())),
        without_fault=sum(not s.faults for s in specs),
        with_distractors=sum(bool(s.distractors) for s in specs),
        several_faults=sum(len(s.faults) > 1 for s in specs),
        loud_and_innocent=sum(_beside_a_rollout(s) for s in specs),
        playable=count(specs),
    )


def families(spec: IncidentSpec) -> list[str]:
    """Name the fault families of an incident, sorted."""
    return sorted({fault.kind.partition("/")[0] for fault in spec.faults})


def _beside_a_rollout(spec: IncidentSpec) -> bool:
    return bool(spec.faults) and any("rollout" in d.kind for d in spec.distractors)


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
