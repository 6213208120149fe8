"""A run: agents x problems x attempts, one directory (``run.json`` and ``results.json``).

``RunConfig`` is what was asked, ``RunRecord`` what became of it, ``Results`` the aggregates.
Not here: one trial (``models.trial``), the digests a run is pinned to (``models.lock``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from aiopslab.models.base import Bytes, Model, Seconds
from aiopslab.models.calibration import Calibration
from aiopslab.models.context_profile import ContextChoice
from aiopslab.models.figures import FixedGivenDiagnosis, RestrictedTime, Spread
from aiopslab.models.task import Task, all_tasks

RunStatus = Literal["started", "success", "cancelled", "error"]
_CLOCK = re.compile(r"stepped|wall:(?P<factor>\d+(?:\.\d+)?)")


def parse_clock(clock: str) -> float | None:
    """Return F of ``wall:F``; None for ``stepped``.

    Raises:
        ValueError: It is neither.
    """
    match = _CLOCK.fullmatch(clock)
    if match is None or (match["factor"] and float(match["factor"]) <= 0):
        raise ValueError(f"{clock!r} is not a clock; write 'stepped' or 'wall:F', F > 0")
    return float(match["factor"]) if match["factor"] else None


SIMULATED = "sim"
"""The environment that is simulated."""
SEVERAL = "(several)"
"""Name of the agent of a run in which each trial says who plays it."""
REAL = ("kind", "kubeconfig")
"""Environments whose time nobody can let pass."""
_REAL_CLOCK = "wall:1"


class Limits(Model):
    """Budgets of one trial; None means unlimited. What is counted is counted from hand-over."""

    steps: int | None = Field(default=60, ge=1)
    """Tool calls; ``submit`` is always allowed."""
    virtual_s: Seconds | None = Field(default=2700.0, gt=0)
    """Seconds of the world's clock."""
    wall_s: Seconds | None = Field(default=1800.0, gt=0)
    """Seconds of the host's clock: a guard against an agent that hangs."""
    tokens: Bytes | None = Field(default=None, ge=1)
    """Input and output tokens together, as the agent reports them."""
    cost_usd: float | None = Field(default=None, gt=0)
    """As the agent reports it."""


class EnvironmentChoice(Model):
    """Which environment trials run on."""

    kind: str = SIMULATED
    """``sim``, ``kind``, ``kubeconfig``, or ``module:Class`` of a user's lab
    (``orchestrator.lab.Lab``)."""
    options: dict[str, str] = Field(default_factory=dict)


