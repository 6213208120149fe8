"""What on-call people would have seen of one draw of an incident at its hand-over.

One line of ``docs/memory.jsonl``: the raw material of a write-up of the past. Names the incident,
so it stays out of every agent's reach. Not here: the write-up (``models.past_incident``).
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model


class SeenAlert(Model):
    """An alert that fired or was about to."""

    name: str
    firing: bool
    severity: str
    component: str
    """The service, workload or node its labels name; empty if none."""
    summary: str


class SeenEvent(Model):
    """Warning events of one reason about one component since the incident began."""

    reason: str
    component: str
    count: int


class SeenJourney(Model):
    """A journey of users outside its promise, over the last minutes before the hand-over."""

    journey: str
    success: float | None
    """Share of requests that succeeded; None without requests."""
    p95_ms: float | None
    promised_success: float
    promised_p95_ms: float


class Sighting(Model):
    """One incident, drawn with one seed."""

    incident: str
    seed: int
    digest: str
    """Of the incident's file when this was played."""
    lasted_s: float = 0.0
    """From the incident's start to the hand-over, in virtual seconds."""
    alerts: list[SeenAlert] = Field(default_factory=list)
    events: list[SeenEvent] = Field(default_factory=list)
    journeys: list[SeenJourney] = Field(default_factory=list)
    unseen: str | None = None
    """What was waited for in vain: this draw does not hurt enough to be an incident."""
    error: str | None = None
    """Why the lab could not bring it that far; such a draw is played again."""

    @property
    def shown(self) -> bool:
        """Whether there is something to write up."""
        return self.error is None and self.unseen is None
