"""What a load generator is told: the journeys of an app, their promises, and where the app is.

Written by whoever deploys it, read by ``program``. Not here: what becomes of it (``generator``).
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model
from aiopslab.models.journey import Journey, Load, Slo

TOKEN_HEADER = "X-Users-Token"
"""What whoever may control a generator says; an API server's proxy passes it on."""
TOKEN_VARIABLE = "USERS_TOKEN"
"""Where a generator finds what that is; without it everybody may."""


class LoadPlan(Model):
    """One app's users."""

    seed: int
    """Arrivals and parameters are drawn from it, as in the simulated world."""
    entries: dict[str, str]
    """Entry service to the base URL that users reach it by."""
    journeys: dict[str, Journey]
    load: Load = Field(default_factory=Load)
    slos: dict[str, Slo]


class LoadState(Model):
    """How a load generator is."""

    now: float
    """Unix seconds of its clock."""
    running: bool
    """Whether users arrive."""
    in_flight: int
    dropped: int
    """Sessions that were not begun, because too many were under way."""
    late_s: float
    """How late its event loop is: beyond a second it is itself the bottleneck."""