class RunConfig(Model):
    """Everything that was asked of a run; ``run.json`` keeps it."""

    schema_: Literal["aiopslab/run@1"] = Field(default="aiopslab/run@1", alias="schema")
    targets: list[str] = Field(min_length=1)
    """Suites (``core@1.0``), problem ids, incident names, globs or paths."""
    agent: str = "statistical"
    """Name, folder, ``module:Class`` or ``file.py:Class``."""
    model: str | None = None
    base_url: str | None = None
    """OpenAI-compatible endpoint; the key comes from the environment, never from here."""
    agent_args: dict[str, str] = Field(default_factory=dict)
    """As text, like ``-A name=value``; a program may give numbers and booleans."""
    tasks: list[Task] = Field(default_factory=all_tasks)
    exclude: list[str] = Field(default_factory=list)
    """Globs of problem ids to leave out."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many problems."""
    attempts: int = Field(default=1, ge=1)
    seed: int = 0
    """Attempt k (from 1) of every problem is drawn with ``seed + k - 1``."""
    environment: EnvironmentChoice = Field(default_factory=EnvironmentChoice)
    context: ContextChoice = Field(default_factory=ContextChoice)
    """What agents are told about the app beside telemetry and cluster."""
    clock: str = "stepped"
    """``stepped``: calls and thinking cost declared seconds; ``wall:F``: real time times F. A real
    cluster has ``wall:1`` and no other."""
    think_s: Seconds = 2.0
    """Virtual seconds of thinking before every call under the stepped clock."""
    limits: Limits = Field(default_factory=Limits)
    concurrency: int | None = Field(default=None, ge=1)
    """Host processes, each using one core; None takes as many as there are cores."""
    serve: bool = False
    """Open the wire APIs, the tool API and MCP on loopback for every trial."""
    sandbox: Literal["none", "docker"] = "none"
    """Where the program of a ``cmd:`` agent runs."""
    sandbox_image: str | None = None
    """Image of the sandbox's container."""
    agent_env: list[str] = Field(default_factory=list)
    """Environment of a ``cmd:`` agent: ``NAME`` (passed on from here) or ``NAME=VALUE``."""
    retry_infra: int = Field(default=1, ge=0)
    """How often a trial whose lab failed is repeated."""
    telemetry: bool = True
    """Keep each trial's telemetry as Parquet."""
    counterfactual: bool = False
    """Let the world of each mitigation go on without the agent too, for the score ``benefit``,
    where worlds can be copied; such a trial takes up to three times as long."""
    runs_dir: str = "runs"
    name: str | None = None
    """Name of the run directory; None composes ``<time>_<suite>_<agent>_<model>``."""

    @field_validator("agent_args", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items()}

    @model_validator(mode="before")
    @classmethod
    def _clock_of_environment(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "clock" in given:
            return given
        environment = EnvironmentChoice.model_validate(given.get("environment", {}))
        return {**given, "clock": _REAL_CLOCK} if environment.kind in REAL else given

    @field_validator("clock")
    @classmethod
    def _known_clock(cls, clock: str, info: ValidationInfo) -> str:
        parse_clock(clock)
        environment = info.data.get("environment")
        if environment is not None and environment.kind in REAL and clock != _REAL_CLOCK:
            raise ValueError(
                f"{clock!r} is not for environment {environment.kind!r}, whose time is real: leave "
                f"it out, or write {_REAL_CLOCK!r}"
            )
        return clock

    def trial_seed(self, attempt: int) -> int:
        """Return the seed of an attempt (from 1); shared by all problems of that attempt."""
        return self.seed + attempt - 1

    def agent_of(self, plan: PlannedTrial) -> str:
        """Return who plays a trial."""
        return plan.agent or self.agent

    def agents_of(self, plans: Iterable[PlannedTrial]) -> list[str]:
        """Return who plays these trials, each once."""
        return sorted({self.agent_of(plan) for plan in plans})

    def clock_factor(self) -> float | None:
        """Return F of ``wall:F``; None under the stepped clock."""
        return parse_clock(self.clock)


class PlannedTrial(Model):
    """One trial that the run is to make."""

    problem: str
    incident: str
    task: Task
    attempt: int
    agent: str | None = None
    """Who plays it, where several agents share a run; None: the run's agent."""
    twin: bool | None = None
    """Whether the fault is left out; None lets the draw decide, as every agent's trial does."""
    alone: int | None = None
    """Of several faults only the n-th acts, counted from 1; None: all that the incident has."""
    verdict_only: bool = False
    """Measure no more than the verdict needs: a settle window that is lost ends the settling."""
    telemetry: bool = True
    """Whether its telemetry is kept, if the run keeps any."""

    @property
    def directory(self) -> str:
        """Name of its directory below ``trials/``."""
        return f"{self.problem}__{self.attempt}"


class RunRecord(Model):
    """``run.json``. Wall-clock figures and the machine live under ``wall`` only."""

    schema_: Literal["aiopslab/run-record@1"] = Field(
        default="aiopslab/run-record@1", alias="schema"
    )
    label: str
    """The suite with its version, or the targets."""
    status: RunStatus
    config: RunConfig
    trials: list[PlannedTrial]
    versions: dict[str, str] = Field(default_factory=dict)
    wall: dict[str, float | str] = Field(default_factory=dict)
    error: str | None = None


class Estimate(Model):
    """A mean with its 95 % confidence interval; None where there is nothing to average."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Trials behind it."""
    method: Literal["wilson", "cluster-bootstrap", "none"] = "none"


class Coverage(Model):
    """How much of what was planned can be counted."""

    n_planned: int
    n_completed: int
    """Graded, whatever the verdict: passed, failed, limit, agent_error."""
    n_infra: int
    """The lab failed; nothing to grade."""
    n_excluded: int
    """Not run or not finished."""

    @model_validator(mode="after")
    def _adds_up(self) -> Coverage:
        if self.n_planned != self.n_completed + self.n_infra + self.n_excluded:
            raise ValueError("planned trials are completed, infra or excluded; these do not add up")
        return self

    @property
    def share(self) -> float | None:
        """Completed over planned; None when nothing was planned."""
        return self.n_completed / self.n_planned if self.n_planned else None


class TaskResults(Coverage):
    """The aggregates of one task, or of all tasks together."""

    task: Task | Literal["all"]
    n_problems: int
    strict: Estimate
    """Share passed over all planned trials: infra and unfinished trials count 0."""
    completed: Estimate
    """Share passed over completed trials."""
    pass_hat_k: dict[str, float | None] = Field(default_factory=dict)
    """``{"1": ..., "2": ...}``: all of k tries succeed; mean over problems with enough."""
    pass_at_k: dict[str, float | None] = Field(default_factory=dict)
    """The same of at least one of k tries."""
    constant: float | None = None
    """Share that the best constant answer, chosen in hindsight, would have passed."""
    balanced_accuracy: Estimate | None = None
    """Detection: mean of the shares right with and without a fault; None where one is missing."""
    restricted_time: RestrictedTime | None = None
    """Detection and mitigation: how long it took; None without a budget of virtual time."""
    brier: Estimate = Field(default_factory=Estimate)
    overconfidence: float | None = None
    """Mean stated confidence minus share passed, over trials that stated one."""
    calibration: Calibration | None = None
    """Of all trials that stated a confidence; None where none did."""
    scores: dict[str, float | None] = Field(default_factory=dict)
    """Mean of every named score over the trials that have it."""
    floors: dict[str, float | None] = Field(default_factory=dict)
    """What the scores of the same name, and ``passed``, are by chance: mean over the same trials.
    """
    process: dict[str, Spread] = Field(default_factory=dict)
    """Of every figure of ``models.trial.Usage``, over completed trials."""
    outcomes: dict[str, int] = Field(default_factory=dict)


class Headline(Model):
    """The two numbers to quote; None below 95 % coverage."""

    strict: float | None
    completed: float | None
    coverage: Annotated[float, Field(ge=0.0, le=1.0)] | None
    convention: str


class Results(Model):
    """``results.json``: a pure function of the trial records."""

    schema_: Literal["aiopslab/results@1"] = Field(default="aiopslab/results@1", alias="schema")
    scoring_version: str
    """Which version graded the trials; of several, which are not comparable, all."""
    label: str
    agent: str
    model: str | None
    environment: str
    attempts: int
    seed: int
    headline: Headline
    overall: TaskResults
    tasks: list[TaskResults]
    fixed_given_diagnosis: FixedGivenDiagnosis | None = None
    """None where no draw with a fault was asked for both."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
