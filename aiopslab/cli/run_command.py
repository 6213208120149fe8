"""``aiopslab run``: run an agent on problems, grade it, keep the record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from aiopslab.cli import EXIT_INFRA, output
from aiopslab.cli.progress import Display, display
from aiopslab.models.context_profile import Delivery, Profile
from aiopslab.models.task import Task

if TYPE_CHECKING:
    from aiopslab.models.run import RunConfig
    from aiopslab.orchestrator.run import RunReport

_WHAT = Group("What", sort_key=1)
_AGENT = Group("Agent", sort_key=2)
_RUNTIME = Group("Runtime", sort_key=3)
_LIMITS = Group("Limits", sort_key=4)
_OUTPUT = Group("Execution and output", sort_key=5)


@Parameter(name="*", group=_WHAT)
@dataclass(frozen=True)
class What:
    """Which problems."""

    limit: Annotated[int | None, Parameter(alias="-l")] = None
    """Only the first so many problems."""
    exclude: Annotated[list[str], Parameter(alias="-x", negative="")] = field(default_factory=list)
    """Leave out problems that match this glob."""
    task_type: Annotated[list[Task], Parameter(negative="")] = field(default_factory=list)
    """Only these tasks."""
    attempts: Annotated[int, Parameter(alias="-k")] = 1
    """Attempts at each problem, each with its own seed."""
    seed: int = 0
    """Seed of the first attempt."""


@Parameter(name="*", group=_AGENT)
@dataclass(frozen=True)
class Who:
    """Which agent."""

    agent: Annotated[str, Parameter(alias="-a")] = "statistical"
    """Name, folder with agent.yaml, module:Class, file.py:Class, cmd:PROGRAM or webhook:URL."""
    model: Annotated[str | None, Parameter(alias="-m")] = None
    """Model name for agents that need one."""
    base_url: str | None = None
    """OpenAI-compatible endpoint; the key is read from OPENAI_API_KEY."""
    agent_arg: Annotated[list[str], Parameter(alias="-A", negative="")] = field(
        default_factory=list
    )
    """Argument of the agent, KEY=VALUE; repeatable."""
    agent_env: Annotated[list[str], Parameter(negative="")] = field(default_factory=list)
    """Variable for a cmd: agent: NAME (passed on) or NAME=VALUE (kept in run.json); repeatable."""
    sandbox: Literal["none", "docker"] = "none"
    """Where the program of a cmd: agent runs."""
    sandbox_image: str | None = None
    """Image of the sandbox's container."""
    context_profile: Profile = "P4"
    """What agents are told beside telemetry and cluster: P0 nothing, P1 topology, P2 also docs, P3
    changes, P4 monitors and runbooks, P5 past incidents."""
    context_delivery: Delivery = "pull"
    """pull: by tools; push: as a block in the brief, without these tools."""
    context_tokens: int = 2000
    """Budget of the block, at four characters a token."""
    embeddings: str | None = None
    """Model that ranks past incidents by meaning, instead of BM25; with P5."""
    embeddings_url: str | None = None
    """OpenAI-compatible endpoint of that model; the key is read from OPENAI_API_KEY."""


@Parameter(name="*", group=_RUNTIME)
@dataclass(frozen=True)
class Where:
    """Which environment."""

    env: Annotated[str, Parameter(alias="-e")] = "sim"
    """Environment: sim, kind, kubeconfig (a cluster of yours), or module:Class of your own lab."""
    env_option: Annotated[list[str], Parameter(alias="-E", negative="")] = field(
        default_factory=list
    )
    """Option of the environment, KEY=VALUE; repeatable."""
    clock: str | None = None
    """stepped (default on sim): calls and thinking cost declared virtual seconds; wall:F: real
    time times F; a real cluster has wall:1."""
    serve: Annotated[bool, Parameter(negative="")] = False
    """Open kubectl, Prometheus, Loki, Jaeger, Alertmanager, HTTP and MCP doors for every trial."""


@Parameter(name="*", group=_LIMITS)
@dataclass(frozen=True)
class Limited:
    """Budgets of one trial."""

    max_steps: int | None = None
    """Tool calls. Default 60."""
    time_limit: str | None = None
    """Virtual time, such as 45m. Default 45m."""
    wall_limit: str | None = None
    """Real time, such as 30m. Default 30m."""
    token_limit: str | None = None
    """Tokens in and out together, such as 200k."""
    cost_limit: float | None = None
    """US dollars, as the agent reports them."""


