"""Past incidents that resemble what is seen: the references of the judge.

The organisation's memory is searched with the page, the firing alerts and the warnings of the logs.
Where there is none, nothing is found, which is legal. Not here: the index (``aiopslab.tools``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from aiopslab.models.observation import Brief, Observation
from aiopslab.models.past_incident import PastIncident

LIMIT = 5
_LINES = 12
"""Lines of an observation that go into the query."""
_QUERY = 4000
"""Characters of a query: the page and alerts come first."""
_WORD = re.compile(r"[a-z][a-z_-]{3,}")


class Match(Protocol):
    """A record that was found."""

    @property
    def record(self) -> PastIncident:
        """The write-up."""
        ...


class Memory(Protocol):
    """Past incidents that can be searched."""

    @property
    def records(self) -> Sequence[PastIncident]:
        """All of them."""
        ...

    def search(self, query: str, *, app: str | None = None, limit: int = 5) -> Sequence[Match]:
        """Return the records nearest to a query, the best first."""
        ...


def references(memory: Memory, brief: Brief, seen: Sequence[Observation]) -> list[PastIncident]:
    """Return at most five write-ups of this app; one that the memory does not know has no past."""
    apps = sorted({r.app for r in memory.records}, key=lambda app: (-len(app), app))
    app = next((app for app in apps if _is_of(brief, app)), None)
    if app is None:
        return []
    found = memory.search(query(brief, seen), app=app, limit=LIMIT)
    return [match.record for match in found]


def _is_of(brief: Brief, app: str) -> bool:
    """Say whether a trial is of an app; on a cluster its namespace has a suffix."""
    name, namespace = app.casefold(), brief.namespace.casefold()
    return name in (namespace, brief.app.casefold()) or namespace.startswith(f"{name}-")


def query(brief: Brief, seen: Sequence[Observation]) -> str:
    """Compose what to search for: the page, then alerts, warnings and changes that were seen."""
    parts = [brief.alert or ""]
    for tool in ("alerts", "k8s_events", "logs_patterns", "logs_search", "changes"):
        for one in seen:
            if one.tool == tool and one.ok:
                parts += one.text.splitlines()[1 : 1 + _LINES]
    return "\n".join(filter(None, parts))[:_QUERY]


def similarity(record: PastIncident, searched: str) -> float:
    """Return which share of the words of a write-up's symptoms the query has, from 0 to 1."""
    words = set(_WORD.findall(" ".join((record.title, *record.symptoms)).casefold()))
    known = set(_WORD.findall(searched.casefold()))
    return len(words & known) / len(words) if words else 0.0
