"""What users do, how often, and what they are promised."""

from __future__ import annotations

import itertools
from typing import Any, Literal

from pydantic import Field, model_validator

from aiopslab.models.base import Model, Seconds
from aiopslab.models.workload import Value


class Poll(Model):
    """Asking again until asynchronous work shows: a status page that says not yet, then yes."""

    every: Seconds = Field(default=1.0, gt=0)
    """Pause between two looks."""
    within: Seconds = Field(gt=0)
    """Seconds after which the user counts it as broken."""


class JourneyStep(Model):
    """One request of a user journey."""

    request: str
    """``METHOD /path`` of the entry service."""
    params: dict[str, Value | dict[str, Any]] = Field(default_factory=dict)
    """Literals, or draws: ``{zipf: {n: 500, s: 1.1}}``, ``{choice: [..]}``, ``{int: [1, 9]}``;
    ``{session: order-}`` is that prefix and a number of this session's own, the same in each step.
    """
    poll: Poll | None = None
    """Repeat the request while the answer is 404, 409 or 425; the latency is that of the whole."""
    sli: str = ""
    """Count the outcome under this name instead of the journey's; ``slos`` has a promise for it."""


class Retry(Model):
    """What a user does when a request fails."""

    attempts: int = 1
    backoff_s: float = 1.0


class Cluster(Model):
    """Sessions that come together: a batch job, people who start work at the same minute."""

    size: int = Field(ge=1)
    """Sessions of one cluster; drawn geometrically around it unless ``fixed``."""
    within_s: float = 1.0
    """They are spread evenly over so many seconds."""
    fixed: bool = False
    """True: clusters come at even intervals and have exactly ``size`` sessions."""


class Journey(Model):
    """What a kind of user does, how often, and when he gives up."""

    entry: str
    """The service that users reach."""
    rate: float
    """Journeys per second at load scale 1."""
    params: dict[str, Value | dict[str, Any]] = Field(default_factory=dict)
    """Parameters drawn once a session and sent with each of its requests: who the user is."""
    steps: list[JourneyStep]
    think_s: float = 0.0
    """Mean pause between steps of one journey."""
    timeout_s: float = 3.0
    """The client gives up after this long."""
    retry: Retry = Field(default_factory=Retry)
    cluster: Cluster | None = None
    """None: sessions come one by one, as the load's shape has it."""


class Slo(Model):
    """The promise for one journey, or for steps of journeys with that ``sli``, over a minute."""

    success: float
    p95_ms: float
    ttft_p95_ms: float | None = None
    """Streamed answers: time from the intended start to the first part."""
    tbt_p99_ms: float | None = None
    """Streamed answers: pause between two parts."""
    tbt_p999_ms: float | None = None
    """The same for all but one pause in a thousand: answers that stall."""


class Load(Model):
    """The default load of the app."""

    shape: Literal["constant", "poisson", "diurnal", "trace"] = "poisson"
    scale: float = 1.0
    amplitude: float = 0.25
    """Diurnal: relative swing around the mean."""
    peak_hour: float = 14.0
    trace: list[tuple[Seconds, float]] = Field(default_factory=list)
    """Trace: (time, rate relative to the journey's), times ascending; linear in between."""

    @model_validator(mode="after")
    def _trace_fits(self) -> Load:
        times = [time for time, _ in self.trace]
        if (self.shape == "trace") != (len(times) >= 2):
            raise ValueError("a trace needs shape 'trace' and at least two points")
        if any(a >= b for a, b in itertools.pairwise(times)) or any(r < 0 for _, r in self.trace):
            raise ValueError("times of a trace ascend, and no rate is negative")
        return self
