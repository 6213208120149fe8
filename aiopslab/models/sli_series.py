"""What users experienced over a whole trial: their SLIs in short buckets, for people to look at.

Measured at the load generator like everything in ``models.evidence``, which is what grades are made
of; no grade reads this. Not here: how buckets are filled (``load.slis``), how they are drawn
(``report.curves``).
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model

BUCKET_S = 10.0
"""Seconds of a bucket of what users experienced, with the agent and in the courses without it."""


class JourneySeries(Model):
    """One journey; its lists have one item a bucket."""

    journey: str
    slo_success: float
    slo_p95_ms: float
    offered: list[int] = Field(default_factory=list)
    """Requests whose intended start lies in the bucket and whose outcome was known at the end."""
    succeeded: list[int] = Field(default_factory=list)
    p95_ms: list[float | None] = Field(default_factory=list)
    """Of those that succeeded, to a tenth; None where none did."""


class SliSeries(Model):
    """All journeys; bucket n is [start + n * bucket_s, start + (n + 1) * bucket_s)."""

    start: float
    """Seconds of the world's clock."""
    bucket_s: float = Field(gt=0.0)
    journeys: list[JourneySeries] = Field(default_factory=list)
    """By name."""
