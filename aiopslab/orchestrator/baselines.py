"""Measure what trivial agents score: all of them from one staging of each incident.

The trials are ordinary ones, carried out by the same code as an agent's, except that several
agents fork from the same hand-over and no telemetry is kept. Not here: what a score is
(``grading.baselines``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from aiopslab.agents.loading import load
from aiopslab.agents.protocol import Agent
from aiopslab.agents.trivial import TRIVIAL
from aiopslab.grading import SCORING_VERSION
from aiopslab.grading.baselines import solved
from aiopslab.models.baseline import Baselines, BaselineTrial
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.orchestrator import lock
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.plan import plan_jobs, spread
from aiopslab.orchestrator.pool import Pool
from aiopslab.orchestrator.progress import OnProgress, Teller
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.soundness import Target, asked
from aiopslab.orchestrator.staging import Staged

AGENT = "(baselines)"
"""Name under which a run asks for these players instead of an agent."""
AGENTS = ("noop", *TRIVIAL)
SEPARATOR = ":"


async def measure(
    targets: Sequence[str],
    *,
    agents: Sequence[str] = AGENTS,
    seed: int,
    attempts: int,
    hosts: int,
    progress: OnProgress | None = None,
) -> Baselines:
    """Let agents play every task of incidents.

    Args:
        targets: Incidents, suites, globs or paths; empty means every incident.
        agents: Names; they get no arguments and no model.
        seed: Of the first attempt; attempt k is drawn with ``seed + k - 1``.
        attempts: How often everything is played.
        hosts: Processes at once.
        progress: Receives what happens.

    Raises:
        UsageError: A target or an agent is unknown.
    """
    for name in agents:
        load(name)
    found = asked(targets)
    trials = planned(found, agents, attempts)
    with tempfile.TemporaryDirectory(prefix="aiopslab-baselines-") as scratch:
        run = RunDirectory(Path(scratch) / "run")
        config = RunConfig(
            targets=["baselines"], agent=AGENT, seed=seed, attempts=attempts, concurrency=hosts
        )
        run.open()
        jobs = spread(plan_jobs(find_lab(config.environment), config, trials), hosts)
        await Pool(run, config, Teller(run.path, len(trials), progress).hear).work(jobs, hosts)
        rows = [_row(run, plan, config) for plan in trials]
    digest = lock.of_incidents([t.spec for t in found])
    return Baselines(scoring_version=SCORING_VERSION, catalogue=digest, trials=rows)


def planned(targets: Sequence[Target], agents: Sequence[str], attempts: int) -> list[PlannedTrial]:
    """Return the trials, those of an incident together."""
    return [
        PlannedTrial(
            problem=SEPARATOR.join([target.spec.name, agent, task]),
            incident=target.asked,
            task=task,
            attempt=attempt,
            verdict_only=True,
        )
        for target in targets
        for attempt in range(1, attempts + 1)
        for agent in agents
        for task in target.spec.tasks
    ]


def player(staged: Staged, plan: PlannedTrial) -> Agent:
    """Make the agent that a trial is for."""
    return load(_agent(plan)).build()


def undeclared(found: Baselines, targets: Sequence[str]) -> dict[str, list[str]]:
    """Return agent -> incidents that it repairs though their files do not say so."""
    declared = {t.spec.name: t.spec.solved_by for t in asked(targets)}
    silent = {
        agent: [name for name in solved(found.trials, agent) if agent not in declared[name]]
        for agent in ("restart-everything", "rollback-latest-change")
    }
    return {agent: names for agent, names in silent.items() if names}


def _agent(plan: PlannedTrial) -> str:
    return plan.problem.rsplit(SEPARATOR, 2)[1]


def _row(run: RunDirectory, plan: PlannedTrial, config: RunConfig) -> BaselineTrial:
    directory = run.trial(plan)
    trial = directory.trial()
    failed = trial.outcome == "infra_error"
    return BaselineTrial(
        incident=plan.problem.split(SEPARATOR, 1)[0],
        agent=_agent(plan),
        task=plan.task,
        seed=config.trial_seed(plan.attempt),
        quiet=failed or not directory.truth().root_causes,
        passed=None if failed else trial.outcome == "passed",
    )
