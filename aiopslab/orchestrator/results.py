"""Results from records: ``results.json`` and grading again, both without any environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiopslab.grading import SCORING_VERSION, Counted, aggregate, grade, headline
from aiopslab.grading.changes import changed_checks, changed_scores
from aiopslab.grading.figures import fixed_given_diagnosis
from aiopslab.models.grade import Grade
from aiopslab.models.regrade import GradeChange
from aiopslab.models.run import SEVERAL, PlannedTrial, Results, RunRecord
from aiopslab.models.trial import Outcome, Trial
from aiopslab.models.truth import Truth
from aiopslab.orchestrator.records import RunDirectory, TrialDirectory


def summarise(run: RunDirectory, record: RunRecord) -> Results:
    """Aggregate what the trial directories say; planned trials without a record are excluded."""
    return aggregated(record, [ended(run, plan) for plan in record.trials])


@dataclass(frozen=True, slots=True)
class Ended:
    """A planned trial with its record and its grade; None: there is none."""

    plan: PlannedTrial
    trial: Trial | None = None
    grade: Grade | None = None
    truth: Truth | None = None

    @property
    def counted(self) -> Counted:
        """The trial as aggregates count it."""
        if self.trial is None:
            return Counted(self.plan, None, None)
        return Counted(self.plan, self.trial.outcome, self.grade, self.trial.usage, self.truth)


def ended(run: RunDirectory, plan: PlannedTrial) -> Ended:
    """Read what became of a planned trial."""
    directory = run.trial(plan)
    if not directory.complete:
        return Ended(plan)
    truth = directory.truth() if directory.has_truth else None
    return Ended(plan, directory.trial(), directory.grade(), truth)


def aggregated(record: RunRecord, trials: Sequence[Ended]) -> Results:
    """Aggregate trials that were read."""
    counted = [trial.counted for trial in trials]
    overall, tasks = aggregate(counted, budget_s=record.config.limits.virtual_s)
    used = [t.usage for t in counted if t.usage is not None]
    versions = sorted({t.grade.scoring_version for t in counted if t.grade is not None})
    return Results(
        scoring_version=", ".join(versions) or SCORING_VERSION,
        label=record.label,
        agent=record.config.agent,
        model=record.config.model,
        environment=record.config.environment.kind,
        attempts=record.config.attempts,
        seed=record.config.seed,
        headline=headline(overall, of_one=record.config.agent != SEVERAL),
        overall=overall,
        tasks=tasks,
        fixed_given_diagnosis=fixed_given_diagnosis([t for t in counted if t.completed]),
        tokens_in=_total([u.tokens_in for u in used]),
        tokens_out=_total([u.tokens_out for u in used]),
        cost_usd=_total_cost([u.cost_usd for u in used]),
    )


@dataclass(frozen=True, slots=True)
class Regraded:
    """What grading again changed."""

    n_graded: int
    changes: list[GradeChange]
    """Trials with another verdict, other checks or other scores, and those that had no grade."""
    scoring_versions: list[str]
    """Which versions had graded them before, sorted; now all are of this one."""
    before: Results
    after: Results

    @property
    def up(self) -> list[str]:
        """Trials that pass now and did not."""
        return [c.trial for c in self.changes if c.after == "passed" != c.before]

    @property
    def down(self) -> list[str]:
        """Trials that passed and no longer do."""
        return [c.trial for c in self.changes if c.before == "passed" != c.after]


def regrade(run: RunDirectory) -> Regraded:
    """Compute every grade and the results again from the records alone, and write them.

    Trials whose lab failed stay as they are: there is nothing to grade.
    """
    record = run.record()
    before = summarise(run, record)
    n_graded, versions = 0, set()
    changes = []
    for plan in _complete(run, record.trials):
        directory = run.trial(plan)
        if directory.trial().outcome == "infra_error":
            continue
        n_graded += 1
        old = directory.grade()
        if old is not None:
            versions.add(old.scoring_version)
        change = _again(plan.directory, directory, old)
        if not change.had_grade or change.before != change.after or change.checks or change.scores:
            changes.append(change)
    after = summarise(run, record)
    run.write(after)
    done = Regraded(n_graded, changes, sorted(versions), before, after)
    run.event("regraded", scoring_version=SCORING_VERSION, up=len(done.up), down=len(done.down))
    return done


def _again(name: str, directory: TrialDirectory, old: Grade | None) -> GradeChange:
    """Grade one trial again, write what is new of it, and say what that is."""
    trial, new = directory.trial(), graded(directory)
    if new != old:
        directory.write_grade(new)
    outcome = _outcome(trial, passed=new.passed)
    if outcome != trial.outcome:
        directory.finish(trial.model_copy(update={"outcome": outcome}))
    return GradeChange(
        trial=name, before=trial.outcome, after=outcome, had_grade=old is not None,
        checks=changed_checks(old, new) if old is not None else [],
        scores=changed_scores(old, new) if old is not None else [],
    )  # fmt: skip


def graded(directory: TrialDirectory) -> Grade:
    """Grade a trial from its records alone."""
    return grade(
        directory.trial().task,
        directory.answer(),
        directory.truth(),
        directory.evidence(),
        directory.steps(),
        directory.counterfactual(),
    )


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
