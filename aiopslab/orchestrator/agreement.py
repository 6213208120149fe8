"""Run incidents in the simulated world and on a real cluster, and see whether both show the same.

Ordinary trials, one run each: the oracle mitigates, an agent diagnoses. What is compared is read
from their records. Not here: what a trial is (``trial``), how many agree (``report.fidelity``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from aiopslab.agents.loading import ORACLE
from aiopslab.models.agreement import Agreement, Showing
from aiopslab.models.answer import Diagnosis
from aiopslab.models.run import EnvironmentChoice, RunConfig
from aiopslab.models.task import Task
from aiopslab.orchestrator import lock
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.progress import OnProgress
from aiopslab.orchestrator.records import RunDirectory, TrialDirectory
from aiopslab.orchestrator.rows import Rows
from aiopslab.orchestrator.run import RunReport, run
from aiopslab.orchestrator.soundness import asked
from aiopslab.problems.playable import playable

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
        out: A journal, JSON lines; a row of the same incident and seed is replaced.
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
    sides = []
    for choice in (EnvironmentChoice(), question.environment):
        fixed = await _play(question, names, choice, ORACLE, "mitigation", progress)
        told = await _play(question, names, choice, question.agent, "diagnosis", progress)
        sides.append((fixed, told))
    rows = Rows(out, Agreement, lambda row: (row.incident, row.seed))
    found = []
    for target in targets:
        simulated, real = (_shown(target.spec.name, *side) for side in sides)
        row = Agreement(
            incident=target.spec.name, seed=question.seed, digest=lock.of_incident(target.spec),
            environment=question.environment.kind, agent=question.agent,
            simulated=simulated, real=real,
        )  # fmt: skip
        rows.add(row)
        found.append(row)
    rows.tidy()
    return found


def _refuse(cluster: EnvironmentChoice, names: Sequence[str]) -> None:
    """Raise what running there would raise, before the simulated half takes its time."""
    lab = find_lab(cluster)
    lab.expand(names, ["diagnosis"])
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
    agent: str,
    task: Task,
    progress: OnProgress | None,
) -> RunReport:
    config = RunConfig.model_validate({
        "targets": list(names), "agent": agent, "tasks": [task], "seed": question.seed,
        "environment": choice, "runs_dir": question.runs_dir,
        "concurrency": question.concurrency if choice.kind != "sim" else None,
    })  # fmt: skip
    return await run(config, progress=progress)


def _shown(incident: str, fixed: RunReport, told: RunReport) -> Showing:
    mending, looking = _trial(incident, fixed), _trial(incident, told)
    outcomes = [directory.trial() for directory in (mending, looking)]
    failed = [trial.error or "the lab failed" for trial in outcomes
              if trial.outcome == "infra_error"]  # fmt: skip
    if failed:
        return Showing(error="; ".join(failed))
    truth, evidence = looking.truth(), looking.evidence()
    with duckdb.connect() as connection:
        parquet = str(looking.telemetry / "alerts.parquet")
        alerts = connection.execute(_ALERTS, [parquet, truth.handover_at]).fetchall()
    answer = looking.answer()
    begun = truth.injected_at
    return Showing(
        broken=sorted(w.journey for w in evidence.handover if w.offered and not w.met),
        alerts=[row[0] for row in alerts],
        restored=outcomes[0].outcome == "passed",
        answer=_first(answer) if isinstance(answer, Diagnosis) else None,
        opened_s=None if begun is None or truth.symptom_at is None else truth.symptom_at - begun,
    )


def _trial(incident: str, report: RunReport) -> TrialDirectory:
    plan = next(p for p in report.record.trials if p.incident == incident)
    return RunDirectory(report.directory).trial(plan)


def _first(answer: Diagnosis) -> tuple[str, str] | None:
    ranked = sorted(answer.hypotheses, key=lambda h: -h.probability)
    return (ranked[0].component, ranked[0].cause) if ranked else None
