"""A planned trial as aggregates count it. Not here: how it is counted (``aggregate``)."""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.models.grade import Grade
from aiopslab.models.run import PlannedTrial
from aiopslab.models.trial import Outcome, Usage
from aiopslab.models.truth import Truth


@dataclass(frozen=True, slots=True)
class Counted:
    """A planned trial and what became of it; outcome None: not run or not finished."""

    plan: PlannedTrial
    outcome: Outcome | None
    grade: Grade | None
    usage: Usage | None = None
    truth: Truth | None = None

    @property
    def completed(self) -> bool:
        """Graded, whatever the verdict."""
        return self.grade is not None and self.outcome not in (None, "infra_error")

    @property
    def passed(self) -> bool:
        """Completed with every gating check passed, and the agent ended in order."""
        return self.outcome == "passed"

    @property
    def struck(self) -> bool:
        """Whether a fault acted, as far as is known: the answer key says, else the grade does."""
        if self.truth is not None:
            return bool(self.truth.root_causes)
        scores = self.grade.scores if self.grade is not None else {}
        return scores.get("anomaly_present") != 0.0
