"""Measure what several agents score: all of them from one staging of each incident.

The trials are those of an ordinary run in which each says who plays it. Rows go to a journal as
incidents end, and what is in it already is not measured again. The run's own record is kept where
it took long to make: on a cluster. Not here: what a score is (``grading.baselines``), on which
world trials follow one another (``bench`` and ``cold``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from aiopslab.agents.loading import ORACLE
from aiopslab.agents.trivial import TRIVIAL
from aiopslab.grading import SCORING_VERSION
from aiopslab.grading.baselines import solved
from aiopslab.models.baseline import Baseline
from aiopslab.models.run import SEVERAL, SIMULATED, EnvironmentChoice, PlannedTrial, RunConfig
from aiopslab.models.task import all_tasks
from aiopslab.orchestrator import lock
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.progress import OnProgress, Progress, without_verdict
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.rows import Rows
from aiopslab.orchestrator.run import run
from aiopslab.orchestrator.soundness import Target, asked

AGENTS = (ORACLE, "noop", *TRIVIAL)
"""The oracle plays with the answer key: what can be reached, beside what understands nothing."""
SEPARATOR = ":"
EVERY = "*"
"""Glob of all incidents."""


async def measure(
    targets: Sequence[str],
    *,
    agents: Sequence[str] = AGENTS,
    seeds: Sequence[int],
    environment: EnvironmentChoice | None = None,
    out: Path | None = None,
    runs_dir: str = "runs",
    hosts: int | None,
    progress: OnProgress | None = None,
) -> list[Baseline]:
    """Let agents play every task of incidents; return a row for each incident, agent and seed.

    Args:
        targets: Incidents, suites, globs or paths; empty means every incident that exists there.
        agents: Names; they get no arguments and no model.
        seeds: What each incident is drawn with.
        environment: Where; None: the simulated world.
        out: A journal, JSON lines; made where there is none. Rows of the same file and scoring
            version in it are taken as they are; rows of others stay.
        runs_dir: Where the record of a run on a cluster is kept.
        hosts: Processes at once; None: as many as a run has.
        progress: Receives what happens.

    Raises:
        UsageError: A target or an agent is unknown, the journal is none, or a cluster must not be
            used.
        PreflightError: There is nothing to find the cluster by.
    """
    where = environment or EnvironmentChoice()
    rows = Rows(out, Baseline, lambda row: (row.environment, row.incident, row.agent, row.seed))
    work = _Work(_there(targets, where), agents, seeds, where, rows)
    try:
        with tempfile.TemporaryDirectory(prefix="aiopslab-baselines-") as scratch:
            kept = runs_dir if _takes_long(where) else scratch
            await work.carry_out(targets or [EVERY], kept, hosts, progress)
    finally:
        rows.tidy()
    return work.asked_for()


def _there(targets: Sequence[str], where: EnvironmentChoice) -> list[Target]:
    """Return the incidents that were asked for and exist there."""
    _, problems = find_lab(where).expand(targets or [EVERY], all_tasks())
    names = {problem.incident for problem in problems}
    return [target for target in asked(targets) if target.asked in names]


class _Work:
    """What is known, and what is still to be measured."""

    def __init__(
        self,
        targets: Sequence[Target],
        agents: Sequence[str],
        seeds: Sequence[int],
        where: EnvironmentChoice,
        rows: Rows[Baseline],
    ) -> None:
        self._where = where
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
        row = self._rows.get(self._where.kind, target.spec.name, agent, seed)
        now = (self._digests[target.spec.name], SCORING_VERSION)
        tasks = set(target.spec.tasks)
        return (
            row is not None
            and row.complete
            and (row.digest, row.scoring_version) == now
            and tasks == set(row.passed)
        )

    async def carry_out(
        self,
        targets: Sequence[str],
        runs_dir: str,
        hosts: int | None,
        progress: OnProgress | None,
    ) -> None:
        """Measure what is left; rows are kept as soon as their last trial has ended."""
        if not self._left:
            return
        config = RunConfig(
            targets=list(targets), agent=SEVERAL, seed=self._base, concurrency=hosts,
            environment=self._where, telemetry=_takes_long(self._where), runs_dir=runs_dir,
        )  # fmt: skip
        rows = {plan.directory: key for key, plans in self._left.items() for plan in plans}

        def hear(event: Progress) -> None:
            if event.kind == "trial_finished":
                self._ended(RunDirectory(event.directory), rows[event.trial])
            if progress is not None:
                progress(without_verdict(event))

        await run(config, trials=list(chain(*self._left.values())), progress=hear)

    def _ended(self, made: RunDirectory, key: tuple[str, str, int]) -> None:
        """Keep a row if all its trials have ended."""
        plans = self._left[key]
        if all(made.trial(plan).complete for plan in plans):
            self._rows.add(self._row(made, key, plans))

    def _row(
        self, made: RunDirectory, key: tuple[str, str, int], plans: Sequence[PlannedTrial]
    ) -> Baseline:
        name, agent, seed = key
        passed: dict[Any, bool | None] = {}
        quiet = []
        for plan in plans:
            directory = made.trial(plan)
            trial = directory.trial()
            failed = trial.outcome == "infra_error"
            passed[plan.task] = None if failed else trial.outcome == "passed"
            if not failed and not directory.truth().root_causes:
                quiet.append(plan.task)
        return Baseline(
            incident=name,
            agent=agent,
            seed=seed,
            environment=self._where.kind,
            digest=self._digests[name],
            scoring_version=SCORING_VERSION,
            passed=passed,
            quiet=quiet,
        )

    def asked_for(self) -> list[Baseline]:
        """Return the rows that were asked for."""
        found = (self._rows.get(self._where.kind, *key) for key in self._keys)
        return [row for row in found if row is not None]


def _takes_long(where: EnvironmentChoice) -> bool:
    """Whether a record there is worth keeping: what was simulated can be had again in seconds."""
    return where.kind != SIMULATED


def planned(target: Target, agent: str, attempt: int) -> list[PlannedTrial]:
    """Return the trials of one agent on one draw of an incident."""
    return [
        PlannedTrial(
            problem=SEPARATOR.join([target.spec.name, agent, task]),
            incident=target.asked,
            task=task,
            attempt=attempt,
            agent=agent,
            verdict_only=True,
        )
        for task in target.spec.tasks
    ]


def undeclared(rows: Sequence[Baseline], targets: Sequence[str]) -> dict[str, list[str]]:
    """Return agent -> incidents that it repairs though their files do not say so."""
    declared = {t.spec.name: t.spec.solved_by for t in asked(targets)}
    silent = {
        agent: [name for name in solved(rows, agent) if agent not in declared[name]]
        for agent in ("restart-everything", "rollback-latest-change")
    }
    return {agent: names for agent, names in silent.items() if names}
