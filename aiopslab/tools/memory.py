"""Incidents of the past that can be searched: ``problems/memory/<app>.jsonl``, one a line.

What an organisation remembers, not what is being played; some of it is stale or misleading, and
nothing says which. Not here: how the records are made (``problems.memory``), the ranking (``bm25``,
``embeddings``), the tool that agents call (``history``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from aiopslab.content import files
from aiopslab.errors import ContentError
from aiopslab.models.past_incident import PastIncident
from aiopslab.tools.bm25 import Bm25


class Index(Protocol):
    """Scores the texts it was made of."""

    def scores(self, query: str) -> list[float]:
        """Return a score a text; only what is above 0 is found."""


MakeIndex = Callable[[Sequence[str]], Index]


@dataclass(frozen=True, slots=True)
class Match:
    """A record that was found; scores compare within one answer only."""

    record: PastIncident
    score: float


class IncidentMemory:
    """Records and their index.

    Args:
        records: What can be found; ids are unique.
        index: Makes the index over some texts; BM25 unless said otherwise.
    """

    def __init__(self, records: Iterable[PastIncident], *, index: MakeIndex = Bm25) -> None:
        self.records = tuple(sorted(records, key=lambda record: record.id))
        self._make = index
        self._indexes: dict[str | None, Index] = {}

    @classmethod
    def load(cls, app: str | None = None, *, index: MakeIndex = Bm25) -> IncidentMemory:
        """Read the records of one app, or of all; a user's file hides ours of the same app.

        Raises:
            ContentError: A line is malformed, or an id is there twice.
        """
        records: dict[str, PastIncident] = {}
        for path in files("problems", f"memory/{app or '*'}.jsonl"):
            lines = path.read_text(encoding="utf-8").splitlines()
            for number, line in enumerate(lines, 1):
                where = f"{path}:{number}"
                try:
                    record = PastIncident.model_validate_json(line)
                except ValidationError as error:
                    raise ContentError(where, str(error.errors()[0]["msg"])) from error
                if record.id in records:
                    raise ContentError(where, f"id {record.id!r} is there twice")
                records[record.id] = record
        return cls(records.values(), index=index)

    def search(self, query: str, *, app: str | None = None, limit: int = 5) -> tuple[Match, ...]:
        """Find records, the best first; equal scores in the order of ids.

        Args:
            query: Words as they come: alert names, components, what is seen.
            app: Only records of this app, ranked among themselves.
            limit: Matches at most.
        """
        among = self._of(app)
        if app not in self._indexes:
            self._indexes[app] = self._make([record.text() for record in among])
        scores = self._indexes[app].scores(query)
        found = [Match(r, score) for r, score in zip(among, scores, strict=True) if score > 0.0]
        return tuple(sorted(found, key=lambda match: (-match.score, match.record.id))[:limit])

    def _of(self, app: str | None) -> tuple[PastIncident, ...]:
        return tuple(record for record in self.records if app in (None, record.app))
