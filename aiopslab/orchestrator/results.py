"""Results from records: ``results.json`` and grading again, both without any environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiopslab.grading import SCORING_VERSION, Counted, aggregate, grade, headline
from aiopslab.models.run import SEVERAL, PlannedTrial, Results, RunRecord
from aiopslab.models.trial import Outcome, Trial
from aiopslab.orchestrator.records import RunDirectory


def summarise(run: RunDirectory, record: RunRecord) -> Results:
    """Aggregate what the trial directories say; planned trials without a record are excluded."""
    trials = {plan: run.trial(plan).trial() for plan in _complete(run, record.trials)}
    counted = [
        Counted(plan, trials[plan].outcome, run.trial(plan).grade())
        if plan in trials
        else Counted(plan, None, None)
        for plan in record.trials
    ]
    overall, tasks = aggregate(counted)
    used = [t.usage for t in trials.values()]
    return Results(
        scoring_version=SCORING_VERSION,
        label=record.label,
        agent=record.config.agent,
        model=record.config.model,
        environment=record.config.environment.kind,
        attempts=record.config.attempts,
        seed=record.config.seed,
        headline=headline(overall, of_one=record.config.agent != SEVERAL),
        overall=overall,
        tasks=tasks,
        tokens_in=_total([u.tokens_in for u in used]),
        tokens_out=_total([u.tokens_out for u in used]),
        cost_usd=_total_cost([u.cost_usd for u in used]),
    )


@dataclass(frozen=True, slots=True)
class Regraded:
    """What grading again changed."""

    up: list[str]
    """Trials that pass now."""
    down: list[str]
    """Trials that no longer pass."""
    n_graded: int
    before: Results
    after: Results


def regrade(run: RunDirectory) -> Regraded:
    """Compute every grade and the results again from the records alone, and write them.

    Trials whose lab failed stay as they are: there is nothing to grade.
    """
    record = run.record()
    before = summarise(run, record)
    up: list[str] = []
    down: list[str] = []
    n_graded = 0
    for plan in _complete(run, record.trials):
        directory = run.trial(plan)
        trial, old = directory.trial(), directory.grade()
        if trial.outcome == "infra_error":
            continue
        n_graded += 1
        new = grade(
            trial.task,
            directory.answer(),
            directory.truth(),
            directory.evidence(),
            directory.steps(),
            directory.counterfactual(),
        )
        if new != old:
            directory.write_grade(new)
        outcome = _outcome(trial, passed=new.passed)
        if outcome != trial.outcome:
            (up if outcome == "passed" else down).append(plan.directory)
            directory.finish(trial.model_copy(update={"outcome": outcome}))
    after = summarise(run, record)
    run.write(after)
    run.event("regraded", scoring_version=SCORING_VERSION, up=len(up), down=len(down))
    return Regraded(up, down, n_graded, before, after)


def _outcome(trial: Trial, *, passed: bool) -> Outcome:
    """A limit or an agent's failure stays what it is; a verdict follows the grade."""
    if trial.outcome in ("passed", "failed"):
        return "passed" if passed else "failed"
    return trial.outcome


def _complete(run: RunDirectory, plans: Sequence[PlannedTrial]) -> list[PlannedTrial]:
    return [plan for plan in plans if run.trial(plan).complete]


def _total(values: Sequence[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def _total_cost(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return round(sum(known), 6) if known else None
