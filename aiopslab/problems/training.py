"""Which incidents may be remembered: the training set, apart from all that agents are scored on.

An incident is *held out* if any suite but ``full`` (the whole catalogue) lists it. A training
incident is none of those, breaks something, and none of its cause kinds is the cause of a held-out
incident, or accepted for one, on any app. Not here: what is written about them (``memory``).
"""

from __future__ import annotations

from collections.abc import Iterable

from aiopslab.faults.base import Fault
from aiopslab.models.incident import IncidentSpec
from aiopslab.problems import catalogue
from aiopslab.problems.draw import draw
from aiopslab.services.catalogue import load_app

EVERYTHING = "full"
"""The suite that holds out nothing: it is the catalogue."""
FIRST_SEED = 880_001
"""Seeds of remembered draws, counted from here: far from those that runs use, which begin at 0."""
PER_APP = 12
"""Draws of an app at least, so that an app with few training incidents has a memory too."""
PER_INCIDENT = 2


def held_out() -> list[IncidentSpec]:
    """Return the incidents that some suite scores, sorted by name."""
    names = {
        name
        for suite in catalogue.suites().values()
        if suite.name != EVERYTHING
        for name in catalogue.suite_incidents(suite)
    }
    return [catalogue.load_incident(name) for name in sorted(names)]


def held_out_causes() -> set[str]:
    """Return every cause kind that is right for a held-out incident."""
    found: set[str] = set()
    for spec in held_out():
        for fault in faults(spec, 0):
            label = fault.root_cause()
            found |= {label.cause, *(cause for _, cause in label.accepted)}
    return found


def training() -> list[IncidentSpec]:
    """Return the incidents that may be remembered, sorted by name."""
    scored, causes = {spec.name for spec in held_out()}, held_out_causes()
    return [
        spec
        for name, spec in catalogue.incidents().items()
        if name not in scored
        and spec.faults
        and not causes & {fault.root_cause().cause for fault in faults(spec, 0)}
    ]


def remembered(specs: Iterable[IncidentSpec]) -> list[tuple[IncidentSpec, int]]:
    """Return the draws that become records: each incident several times, so many an app."""
    found: list[tuple[IncidentSpec, int]] = []
    specs = list(specs)
    for spec in specs:
        beside = sum(other.app == spec.app for other in specs)
        times = max(PER_INCIDENT, -(-PER_APP // beside))
        found += [(spec, FIRST_SEED + n) for n in range(times)]
    return found


def faults(spec: IncidentSpec, seed: int) -> list[Fault]:
    """Draw an incident and return its faults."""
    drawn = draw(spec, load_app(spec.app), seed)
    return [due.act for due in drawn.faults if isinstance(due.act, Fault)]
