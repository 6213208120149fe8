"""Run directories with labelled answers, as ``pace`` leaves them, without playing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiopslab.grading import SCORING_VERSION
from aiopslab.models.confidence import FILE, Elicited
from aiopslab.models.grade import Grade
from aiopslab.models.run import PlannedTrial, RunConfig, RunRecord
from aiopslab.models.task import Task
from aiopslab.models.trial import Outcome, Trial
from aiopslab.orchestrator.records import RunDirectory


def made_run(
    path: Path, incidents: list[str], *, attempts: int, environment: str = "sim", **elicited: Any
) -> str:
    """Write a run of an agent that is always sure and right in each third trial; return its path.

    Its evidence says where it is right, but for each seventh trial.
    """
    record = _record(path.name, incidents, attempts, environment)
    run = RunDirectory(path)
    run.open()
    run.write(record)
    for n, plan in enumerate(record.trials):
        right = n % 3 == 0
        rce = 0.8 if right != (n % 7 == 0) else 0.2
        told = {
            "task": plan.task, "inner": "sure", "ablation": "none", "judge": "scripted",
            "stated": 0.97, "coe": 0.3 + 0.05 * (n % 10), "rce": rce, "source": "uncalibrated",
            "confidence": 0.5,
        } | elicited  # fmt: skip
        directory = run.trial(plan)
        directory.open()
        directory.keep(FILE, Elicited.model_validate(told).model_dump_json(by_alias=True).encode())
        directory.write_grade(
            Grade(
                scoring_version=SCORING_VERSION,
                task=plan.task,
                passed=right,
                checks=[],
                confidence=0.5,
            )
        )
        directory.finish(_trial(plan, environment, "passed" if right else "failed"))
    return str(path)


def _record(label: str, incidents: list[str], attempts: int, environment: str) -> RunRecord:
    tasks: tuple[Task, ...] = ("localization", "diagnosis")
    trials = [
        PlannedTrial(problem=f"{name}-{task}", incident=name, task=task, attempt=k)
        for name in incidents
        for task in tasks
        for k in range(1, attempts + 1)
    ]
    config = RunConfig.model_validate(
        {"targets": incidents, "agent": "pace", "attempts": attempts,
         "environment": {"kind": environment}}
    )  # fmt: skip
    return RunRecord(label=label, status="success", config=config, trials=trials)


def _trial(plan: PlannedTrial, environment: str, outcome: Outcome) -> Trial:
    return Trial(
        id="t-1", problem=plan.problem, incident=plan.incident, task=plan.task, agent="pace",
        model=None, attempt=plan.attempt, seed=plan.attempt - 1, environment=environment,
        clock="stepped", outcome=outcome, termination="submitted", twin=False,
    )  # fmt: skip
