"""How far an incident and its twin are from its symptom gate, for one seed.

``Reading`` is one SLI beside one bound, ``Margin`` what was measured with one seed (one line of
``docs/soundness.jsonl``), ``MarginRow`` an incident over all seeds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model

SliName = Literal["success", "p95", "first part p95", "pause p99", "pause p99.9"]


class Reading(Model):
    """An SLI of a journey, and the bound beyond which the gate opens."""

    journey: str
    sli: SliName
    seen: float | None
    """A share for ``success``, else milliseconds; None where no request gives one."""
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the SLI is beyond the bound."""
        if self.seen is None:
            return False
        return self.seen < self.bound if self.sli == "success" else self.seen > self.bound

    @property
    def factor(self) -> float | None:
        """How many times the bound: of the milliseconds, or of the share that fails."""
        if self.seen is None or (self.sli == "success" and self.bound >= 1.0):
            return None
        if self.sli == "success":
            return (1.0 - self.seen) / (1.0 - self.bound)
        return self.seen / self.bound

    @property
    def text(self) -> str:
        """In words, for a record."""
        if self.seen is None:
            return f"{self.journey} {self.sli} unknown"
        if self.sli == "success":
            return f"{self.journey} success {self.seen:.3f} < {self.bound}"
        return f"{self.journey} {self.sli} {self.seen:.0f} ms > {self.bound:.0f} ms"


class Margin(Model):
    """What one seed of an incident showed at hand-over, beside its twin at the same time."""

    incident: str
    seed: int
    digest: str
    """Of the incident's file when this was measured."""
    opened_s: float | None = None
    """Seconds from the incident's start until the gate was seen open; None: it was not."""
    seen: str = ""
    """What opened it, or what was waited for in vain."""
    faulty: list[Reading] = Field(default_factory=list)
    """The SLIs that the gate names, at hand-over; empty where it names alerts only."""
    every: bool = False
    """The gate wants all of its clauses, so the SLI that is least beyond its bound decides."""
    twin: list[Reading] = Field(default_factory=list)
    """The same without the fault."""
    twin_seen: str = ""
    """How the gate was seen open in the twin, up to hand-over; empty: it stayed closed."""
    error: str | None = None
    """Why the lab could not bring it that far."""

    @property
    def failed(self) -> bool:
        """Whether this draw of the incident could not be handed over, or cannot be told apart."""
        return self.opened_s is None or bool(self.twin_seen) or self.error is not None


class MarginRow(Model):
    """An incident over its seeds. Factors are None where the gate names alerts only."""

    incident: str
    seeds: int
    failures: int
    opened_median_s: float | None
    opened_max_s: float | None
    faulty_min: float | None
    """Times the bound at hand-over, of the SLI farthest beyond it: the least of all seeds."""
    faulty_median: float | None
    twin_min: float | None
    """How many times the twin's SLI nearest to a bound goes into it: the least of all seeds."""
    digests: list[str]
    """Of the files that were measured; more than one if the incident changed in between."""
