"""An incident: app, load, fault(s), distractors, schedule; and suites, named lists of incidents.

The file format of ``problems/incidents/*.yaml`` and ``problems/suites/*.yaml``. An agent sees
neither. Not here: what a fault does (``faults``), what a drawn incident is (``problems.draw``).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from aiopslab.models.base import Model, Seconds
from aiopslab.models.task import Task, all_tasks

Positive = Annotated[Seconds, Field(gt=0.0)]
NotNegative = Annotated[Seconds, Field(ge=0.0)]
_DRAWN = ("selector", "range", "choice")
"""How a variable is drawn."""


class FaultUse(Model):
    """One fault of an incident."""

    kind: str
    """``family/kind`` of the fault registry, for instance ``release/memory-leak``."""
    target: str | dict[str, Any]
    """``$name`` of a drawn variable, a component's name, or a selector."""
    after: NotNegative = 0.0
    """Seconds after the incident's start."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the kind; a value, ``$name``, or a range ``[low, high]`` to draw from."""

    @field_validator("params")
    @classmethod
    def _ranges(cls, params: dict[str, Any]) -> dict[str, Any]:
        for name, value in params.items():
            if _is_range(value):
                _ascending(name, value)
        return params


class Distractor(Model):
    """Something that happens beside the fault, harmless by itself; also present in the twin."""

    kind: str
    """``change/innocent-rollout``, ``change/innocent-config``, ``load/spike``."""
    target: str | dict[str, Any]
    before: NotNegative = 0.0
    """Seconds before the incident's start."""
    after: NotNegative = 0.0
    """Seconds after it: what happened last is then not what broke it. Not with ``before``."""
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_time(self) -> Distractor:
        if self.before and self.after:
            raise ValueError("a distractor happens either 'before' or 'after' the start")
        return self

    @property
    def at(self) -> float:
        """When it happens (seconds), relative to the incident's start."""
        return self.after or -self.before


class SliCondition(Model):
    """A condition on a journey's SLIs, as the load generator measures them."""

    journey: str
    success_below: float | None = Field(default=None, gt=0.0, le=1.0)
    p95_ms_above: float | None = Field(default=None, gt=0.0)
    ttft_p95_ms_above: float | None = Field(default=None, gt=0.0)
    """Streamed answers: time to the first part."""
    tbt_p99_ms_above: float | None = Field(default=None, gt=0.0)
    """Streamed answers: pause between parts."""
    tbt_p999_ms_above: float | None = Field(default=None, gt=0.0)
    over: Positive = 60.0
    """Length of the trailing window."""

    @model_validator(mode="after")
    def _bounded(self) -> SliCondition:
        bounds = self.model_dump(exclude={"journey", "over"})
        if all(bound is None for bound in bounds.values()):
            raise ValueError(f"without a bound it never holds; write one of {', '.join(bounds)}")
        return self


class SymptomClause(Model):
    """One way the incident may show; exactly one field is set."""

    alert: str | None = None
    """Name of an alert rule that fires."""
    sli: SliCondition | None = None
    promql: str | None = None
    """An expression with a non-empty result."""

    @model_validator(mode="after")
    def _one(self) -> SymptomClause:
        given = self.model_dump(exclude_none=True)
        if len(given) != 1:
            raise ValueError(f"a clause has one of 'alert', 'sli' and 'promql', not {list(given)}")
        return self


class Symptom(Model):
    """The gate before hand-over: the fault must be seen to hurt. Exactly one list is given."""

    any: list[SymptomClause] = Field(default_factory=list)
    """One of them holds."""
    all: list[SymptomClause] = Field(default_factory=list)
    """All hold at once: two faults, and each is seen."""
    within: Positive

    @model_validator(mode="after")
    def _one_list(self) -> Symptom:
        if bool(self.any) == bool(self.all):
            raise ValueError("a symptom has either 'any' or 'all', and not an empty one")
        return self

    @property
    def clauses(self) -> list[SymptomClause]:
        """What is looked at, whether one or all of it must hold."""
        return self.any or self.all


