"""Two agents on the same draws of the same problems: what one gained and lost against the other.

``Comparison`` is what ``aiopslab compare`` prints and its JSON form. A is the one before, B the one
that is judged; every difference is B minus A. Not here: how figures come about
(``grading.comparison``), how trials are paired (``orchestrator.comparison``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model
from aiopslab.models.run import Estimate
from aiopslab.models.task import Task
from aiopslab.models.trial import Outcome

Reason = Literal[
    "only in A", "only in B", "lab failed in A", "lab failed in B", "unfinished in A",
    "unfinished in B", "several in A", "several in B", "another draw",
]  # fmt: skip
"""Why a trial has no partner. ``another draw``: one had the fault and the other its twin."""
NOT_PLANNED: tuple[Reason, ...] = ("only in A", "only in B")
"""What was never asked of one side; everything else is missing coverage."""


class Compared(Model):
    """One side: whose trials, from which run."""

    run: str
    """Its directory, as it was named."""
    label: str
    agent: str
    model: str | None
    environment: str
    context: str = "P4"
    """Context profile, with the delivery if it was pushed."""
    n_planned: int
    """Trials of that agent in that run."""


class Flip(Model):
    """A pair of trials of which one passed."""

    problem: str
    incident: str
    task: Task
    seed: int
    gained: bool
    """Whether B passed; else A did."""
    a: Outcome
    b: Outcome


class Unpaired(Model):
    """A draw of a problem that cannot be compared."""

    problem: str
    seed: int
    reason: Reason


class TaskDifference(Model):
    """The pairs of one task, or of all tasks together."""

    task: Task | Literal["all"]
    n: int
    """Pairs."""
    n_incidents: int
    both: int
    gained: int
    """B alone passed."""
    lost: int
    """A alone passed."""
    neither: int
    difference: Estimate
    """Share passed by B minus share passed by A; the interval is for incidents like these."""
    p: float
    """Exact McNemar test, two-sided, on these draws."""
    p_holm: float
    """The same, corrected over all rows of the comparison."""
    detectable: float | None
    """Smallest difference that so many pairs show in four of five cases; None: none does."""

    @property
    def share_a(self) -> float:
        """Share of the pairs that A passed."""
        return (self.both + self.lost) / self.n

    @property
    def share_b(self) -> float:
        """Share of the pairs that B passed."""
        return (self.both + self.gained) / self.n


class ScoreDifference(Model):
    """A continuous score over the pairs in which both sides have it; lower is better in each."""

    score: str
    task: Task
    n: int
    mean_a: float
    mean_b: float
    difference: Estimate


class Comparison(Model):
    """What two runs, or two agents of one run, show against each other."""

    schema_: Literal["aiopslab/comparison@1"] = Field(
        default="aiopslab/comparison@1", alias="schema"
    )
    a: Compared
    b: Compared
    scoring_version: str
    """Of every grade on both sides."""
    overall: TaskDifference
    tasks: list[TaskDifference]
    scores: list[ScoreDifference]
    flips: list[Flip]
    unpaired: list[Unpaired]
    coverage: float = Field(ge=0.0, le=1.0)
    """Pairs over the draws that were planned on both sides."""
    locks: list[str]
    """What differs in the locks, ``field: A -> B``, of what both have."""
    settings: list[str]
    """What differs in how the two were run, likewise."""
    worse: list[Task | Literal["all"]]
    """Rows in which B is significantly worse."""
    better: list[Task | Literal["all"]]
    undecided: str
    """Why nothing can be said about B being worse; empty where it can."""
