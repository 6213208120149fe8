"""Records that are not samples: events, changes, alerts, as tools and stores exchange them.

Times are unix seconds of the world's clock. Not here: spans, log lines and metric samples, which
are too many for objects and live in columns (``telemetry.store``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model


class Event(Model):
    """A Kubernetes event as the component wrote it."""

    time: float
    type: Literal["Normal", "Warning"]
    reason: str
    namespace: str
    kind: str
    name: str
    message: str
    component: str
    """The reporting component: ``kubelet``, ``deployment-controller``, ..."""
    count: int = 1


class Change(Model):
    """A deployment or configuration change, as a change log would list it."""

    time: float
    actor: str
    """Who: a person, a pipeline, an automation."""
    kind: Literal["rollout", "config", "secret", "scale", "network", "database", "other"]
    component: str
    summary: str
    diff: str = ""
    """Unified diff or ``field: old -> new`` lines; secrets are never printed."""


class StatusPost(Model):
    """A post on a partner's status page, as it was published."""

    time: float
    partner: str
    """Component name of the external party."""
    provider: str
    """Name of the company."""
    state: Literal["scheduled", "investigating", "identified", "resolved"]
    text: str


class Alert(Model):
    """One alert instance."""

    name: str
    state: Literal["pending", "firing", "resolved"]
    severity: str
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    active_at: float
    fired_at: float | None = None
    resolved_at: float | None = None
    value: float | None = None
