"""From what was asked to the list of trials, and from trials to jobs; runs nothing."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Hashable, Iterable, Sequence

from aiopslab.errors import UsageError
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.orchestrator.bench import Job
from aiopslab.orchestrator.lab import Lab
from aiopslab.problems import stage


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
    """Group trials by incident and attempt, each with the key of the world it needs.

    Jobs come in the order in which their first events are due, so that those of one world can
    share its baseline up to there.
    """
    groups: dict[tuple[str, int], list[PlannedTrial]] = {}
    for trial in trials:
        groups.setdefault((trial.incident, trial.attempt), []).append(trial)
    jobs = []
    for (incident, attempt), group in groups.items():
        drawn = lab.draw(incident, config.trial_seed(attempt))
        job = Job(incident=incident, attempt=attempt, trials=group)
        jobs.append((stage.quiet_s(drawn), lab.world(drawn), job))
    return [(world, job) for _, world, job in sorted(jobs, key=lambda entry: entry[0])]


def spread(jobs: Sequence[tuple[Hashable, Job]], hosts: int) -> list[tuple[Hashable, Job]]:
    """Split the jobs that would leave hosts idle at the end, so that all end at about one time.

    With n jobs and h hosts the last ``n mod h`` jobs are divided among all h. The parts of a
    divided job stage their incident each for themselves, which gives the same records.
    """
    left = len(jobs) % hosts
    if not left:
        return list(jobs)
    parts = -(-hosts // left)
    whole, last = jobs[: len(jobs) - left], jobs[len(jobs) - left :]
    return [*whole, *((key, part) for key, job in last for part in _split(job, parts))]


def _split(job: Job, parts: int) -> list[Job]:
    """Divide a job's trials, in order, into parts that differ by one trial at most."""
    n = len(job.trials)
    parts = min(parts, n)
    cuts = [i * n // parts for i in range(parts + 1)]
    return [job.model_copy(update={"trials": job.trials[a:b]}) for a, b in itertools.pairwise(cuts)]
