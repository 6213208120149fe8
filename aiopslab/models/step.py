"""The steps of an endpoint: what a service does for one request, as data.

Not here: how a step runs (``services.steps``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Bytes, Model
from aiopslab.models.workload import Value


class CallStep(Model):
    """Call another service, with the client policy of this service for that target."""

    call: str
    """``service METHOD /path``, for instance ``geo GET /nearby``."""
    params: dict[str, Value] = Field(default_factory=dict)
    optional: bool = False
    """True: a failure is logged and the request goes on (graceful degradation)."""
    fallback: list[Step] = Field(default_factory=list)
    """On a failure: run these instead; if they fail, the request fails."""


class ParallelStep(Model):
    """Run steps side by side; the first hard failure fails the request."""

    parallel: list[Step]


class SqlStep(Model):
    """Run a named statement of this service's database."""

    sql: str
    """Key of ``Store.statements``."""
    params: dict[str, Value] = Field(default_factory=dict)


class CacheAccess(Model):
    """A cache access: read through, write or delete."""

    get: str | None = None
    """Key template to read."""
    set: str | None = None
    """Key template to write."""
    delete: str | None = None
    ttl: str | float | None = None
    """Seconds or ``$KEY``; None never expires."""
    size: Bytes = 512
    """Bytes of the value."""
    fill: list[Step] = Field(default_factory=list)
    """On a miss: run these, then write the value."""


class CacheStep(Model):
    """Use this service's cache."""

    cache: CacheAccess


class Cpu(Model):
    """A lognormal amount of CPU work."""

    ms: float
    cv: float = 0.5


class CpuStep(Model):
    """Burn CPU on the container's cgroup."""

    cpu: Cpu


class LogLine(Model):
    """A structured log line."""

    level: Literal["debug", "info", "warn", "error"] = "info"
    msg: str
    fields: dict[str, Value] = Field(default_factory=dict)


class LogStep(Model):
    """Write a log line in the style of the service's language."""

    log: LogLine


class FailStep(Model):
    """Answer with an error status, with a probability."""

    fail: int
    """HTTP status."""
    probability: float = 1.0
    message: str = ""


WHEN_KEYS = ("probability", "flag")
"""Keys of ``when`` that name no request parameter."""


class WhenStep(Model):
    """Run steps with a probability, if a request parameter has a value, or if a flag is on."""

    when: dict[str, Value]
    """``{probability: 0.1}``, ``{param: value}``, ``{flag: name}``; all of them must hold."""
    then: list[Step]
    otherwise: list[Step] = Field(default_factory=list)


class SleepStep(Model):
    """Wait without CPU: an external party, a device."""

    sleep: Cpu


Step = (
    CallStep | ParallelStep | SqlStep | CacheStep | CpuStep | LogStep | FailStep | WhenStep
    | SleepStep
)  # fmt: skip


def call_targets(
    steps: list[Step], *, needed: bool = False
) -> tuple[list[str], set[Literal["db", "cache"]]]:
    """Collect what steps reach, at any depth: calls (``service METHOD /path``) and store roles.

    Args:
        steps: Of an endpoint.
        needed: Leave out calls that a request does without.
    """
    calls: list[str] = []
    roles: set[Literal["db", "cache"]] = set()
    for step in steps:
        inner: list[Step] = []
        match step:
            case CallStep(call=call, optional=optional, fallback=fallback):
                if not (needed and (optional or fallback)):
                    calls.append(call)
                inner = fallback
            case ParallelStep(parallel=inner):
                pass
            case WhenStep(then=then, otherwise=otherwise):
                inner = [*then, *otherwise]
            case CacheStep(cache=access):
                roles.add("cache")
                inner = access.fill
            case SqlStep():
                roles.add("db")
            case _:
                pass
        deeper, more = call_targets(inner, needed=needed)
        calls += deeper
        roles |= more
    return calls, roles


for _model in (CallStep, ParallelStep, CacheAccess, CacheStep, WhenStep):
    _model.model_rebuild()
