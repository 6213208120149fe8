"""What the owners of an app want kept, whatever is done to repair it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model


class Invariant(Model):
    """A condition that any mitigation must keep; ``kind`` selects the checker."""

    id: str
    kind: Literal[
        "ready_replicas",
        "volume_kept",
        "rows_kept",
        "messages_kept",
        "object_exists",
        "replicas_at_least",
        "replicas_at_most",
    ]
    target: str
    """A component, ``*`` for each service, or ``Kind/name``."""
    at_least: int = 1
    at_most: int = 0
    """``replicas_at_most``: what more of it costs is not in the budget, or not there."""
    allowed: int = 0
    """``messages_kept``: so many may leave a queue without having been worked on."""


class Intent(Model):
    """What the owners want kept, whatever is done to repair."""

    invariants: list[Invariant] = Field(default_factory=list)
    forbidden: list[str] = Field(default_factory=list)
    """Acts: ``delete StatefulSet/*``, ``scale Deployment/frontend below 2``."""
    cpu_requests_growth: float = 0.25
    """Allowed growth of the sum of CPU requests."""
