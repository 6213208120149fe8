"""What the orchestrator measured for grading, from outside the agent's reach.

Grading reads these records alone, so every trial can be regraded later.
"""

from __future__ import annotations

from pydantic import Field

from aiopslab.models.base import Model


class SliWindow(Model):
    """SLIs of one journey in one window, measured at the load generator.

    Requests are counted by *intended* start (no coordinated omission); a request that got no
    answer counts as failed at the time its client gave up.
    """

    journey: str
    start: float
    end: float
    offered: int
    succeeded: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    slo_success: float
    slo_p95_ms: float
    met: bool
    ttft_p95_ms: float | None = None
    """Streamed answers: p95 of the time to the first part; None where nothing was streamed."""
    tbt_p99_ms: float | None = None
    """Streamed answers: p99 of the pauses between parts, over all parts."""
    tbt_p999_ms: float | None = None
    slo_ttft_p95_ms: float | None = None
    slo_tbt_p99_ms: float | None = None
    slo_tbt_p999_ms: float | None = None


class CheckResult(Model):
    """One condition that was looked at: a fault's post-condition, an invariant, an act."""

    id: str
    met: bool
    detail: str


class ObjectChange(Model):
    """A difference between the pre-fault snapshot and the end of the trial."""

    ref: str
    """``Kind/namespace/name`` or ``table:store/name``."""
    change: str
    """``added``, ``removed``, or ``path: old -> new`` lines."""


class Requests(Model):
    """What the workloads of the app's namespace ask for: the sum over Deployments and StatefulSets.

    Each container's requests times its workload's replicas.
    """

    cpu: float
    """Cores."""
    memory: float
    """Bytes."""
    replicas: int


class Evidence(Model):
    """Everything a grader may use beside the answer, the steps and the truth."""

    handover: list[SliWindow] = Field(default_factory=list)
    """The minute before hand-over."""
    settle: list[list[SliWindow]] = Field(default_factory=list)
    """Two windows after ``submit``, each with one entry a journey; mitigation only."""
    postconditions: list[CheckResult] = Field(default_factory=list)
    """The latent cause is gone (per fault)."""
    invariants: list[CheckResult] = Field(default_factory=list)
    """The app's intent, over the whole episode."""
    losses: list[ObjectChange] = Field(default_factory=list)
    """Objects or rows of the pre-fault snapshot that are gone."""
    changes: list[ObjectChange] = Field(default_factory=list)
    """All other differences; the blast radius."""
    requests_before: Requests | None = None
    """In the pre-fault snapshot; None in reading tasks and in records from before it was kept."""
    requests_after: Requests | None = None
    """At the end, without workloads that the incident brought along."""
    cpu_growth_allowed: float | None = None
    """Share by which the owners let the CPU requests grow."""
    slo_violation_s: float | None = None
    """Seconds (10 s buckets) from hand-over to the end in which any SLO was broken."""
    submitted_at: float | None = None
    restored_at: float | None = None
    """First instant after which every SLO held until the end; None if never."""