@Parameter(name="*", group=_OUTPUT)
@dataclass(frozen=True)
class How:
    """Execution and output."""

    concurrency: Annotated[int, Parameter(alias="-n")] = 0
    """Host processes; 0: one a core, or one where worlds are not simulated."""
    retry_infra: int = 1
    """How often a trial whose lab failed is repeated."""
    fail_on_infra: float = 0.1
    """Exit 4 if more than this share of the trials failed on our side."""
    telemetry: bool = True
    """Keep each trial's telemetry as Parquet files."""
    counterfactual: bool = False
    """Let each mitigation's world go on without the agent too, for the score benefit; sim only."""
    runs_dir: Annotated[Path, Parameter(alias="-o")] = Path("runs")
    """Where runs are kept."""
    name: str | None = None
    """Name of the run's directory; default: time, suite, agent, model."""
    display: Display = "auto"
    """auto, live, plain, json or none."""
    quiet: Annotated[bool, Parameter(alias="-q", negative="")] = False
    """No progress."""
    json: Annotated[bool, Parameter(negative="")] = False
    """Print the results as one JSON document."""
    dry_run: Annotated[bool, Parameter(negative="")] = False
    """Print what would be run and stop."""


def command(
    *targets: str,
    what: What | None = None,
    who: Who | None = None,
    where: Where | None = None,
    limits: Limited | None = None,
    how: How | None = None,
) -> int:
    """Run an agent on problems and grade it.

    Args:
        targets: Suites (core@1.0), incidents, problems, globs, or paths of incident files.
        what: Which problems.
        who: Which agent.
        where: Which environment.
        limits: Budgets of one trial.
        how: Execution and output.
    """
    import asyncio

    how = how or How()
    threshold(how.fail_on_infra)
    config = _config(targets, what or What(), who or Who(), where or Where(), limits, how)
    _look_up(config)
    _announce(config)
    if how.dry_run:
        return _dry_run(config, as_json=how.json)
    from aiopslab.orchestrator.run import run

    with display(how.display, quiet=how.quiet) as show:
        report = asyncio.run(run(config, progress=show))
    return finish(report, as_json=how.json, fail_on_infra=how.fail_on_infra)


def _look_up(config: RunConfig) -> None:
    """Refuse names that nobody knows; a run does so too, but only once a world is imported.

    Raises:
        UsageError: A target or the agent is unknown, or an argument of it; or it takes no model.
    """
    from aiopslab.agents import load
    from aiopslab.errors import UsageError
    from aiopslab.models.run import REAL, SIMULATED
    from aiopslab.problems import catalogue

    if config.environment.kind in (SIMULATED, *REAL):  # a lab of one's own may know others
        catalogue.expand(config.targets, config.tasks)
    agent = load(config.agent)
    agent.spec.arguments(config.agent_args)
    if config.model is not None and agent.modelless:
        # The name would stand in every report of the run.
        raise UsageError(f"agent {config.agent!r} takes no model", hint="leave out --model")
    if config.base_url is not None and config.model is None:
        raise UsageError("--base-url: no model to ask there", hint="-m NAME")


def _announce(config: RunConfig) -> None:
    """Show what a run creates on a real cluster, before it does."""
    from aiopslab.models.run import REAL

    if config.environment.kind in REAL:
        from aiopslab.orchestrator.lab import find_lab
        from aiopslab.orchestrator.real_lab import RealLab

        lab = find_lab(config.environment)
        assert isinstance(lab, RealLab), "who is named so"
        for line in lab.preview(config):
            output.note(line)


def threshold(share: float) -> None:
    """Refuse a share of failed trials that no run can have more or less than.

    Raises:
        UsageError: It is not from 0 to 1.
    """
    from aiopslab.errors import UsageError

    if not 0.0 <= share <= 1.0:
        said = f"--fail-on-infra: {share:g} is no share of trials"
        raise UsageError(said, hint="from 0 to 1, such as 0.1")


