"""The steps of an endpoint: what a service does for one request, as data.

Not here: how a step runs (``services.steps``).
"""

from __future__ import annotations

from dataclasses import dataclass
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


class Publication(Model):
    """A message for other services to work on, later."""

    subject: str
    """Template of the subject: ``orders.placed``, ``orders.{region}``."""
    size: Bytes = 1024
    """Bytes of the body."""
    params: dict[str, Value] = Field(default_factory=dict)
    """All that the message says; who works on it sees these and nothing else."""
    id: str = ""
    """Template of the message id; the server drops a second message with it."""
    optional: bool = False
    """True: a message that cannot be sent is logged and the request goes on."""


class PublishStep(Model):
    """Publish to this service's queue and wait until the server has stored it."""

    publish: Publication


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


class TokenStep(Model):
    """Sign the request for those it is passed on to, or verify what the caller signed."""

    token: Literal["sign", "verify"]


class SleepStep(Model):
    """Wait without CPU: an external party, a device."""

    sleep: Cpu


Step = (
    CallStep | ParallelStep | SqlStep | CacheStep | PublishStep | CpuStep | LogStep | FailStep
    | WhenStep | SleepStep | TokenStep
)  # fmt: skip


Role = Literal["db", "cache", "queue"]
"""What a store is to a service."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What steps reach beyond their own process."""

    calls: list[str]
    """``service METHOD /path``, in order."""
    roles: set[Role]
    """Stores, by what they are to the service."""
    subjects: list[str]
    """Templates of the subjects published to."""


def reach(steps: list[Step], *, needed: bool = False) -> Reach:
    """Collect what steps reach, at any depth.

    Args:
        steps: Of an endpoint.
        needed: Leave out what a request does without.
    """
    found = Reach([], set(), [])
    for step in steps:
        inner: list[Step] = []
        match step:
            case CallStep(call=call, optional=optional, fallback=fallback):
                if not (needed and (optional or fallback)):
                    found.calls.append(call)
                inner = fallback
            case ParallelStep(parallel=inner):
                pass
            case WhenStep(then=then, otherwise=otherwise):
                inner = [*then, *otherwise]
            case CacheStep(cache=access):
                found.roles.add("cache")
                inner = access.fill
            case SqlStep():
                found.roles.add("db")
            case PublishStep(publish=message):
                if not (needed and message.optional):
                    found.roles.add("queue")
                    found.subjects.append(message.subject)
            case _:
                pass
        deeper = reach(inner, needed=needed)
        found.calls.extend(deeper.calls)
        found.roles.update(deeper.roles)
        found.subjects.extend(deeper.subjects)
    return found


for _model in (CallStep, ParallelStep, CacheAccess, CacheStep, WhenStep):
    _model.model_rebuild()
