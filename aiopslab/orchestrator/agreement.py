"""Run incidents in the simulated world and on a real cluster, and see whether both show the same.

Ordinary trials, one run each: an agent diagnoses, the oracle mitigates. What is compared is read
from their records, incident by incident as they end. Not here: what a trial is (``trial``), who
plays (``players``), how many agree (``report.fidelity``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from aiopslab.models.agreement import Agreement, Showing
from aiopslab.models.answer import Diagnosis
from aiopslab.models.run import EnvironmentChoice, RunConfig
from aiopslab.models.task import Task
from aiopslab.orchestrator import lock
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.players import AND_ORACLE
from aiopslab.orchestrator.progress import OnProgress, Progress
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.rows import Rows
from aiopslab.orchestrator.run import RunReport, run
from aiopslab.orchestrator.soundness import Target, asked
from aiopslab.problems.playable import playable

_TASKS: list[Task] = ["diagnosis", "mitigation"]
_ALERTS = (
    "SELECT DISTINCT name FROM read_parquet(?) WHERE state = 'firing' AND time <= ? ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared, and where."""

    targets: Sequence[str]
    environment: EnvironmentChoice
    agent: str = "statistical"
    seed: int = 0
    runs_dir: str = "runs"
    concurrency: int | None = None


async def agree(
    question: Question, *, out: Path | None = None, progress: OnProgress | None = None
) -> list[Agreement]:
    """Play incidents on both and compare.

    Args:
        question: Which incidents, which cluster, whose answers.
        out: A journal, JSON lines; a row of the same incident and seed is replaced. Rows are kept
            as soon as their incident has ended on the cluster.
        progress: Receives what happens.

    Returns:
        One row for each incident that exists on a cluster. Of several the first is compared.

    Raises:
        UsageError: A target or an option is unknown, nothing can be played on a cluster, or it
            must not be used.
        PreflightError: There is nothing to find the cluster by.
    """
    targets = [t for t in asked(question.targets) if playable(t.spec, "kind")]
    names = [t.asked for t in targets] or list(question.targets)
    question = replace(question, environment=_one_cluster(question.environment))
    _refuse(question.environment, names)
    simulated = await _play(question, names, EnvironmentChoice(), progress)
    rows = Rows(out, Agreement, lambda row: (row.incident, row.seed))
    work = _Comparing(question, targets, RunDirectory(simulated.directory), rows)

    def hear(event: Progress) -> None:
        work.heard(event)
        if progress is not None:
            progress(event)

    try:
        await _play(question, names, question.environment, hear)
    finally:
        rows.tidy()
    found = [rows.get(target.spec.name, question.seed) for target in targets]
    return [row for row in found if row is not None]


class _Comparing:
    """Makes a row of an incident once its last trial on the cluster has ended."""

    def __init__(
        self,
        question: Question,
        targets: Sequence[Target],
        simulated: RunDirectory,
        rows: Rows[Agreement],
    ) -> None:
        self._question = question
        self._specs = {target.asked: target.spec for target in targets}
        self._simulated = simulated
        self._rows = rows

    def heard(self, event: Progress) -> None:
        """Hear what happens on the cluster."""
        if event.kind != "trial_finished":
            return
        real = RunDirectory(event.directory)
        plans = real.record().trials
        incident = next(p.incident for p in plans if p.directory == event.trial)
        if all(real.trial(p).complete for p in plans if p.incident == incident):
            self._rows.add(self._row(incident, real))

    def _row(self, incident: str, real: RunDirectory) -> Agreement:
        question, spec = self._question, self._specs[incident]
        return Agreement(
            incident=spec.name, seed=question.seed, digest=lock.of_incident(spec),
            environment=question.environment.kind, agent=question.agent,
            simulated=_shown(incident, self._simulated), real=_shown(incident, real),
        )  # fmt: skip


def _refuse(cluster: EnvironmentChoice, names: Sequence[str]) -> None:
    """Raise what running there would raise, before the simulated half takes its time."""
    lab = find_lab(cluster)
    lab.expand(names, _TASKS)
    lab.clusters()


def _one_cluster(choice: EnvironmentChoice) -> EnvironmentChoice:
    """Return a choice of several clusters as that of the first."""
    named = ("name", "context")
    options = {k: v.partition(",")[0] if k in named else v for k, v in choice.options.items()}
    return choice.model_copy(update={"options": options})


async def _play(
    question: Question,
    names: Sequence[str],
    choice: EnvironmentChoice,
    progress: OnProgress | None,
) -> RunReport:
    config = RunConfig.model_validate({
        "targets": list(names), "tasks": _TASKS, "seed": question.seed,
        "agent": AND_ORACLE, "agent_args": {"agent": question.agent},
        "environment": choice, "runs_dir": question.runs_dir,
        "concurrency": question.concurrency if choice.kind != "sim" else None,
    })  # fmt: skip
    return await run(config, progress=progress)


def _shown(incident: str, run: RunDirectory) -> Showing:
    plans = [plan for plan in run.record().trials if plan.incident == incident]
    trials = {plan.task: run.trial(plan) for plan in plans}
    outcomes = {task: directory.trial() for task, directory in trials.items()}
    failed = [
        trial.error or "the lab failed"
        for trial in outcomes.values()
        if trial.outcome == "infra_error"
    ]
    if failed:
        return Showing(error="; ".join(dict.fromkeys(failed)))
    looking = trials["diagnosis"]
    truth, evidence, answer = looking.truth(), looking.evidence(), looking.answer()
    with duckdb.connect() as connection:
        parquet = str(looking.telemetry / "alerts.parquet")
        alerts = connection.execute(_ALERTS, [parquet, truth.handover_at]).fetchall()
    begun, mended = truth.injected_at, outcomes.get("mitigation")
    return Showing(
        broken=sorted(w.journey for w in evidence.handover if w.offered and not w.met),
        alerts=[row[0] for row in alerts],
        restored=None if mended is None else mended.outcome == "passed",
        answer=_first(answer) if isinstance(answer, Diagnosis) else None,
        opened_s=None if begun is None or truth.symptom_at is None else truth.symptom_at - begun,
    )


def _first(answer: Diagnosis) -> tuple[str, str] | None:
    ranked = sorted(answer.hypotheses, key=lambda h: -h.probability)
    return (ranked[0].component, ranked[0].cause) if ranked else None
