"""Measure what trivial agents score: all of them from one staging of each incident.

The trials are ordinary ones, carried out by the same code as an agent's, except that several
agents fork from the same hand-over and no telemetry is kept. Rows go to a journal as incidents end,
and what is in it already is not measured again. Not here: what a score is
(``grading.baselines``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiopslab.agents.loading import ORACLE, load
from aiopslab.agents.protocol import Agent
from aiopslab.agents.trivial import TRIVIAL
from aiopslab.grading import SCORING_VERSION
from aiopslab.grading.baselines import solved
from aiopslab.models.baseline import Baseline
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.orchestrator import lock, players
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.plan import plan_jobs, spread
from aiopslab.orchestrator.pool import Pool
from aiopslab.orchestrator.progress import OnProgress, Teller
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.rows import Rows
from aiopslab.orchestrator.soundness import Target, asked
from aiopslab.orchestrator.staging import Staged

AGENT = "(baselines)"
"""Name under which a run asks for these players instead of an agent."""
AGENTS = (ORACLE, "noop", *TRIVIAL)
"""The oracle plays with the answer key: what can be reached, beside what understands nothing."""
SEPARATOR = ":"


async def measure(
    targets: Sequence[str],
    *,
    agents: Sequence[str] = AGENTS,
    seeds: Sequence[int],
    out: Path | None = None,
    hosts: int,
    progress: OnProgress | None = None,
) -> list[Baseline]:
    """Let agents play every task of incidents.

    Args:
        targets: Incidents, suites, globs or paths; empty means every incident.
        agents: Names; they get no arguments and no model.
        seeds: What each incident is drawn with.
        out: A journal, JSON lines; made where there is none. Rows of the same file and scoring
            version in it are taken as they are; rows of others stay.
        hosts: Processes at once.
        progress: Receives what happens.

    Returns:
        One row an incident, agent and seed that were asked for, measured now or before.

    Raises:
        UsageError: A target or an agent is unknown, or the journal is none.
    """
    for name in agents:
        if name != ORACLE:
            load(name)
    rows = Rows(out, Baseline, lambda row: (row.incident, row.agent, row.seed))
    work = _Work(asked(targets), agents, seeds, rows)
    try:
        await work.carry_out(hosts, progress)
    finally:
        rows.tidy()
    return work.asked_for()


class _Work:
    """What is known, and what is still to be measured."""

    def __init__(
        self,
        targets: Sequence[Target],
        agents: Sequence[str],
        seeds: Sequence[int],
        rows: Rows[Baseline],
    ) -> None:
        self._base = min(seeds)
        self._digests = {t.spec.name: lock.of_incident(t.spec) for t in targets}
        self._rows = rows
        self._keys = [(t.spec.name, a, s) for t in targets for a in agents for s in seeds]
        self._left: dict[tuple[str, str, int], list[PlannedTrial]] = {}
        for target in targets:
            for seed in seeds:
                for agent in agents:
                    if not self._known(target, agent, seed):
                        plans = planned(target, agent, seed - self._base + 1)
                        self._left[target.spec.name, agent, seed] = plans

    def _known(self, target: Target, agent: str, seed: int) -> bool:
        row = self._rows.get(target.spec.name, agent, seed)
        now = (self._digests[target.spec.name], SCORING_VERSION)
        tasks = set(target.spec.tasks)
        return (
            row is not None
            and row.complete
            and (row.digest, row.scoring_version) == now
            and tasks == set(row.passed)
        )

    async def carry_out(self, hosts: int, progress: OnProgress | None) -> None:
        """Measure what is left; rows are kept as soon as their last trial has ended."""
        trials = [plan for plans in self._left.values() for plan in plans]
        config = RunConfig(targets=["baselines"], agent=AGENT, seed=self._base, concurrency=hosts)
        with tempfile.TemporaryDirectory(prefix="aiopslab-baselines-") as scratch:
            run = RunDirectory(Path(scratch) / "run")
            run.open()
            teller = Teller(run.path, progress)
            teller.planned = len(trials)

            rows = {plan.directory: key for key, plans in self._left.items() for plan in plans}

            def hear(message: dict[str, Any]) -> None:
                if message.get("event") == "trial_finished":
                    self._ended(run, rows[message["trial"]])
                teller.hear(message)

            jobs = spread(plan_jobs(find_lab(config.environment), config, trials), hosts)
            await Pool(run, config, hear).work(jobs, hosts)

    def _ended(self, run: RunDirectory, key: tuple[str, str, int]) -> None:
        """Keep a row if all its trials have ended."""
        plans = self._left[key]
        if all(run.trial(plan).complete for plan in plans):
            self._rows.add(self._row(run, key, plans))

    def _row(
        self, run: RunDirectory, key: tuple[str, str, int], plans: Sequence[PlannedTrial]
    ) -> Baseline:
        name, agent, seed = key
        passed: dict[Any, bool | None] = {}
        quiet = []
        for plan in plans:
            directory = run.trial(plan)
            trial = directory.trial()
            failed = trial.outcome == "infra_error"
            passed[plan.task] = None if failed else trial.outcome == "passed"
            if not failed and not directory.truth().root_causes:
                quiet.append(plan.task)
        return Baseline(
            incident=name,
            agent=agent,
            seed=seed,
            digest=self._digests[name],
            scoring_version=SCORING_VERSION,
            passed=passed,
            quiet=quiet,
        )

    def asked_for(self) -> list[Baseline]:
        """Return the rows that were asked for."""
        return [row for key in self._keys if (row := self._rows.get(*key)) is not None]


def planned(target: Target, agent: str, attempt: int) -> list[PlannedTrial]:
    """Return the trials of one agent on one draw of an incident."""
    return [
        PlannedTrial(
            problem=SEPARATOR.join([target.spec.name, agent, task]),
            incident=target.asked,
            task=task,
            attempt=attempt,
            verdict_only=True,
        )
        for task in target.spec.tasks
    ]


def player(staged: Staged, plan: PlannedTrial) -> Agent:
    """Make the agent that a trial is for."""
    name = plan.problem.rsplit(SEPARATOR, 2)[1]
    return players.oracle(staged, plan) if name == ORACLE else load(name).build()


def undeclared(rows: Sequence[Baseline], targets: Sequence[str]) -> dict[str, list[str]]:
    """Return agent -> incidents that it repairs though their files do not say so."""
    declared = {t.spec.name: t.spec.solved_by for t in asked(targets)}
    silent = {
        agent: [name for name in solved(rows, agent) if agent not in declared[name]]
        for agent in ("restart-everything", "rollback-latest-change")
    }
    return {agent: names for agent, names in silent.items() if names}
