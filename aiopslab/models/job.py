"""Scheduled work of an app: a CronJob whose pods run a service's image under a job's name.

Not here: when a CronJob is due (``world.kube.controllers``), how a run goes (``services.batch``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model, Seconds
from aiopslab.models.step import Step
from aiopslab.models.workload import Resources, Value


class Job(Model):
    """Work that runs by the clock. Its pods read the ConfigMap of the service they belong to."""

    service: str
    """Whose image, language, settings and credentials it has."""
    schedule: str
    """Five cron fields in UTC: ``*/10 * * * *``."""
    summary: str
    owner: str
    steps: list[Step]
    """One round; ``{round}`` is its number, from 1."""
    rounds: int = Field(default=1, ge=1)
    """How often a run repeats the steps (``JOB_ROUNDS`` of the container)."""
    concurrency: int = Field(default=1, ge=1)
    """Rounds at once (``JOB_CONCURRENCY``)."""
    on_failure: Literal["continue", "stop"] = "stop"
    """A failed round ends the run with exit code 1, or is only logged."""
    overlap: Literal["Allow", "Forbid", "Replace"] = "Forbid"
    """``concurrencyPolicy``: what happens when a run is due and the last one still goes on."""
    deadline: Seconds | None = None
    """``activeDeadlineSeconds`` of a run."""
    start_within: Seconds | None = None
    """``startingDeadlineSeconds``: a run that is later than this is skipped."""
    restart: Literal["Never", "OnFailure"] = "Never"
    """``restartPolicy`` of the pods."""
    backoff_limit: int = 2
    """Failed pods after which a run has failed."""
    suspend: bool = False
    parallelism: int = Field(default=1, ge=1)
    """Pods of one run, each doing all rounds."""
    resources: Resources = Field(default_factory=Resources)
    env: dict[str, Value] = Field(default_factory=dict)
    """Plain environment of the container, beside the service's ConfigMap."""
