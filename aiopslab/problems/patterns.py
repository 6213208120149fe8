"""Shapes of real outages: an incident's tags ``pattern:<name>`` say on which it is built.

The suite ``hard`` consists of such incidents. Not here: whether an incident is sound (``aiopslab
check``), or how hard agents find it (``aiopslab baselines``).
"""

from __future__ import annotations

from collections.abc import Iterable

from aiopslab.models.incident import IncidentSpec

PREFIX = "pattern:"
PATTERNS = {
    "metastable": "overload that feeds itself; what began it is over",
    "retry-storm": "attempts repeated until they are the load",
    "stampede": "a cold cache sends everybody to the database at once",
    "reconnect-herd": "after a restart all clients come back, and some come first",
    "config-push": "a change two hops upstream of who fails on it",
    "control-plane": "what makes or renews objects is hurt; users notice later",
    "new-connections-only": "connections that exist go on, new ones fail",
    "pool-exhaustion-chain": "who waits for a slow leaf fills the pools of its callers",
    "scale-out-limit": "more replicas reach a limit that all of them share",
    "gray-failure": "one replica in several is wrong; every object looks right",
    "clock-skew": "one node's time differs",
    "limit-in-data": "a hard limit of a type or a sequence; a restart is useless",
    "automation-undoes": "a controller or job takes the repair back",
    "data-loss-trap": "the quick repair would lose what was promised to be kept",
    "latent-pair": "two conditions, each harmless, that hurt together",
    "loud-innocent": "a deployment just before it that has nothing to do with it",
    "two-faults": "two causes at once; repairing one leaves or uncovers the other",
    "sticky-routing": "requests of a kind go to one place and stay there",
    "amplification": "components hand the same work to each other",
}
"""Name to what it is."""


def patterns_of(spec: IncidentSpec) -> list[str]:
    """Name the patterns that an incident is built on, in the order of its tags."""
    return [tag.removeprefix(PREFIX) for tag in spec.tags if tag.startswith(PREFIX)]


def built_on(specs: Iterable[IncidentSpec]) -> list[tuple[str, str, list[str]]]:
    """Return each pattern with its meaning and the incidents built on it."""
    specs = list(specs)
    return [
        (name, meaning, [s.name for s in specs if name in patterns_of(s)])
        for name, meaning in PATTERNS.items()
    ]
