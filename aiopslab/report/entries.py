"""What every format of a report is made of: the run, its aggregates, and an entry for each trial.

Reads a run's directory only. How hard an incident is and what it is about stand in its file, which
is not part of a run: the file of this installation is used where the run's lock says that it is the
very same one, and nothing is said otherwise. Not here: what is only read when a single trial is
shown (``html.trial``), how anything looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiopslab.grading import Counted
from aiopslab.models.comparison import Comparison
from aiopslab.models.grade import Check, Grade
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.run import PlannedTrial, Results, RunRecord
from aiopslab.models.trial import Trial
from aiopslab.orchestrator.lock import incident_digest
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.results import Ended, aggregated, ended
from aiopslab.problems import catalogue

UNFINISHED = "unfinished"
"""Outcome, in reports, of a planned trial that has no record."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One planned trial and what became of it."""

    ended: Ended
    agent: str
    spec: IncidentSpec | None
    """None where the incident's file is not known to be the one that was played."""

    @property
    def plan(self) -> PlannedTrial:
        """What was planned."""
        return self.ended.plan

    @property
    def trial(self) -> Trial | None:
        """None: not run or not finished."""
        return self.ended.trial

    @property
    def grade(self) -> Grade | None:
        """None where there is no record, or the lab failed."""
        return self.ended.grade

    @property
    def name(self) -> str:
        """Name of the trial's directory."""
        return self.plan.directory

    @property
    def outcome(self) -> str:
        """``passed``, ``failed``, ``limit``, ``agent_error``, ``infra_error``, ``unfinished``."""
        return UNFINISHED if self.trial is None else self.trial.outcome

    @property
    def counted(self) -> Counted:
        """The trial as aggregates count it."""
        return self.ended.counted

    @property
    def failures(self) -> list[Check]:
        """The gating checks that did not pass."""
        checks = self.grade.checks if self.grade is not None else []
        return [c for c in checks if c.gating and not c.passed]

    @property
    def families(self) -> list[str] | None:
        """Families of the incident's faults, sorted; ``no fault`` for none; None: not known."""
        if self.spec is None:
            return None
        return sorted({f.kind.partition("/")[0] for f in self.spec.faults}) or ["no fault"]

    @property
    def hops(self) -> int | None:
        """The incident's declared difficulty; None: not known."""
        return None if self.spec is None else self.spec.difficulty.hops

    def why(self) -> str:
        """Say in a line why it did not pass; empty where it did."""
        if self.trial is None:
            return "no record: not run, or not finished"
        if self.trial.outcome == "passed":
            return ""
        if self.trial.error is not None and self.trial.outcome in ("infra_error", "agent_error"):
            return self.trial.error
        said = "; ".join(f"{c.id}: {c.reason}" for c in self.failures)
        return said or self.trial.termination


@dataclass(frozen=True, slots=True)
class Reading:
    """All of a run that its overview shows."""

    run: RunDirectory
    record: RunRecord
    results: Results
    entries: list[Entry]
    """In the order of the plan."""
    against: Comparison | None = None
    """What this run (B) shows beside another (A), where that was asked for."""


def read(run: RunDirectory, *, against: Comparison | None = None) -> Reading:
    """Read a run's directory; trials that are missing are entries without a record.

    Raises:
        UsageError: A file is missing or is no record.
    """
    record = run.record()
    known = _specs(run.lock().incidents, record.trials)
    trials = [ended(run, plan) for plan in record.trials]
    entries = [
        Entry(done, record.config.agent_of(done.plan), known.get(done.plan.incident))
        for done in trials
    ]
    return Reading(run, record, aggregated(record, trials), entries, against)


def _specs(locked: Mapping[str, str], plans: Sequence[PlannedTrial]) -> dict[str, IncidentSpec]:
    """Return the incidents of this installation that are the ones which were played."""
    here = catalogue.incidents()
    return {
        name: here[name]
        for name in sorted({p.incident for p in plans})
        if name in here and incident_digest(here[name]) == locked.get(name)
    }