class Difficulty(Model):
    """Declared difficulty, later compared with results."""

    hops: int = Field(ge=0)
    """Calls or mechanisms between the loudest symptom and the cause."""
    signals: list[Literal["metrics", "logs", "traces", "events", "changes", "kube", "sql"]]
    trap: str = ""


class IncidentSpec(Model):
    """One file of ``problems/incidents``."""

    schema_: Literal["aiopslab/incident@1"] = Field(alias="schema")
    name: str
    """Equal to the file's stem."""
    title: str
    """For people who read the catalogue; never shown to agents."""
    app: str
    tags: list[str] = Field(default_factory=list)
    draw: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Drawn variables: ``{service: {selector: {...}}}`` or ``{x: {range: [a, b]}}``."""
    load: dict[str, Any] = Field(default_factory=dict)
    """Overrides of the app's load from the incident's start: ``{scale: 1.4}``."""
    baseline: NotNegative = 600.0
    """Healthy, recorded minutes before the incident's start."""
    faults: list[FaultUse]
    """Empty for an incident that only looks alarming."""
    joint: bool = False
    """Of several faults each is harmless alone; else each hurts by itself and must be repaired."""
    distractors: list[Distractor] = Field(default_factory=list)
    symptom: Symptom | None = None
    """None only without faults."""
    handover: NotNegative = 60.0
    """From the symptom to the agent's first step: the time a page takes to be read."""
    settle: Positive = 120.0
    """Length of each of the two windows in which the SLOs must hold after ``submit``."""
    restart_is_fix: bool = False
    """True where restarting pods is a legitimate repair; the cheat check then skips it."""
    solved_by: dict[Literal["restart-everything", "rollback-latest-change"], str] = Field(
        default_factory=dict
    )
    """Trivial agents that repair it, each with the reason why the incident is kept all the same."""
    simulated_only: str = ""
    """Why it cannot show on a real cluster, although all that it is made of exists there."""
    tasks: list[Task] = Field(default_factory=all_tasks, min_length=1)
    difficulty: Difficulty
    signals: dict[Literal["real", "modelled"], list[str]] = Field(default_factory=dict)
    """Which signals the mechanism produces, and which the world models."""

    @field_validator("draw")
    @classmethod
    def _drawable(cls, draw: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, how in draw.items():
            if len(how) != 1 or not set(how) <= set(_DRAWN):
                raise ValueError(f"{name!r} needs one of {', '.join(_DRAWN)}, has {sorted(how)}")
            match how:
                case {"selector": wanted} if not isinstance(wanted, dict):
                    raise ValueError(
                        f"{name!r}: {wanted!r} is no selector; write {{kind: service}}"
                    )
                case {"range": bounds}:
                    if not _is_range(bounds):
                        raise ValueError(f"{name!r}: {bounds!r} is no range; write [low, high]")
                    _ascending(name, bounds)
                case {"choice": options} if not isinstance(options, list) or not options:
                    raise ValueError(f"{name!r}: nothing to choose from; write choice: [a, b]")
        return draw

    @field_validator("load")
    @classmethod
    def _known_load(cls, load: dict[str, Any]) -> dict[str, Any]:
        for name, value in load.items():
            if name != "scale":
                raise ValueError(f"unknown key {name!r}; write scale: 1.4")
            if not _is_number(value) or value <= 0.0:
                raise ValueError(f"scale: {value!r} is no factor above 0; write scale: 1.4")
        return load


class SuiteSpec(Model):
    """One file of ``problems/suites``: a named, versioned list."""

    schema_: Literal["aiopslab/suite@1"] = Field(alias="schema")
    name: str
    version: str = Field(pattern=r"^\d+(\.\d+)*$")
    """Numbers with dots; of several the highest is meant where none is named."""
    title: str
    incidents: list[str] = Field(min_length=1)
    """Incident names; a glob is expanded in sorted order."""
    tasks: list[Task] = Field(default_factory=all_tasks, min_length=1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _ascending(name: str, bounds: list[Any]) -> None:
    if bounds[0] > bounds[1]:
        raise ValueError(f"{name!r}: the range {bounds!r} ends before it begins")
