"""What the owners of an app want kept, whatever is done to repair it."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from aiopslab.models.base import Model

_ACT = re.compile(r"delete \S+/\S+|scale \S+/\S+ below [0-9]+")


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

    @field_validator("forbidden")
    @classmethod
    def _readable(cls, acts: list[str]) -> list[str]:
        for act in acts:
            if not _ACT.fullmatch(act):
                form = "'delete Kind/name' or 'scale Kind/name below N'"
                raise ValueError(f"{act!r} is no act that is ever done; write {form}")
        return acts
