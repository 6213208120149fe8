"""An incident of the past, as an organisation writes it up: what memory an agent may search.

A record is prose and labels of something that happened before, some of it stale or misleading, as
such records are. It never describes an incident that is being played. Not here: how records are
made (``problems.memory``) or searched (``tools.memory``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model


class PastIncident(Model):
    """One write-up."""

    schema_: Literal["aiopslab/past-incident@1"] = Field(
        default="aiopslab/past-incident@1", alias="schema"
    )
    id: str
    """``INC-1042``: says nothing about what it holds."""
    app: str
    date: str
    """Day it happened, ``2026-01-17``."""
    title: str
    summary: str
    """What was seen and in which order, a few sentences."""
    symptoms: tuple[str, ...]
    """Alerts and signals that were seen, one each."""
    services: tuple[str, ...]
    """Canonical component ids that were touched."""
    component: str
    """What was found to be the cause's place, as the write-up says it."""
    cause: str
    """Cause kind of the public catalogue, as the write-up says it."""
    resolution: str
    """What ended it."""

    def text(self) -> str:
        """Return all that can be searched as one text."""
        parts = (self.title, self.summary, *self.symptoms, *self.services, self.resolution)
        return "\n".join(parts)