def finish(report: RunReport, *, as_json: bool, fail_on_infra: float) -> int:
    """Print the results of a run; return the exit code."""
    from aiopslab.report import terminal

    results, overall = report.results, report.results.overall
    if as_json:
        data: dict[str, Any] = {"directory": str(report.directory)}
        output.envelope("aiopslab/results@1", data | results.model_dump(mode="json"))
    else:
        output.scores(results)
        for line in terminal.footing(results, report.record, report.directory):
            print(line)
    failed = overall.n_infra / overall.n_planned if overall.n_planned else 0.0
    return EXIT_INFRA if failed > fail_on_infra else 0


def _config(
    targets: tuple[str, ...], what: What, who: Who, where: Where, limits: Limited | None, how: How
) -> RunConfig:
    from pydantic import ValidationError

    from aiopslab.errors import UsageError
    from aiopslab.models.run import RunConfig
    from aiopslab.models.task import all_tasks

    if not targets:
        raise UsageError("nothing to run", hint="aiopslab run quickstart, or aiopslab list suites")
    try:
        return RunConfig.model_validate(
            {
                "targets": list(targets),
                "tasks": what.task_type or all_tasks(),
                "exclude": what.exclude,
                "limit": what.limit,
                "attempts": what.attempts,
                "seed": what.seed,
                "limits": _limits(limits),
                **_who(who),
                **_where(where),
                **_how(how),
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] != "value_error":
            said += f" (got {first['input']!r})"
        raise UsageError(f"{_flag([str(key) for key in first['loc']])}: {said}") from error


def _who(who: Who) -> dict[str, Any]:
    return {
        "agent": who.agent,
        "model": who.model,
        "base_url": who.base_url,
        "agent_args": dict(pair(a) for a in who.agent_arg),
        "agent_env": who.agent_env,
        "sandbox": who.sandbox,
        "sandbox_image": who.sandbox_image,
        "context": {
            "profile": who.context_profile,
            "delivery": who.context_delivery,
            "tokens": who.context_tokens,
            "embeddings": who.embeddings,
            "embeddings_url": who.embeddings_url,
        },
    }


def _where(where: Where) -> dict[str, Any]:
    options = {key: str(value) for key, value in map(pair, where.env_option)}
    given: dict[str, Any] = {
        "environment": {"kind": where.env, "options": options},
        "serve": where.serve,
    }
    return given if where.clock is None else given | {"clock": where.clock}


def _how(how: How) -> dict[str, Any]:
    from aiopslab.errors import UsageError

    if how.concurrency < 0:
        raise UsageError(f"--concurrency: no number of processes: {how.concurrency}", hint="-n 2")
    return {
        "concurrency": how.concurrency or None,
        "retry_infra": how.retry_infra,
        "telemetry": how.telemetry,
        "counterfactual": how.counterfactual,
        "runs_dir": str(how.runs_dir),
        "name": how.name,
    }


def _flag(path: list[str]) -> str:
    """Return the flag behind a field of the configuration."""
    field = path[-1]
    if path[0] == "context":
        return "--context-" + field if len(path) > 1 else "--context-profile"
    flags = {flag: name for name, flag in _LIMIT_FIELDS.items()}
    return "--" + flags.get(field, field).replace("_", "-")


_LIMIT_FIELDS = {
    "max_steps": "steps",
    "time_limit": "virtual_s",
    "wall_limit": "wall_s",
    "token_limit": "tokens",
    "cost_limit": "cost_usd",
}
"""Flags and the fields of ``Limits`` they set."""


def _limits(limits: Limited | None) -> dict[str, Any]:
    given = limits or Limited()
    values = {field: getattr(given, flag) for flag, field in _LIMIT_FIELDS.items()}
    return {k: v for k, v in values.items() if v is not None}


def pair(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE, the value as YAML."""
    import yaml

    from aiopslab.errors import UsageError

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"{text!r} is not KEY=VALUE", hint="-A temperature=0")
    return key, yaml.safe_load(value)


def cores() -> int:
    """Return the cores this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _dry_run(config: RunConfig, *, as_json: bool) -> int:
    from aiopslab.orchestrator.lab import find_lab
    from aiopslab.orchestrator.plan import plan_trials

    label, trials = plan_trials(find_lab(config.environment), config)
    if as_json:
        output.envelope("aiopslab/plan@1", [t.model_dump(mode="json") for t in trials])
    else:
        output.table(
            ["problem", "task", "attempt"], [[t.problem, t.task, t.attempt] for t in trials]
        )
        print(f"{label}: {len(trials)} trials by {config.agent}; nothing was run")
    return 0
