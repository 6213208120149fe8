"""From what was asked to the list of trials, and from trials to jobs; runs nothing."""

from __future__ import annotations

import fnmatch
from collections.abc import Hashable, Iterable

from aiopslab.errors import UsageError
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.orchestrator.bench import Job
from aiopslab.orchestrator.lab import Lab


def plan_trials(lab: Lab, config: RunConfig) -> tuple[str, list[PlannedTrial]]:
    """Expand the targets: a label, and every problem once for each attempt.

    Raises:
        UsageError: A target is unknown, or nothing is left to run.
    """
    label, problems = lab.expand(config.targets, config.tasks)
    kept = [p for p in problems if not any(fnmatch.fnmatch(p.id, x) for x in config.exclude)]
    kept = kept[: config.limit]
    if not kept:
        raise UsageError(f"nothing is left of {label!r}", hint="check --exclude and --task-type")
    trials = [
        PlannedTrial(problem=p.id, incident=p.incident, task=p.task, attempt=k)
        for p in kept
        for k in range(1, config.attempts + 1)
    ]
    return label, trials


def plan_jobs(
    lab: Lab, config: RunConfig, trials: Iterable[PlannedTrial]
) -> list[tuple[Hashable, Job]]:
    """Group trials by incident and attempt, each with the key of the world it needs."""
    groups: dict[tuple[str, int], list[PlannedTrial]] = {}
    for trial in trials:
        groups.setdefault((trial.incident, trial.attempt), []).append(trial)
    return [
        (
            lab.world(lab.draw(incident, config.trial_seed(attempt))),
            Job(incident=incident, attempt=attempt, trials=group),
        )
        for (incident, attempt), group in groups.items()
    ]
