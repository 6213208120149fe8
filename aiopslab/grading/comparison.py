"""From pairs of trials to figures: what two agents show against each other on the same draws.

Every difference is B minus A. Two questions are kept apart. Whether the two differ *on these draws*
is asked of the exact McNemar test: each trial is a session of its own, so given the draws the pairs
are independent. How large the difference is *on incidents like these* is an interval by bootstrap
over incidents, whose tasks and repeats are not. Not here: which trials are a pair
(``orchestrator.comparison``), intervals and tests of plain numbers (``statistics``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiopslab.grading.aggregate import MIN_COVERAGE
from aiopslab.grading.estimates import alike, mean_by_incident
from aiopslab.grading.statistics import (
    Z80,
    Z95,
    holm,
    mcnemar,
    minimum_detectable_difference,
    wilson,
)
from aiopslab.models.comparison import Flip, ScoreDifference, TaskDifference
from aiopslab.models.run import Estimate
from aiopslab.models.task import TASKS, Task
from aiopslab.models.trial import Outcome
from aiopslab.seeds import derive

ALPHA = 0.05
"""Level at which a difference counts, after Holm's correction over all rows."""
TOKENS = "tokens"
"""Input and output tokens of a trial, as its agent reported them: no score, but compared as one."""
SCORES = ("brier", "time_to_mitigate_s", "slo_violation_s", TOKENS)
"""Continuous scores that are compared; of each, lower is better."""
_BOOTSTRAP_SEED = derive(0, "grading", "comparison", "bootstrap")


@dataclass(frozen=True, slots=True)
class Played:
    """One side of a pair: a completed trial."""

    outcome: Outcome
    scores: Mapping[str, float | None]

    @property
    def passed(self) -> bool:
        """Whether it counts as passed."""
        return self.outcome == "passed"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two completed trials of one problem, drawn with one seed."""

    problem: str
    incident: str
    task: Task
    seed: int
    a: Played
    b: Played

    @property
    def step(self) -> int:
        """1 if B alone passed, -1 if A alone did, else 0."""
        return int(self.b.passed) - int(self.a.passed)


def differences(pairs: Sequence[Pair]) -> tuple[TaskDifference, list[TaskDifference]]:
    """Return the difference over all pairs, and over those of each task that has any.

    Holm's correction is over all of these rows; of one task the row of all is the same row.

    Raises:
        ValueError: There are no pairs.
    """
    if not pairs:
        raise ValueError("there are no pairs to compare")
    groups = {task: [p for p in pairs if p.task == task] for task in TASKS}
    rows = [_row(task, group) for task, group in groups.items() if group]
    if len(rows) > 1:
        rows.append(_row("all", pairs))
    adjusted = holm([row.p for row in rows])
    rows = [row.model_copy(update={"p_holm": p}) for row, p in zip(rows, adjusted, strict=True)]
    if len(rows) == 1:
        return rows[0].model_copy(update={"task": "all"}), rows
    return rows[-1], rows[:-1]


def significant(
    overall: TaskDifference, tasks: Sequence[TaskDifference], *, worse: bool
) -> list[Task | str]:
    """Name the rows in which B is significantly worse (or better) than A."""
    rows = [*tasks, overall] if len(tasks) > 1 else tasks
    return [
        row.task
        for row in rows
        if row.p_holm <= ALPHA and (row.lost > row.gained if worse else row.gained > row.lost)
    ]


def undecided(tasks: Sequence[TaskDifference], coverage: float) -> str:
    """Say why these pairs could not show that B is worse; empty if they could.

    Args:
        tasks: The rows of the tasks.
        coverage: Pairs over the draws that both sides planned.
    """
    n = [row.n for row in tasks]
    rows = [*n, sum(n)] if len(n) > 1 else n
    said = []
    if min(holm([mcnemar(0, lost) for lost in rows])) > ALPHA:
        said.append(f"{_count(sum(n), 'pair')} cannot show it, even if B failed in all")
    if coverage < MIN_COVERAGE:
        said.append(f"only {coverage:.0%} of what both were asked could be paired")
    return "; ".join(said)


def score_differences(pairs: Sequence[Pair]) -> list[ScoreDifference]:
    """Return the paired difference of every continuous score, task by task."""
    found = []
    for task in TASKS:
        for score in SCORES:
            known = [
                (p.incident, a, b)
                for p in _sorted(pairs)
                if p.task == task
                and (a := p.a.scores.get(score)) is not None
                and (b := p.b.scores.get(score)) is not None
            ]
            if known:
                found.append(_score(score, task, known))
    return found


def flips(pairs: Sequence[Pair]) -> list[Flip]:
    """List the pairs of which one side passed: lost ones first, then by problem and seed."""
    found = [
        Flip(
            problem=p.problem, incident=p.incident, task=p.task, seed=p.seed,
            gained=p.step > 0, a=p.a.outcome, b=p.b.outcome,
        )
        for p in _sorted(pairs)
        if p.step
    ]  # fmt: skip
    return sorted(found, key=lambda flip: flip.gained)


def _row(task: Task | str, pairs: Sequence[Pair]) -> TaskDifference:
    gained, lost = sum(p.step > 0 for p in pairs), sum(p.step < 0 for p in pairs)
    both = sum(p.a.passed and p.b.passed for p in pairs)
    p = mcnemar(gained, lost)
    return TaskDifference.model_validate(
        {
            "task": task,
            "n": len(pairs),
            "n_incidents": len({pair.incident for pair in pairs}),
            "both": both,
            "gained": gained,
            "lost": lost,
            "neither": len(pairs) - both - gained - lost,
            "difference": _difference(pairs),
            "p": p,
            "p_holm": p,
            "detectable": _detectable(len(pairs), gained + lost),
        }
    )


def _difference(pairs: Sequence[Pair]) -> Estimate:
    """Estimate the difference of shares passed.

    Where all incidents agree in what they show (nothing flips, or everything does) a bootstrap has
    no width. Then the incidents count as one pair each: at least the share w of all incidents shows
    the same, w the lower bound of Wilson's interval, and the rest may show anything.
    """
    steps = [(p.incident, float(p.step)) for p in _sorted(pairs)]
    if not alike(steps):
        return mean_by_incident(steps, seed=_BOOTSTRAP_SEED)
    incidents = len({incident for incident, _ in steps})
    step = sum(step for _, step in steps) / len(steps)
    share = (wilson(incidents, incidents) or (0.0, 1.0))[0]
    low, high = step * share - (1.0 - share), step * share + (1.0 - share)
    return Estimate(
        value=step, low=max(-1.0, low), high=min(1.0, high), n=len(steps), method="wilson"
    )


def _detectable(n: int, discordant: int) -> float | None:
    """Return the minimum detectable difference, from the least favourable discordance.

    What was discordant is itself uncertain: taken is the upper bound of Wilson's interval, so that
    pairs of which none is discordant do not claim to see everything; and no less than the
    difference that is to be seen, for it cannot be larger than the share that is discordant.
    """
    upper = (wilson(discordant, n) or (0.0, 1.0))[1]
    found = minimum_detectable_difference(n, discordant=max(upper, (Z95 + Z80) ** 2 / n))
    return found if found <= 1.0 else None


def _score(score: str, task: Task, known: Sequence[tuple[str, float, float]]) -> ScoreDifference:
    n = len(known)
    return ScoreDifference(
        score=score, task=task, n=n,
        mean_a=sum(a for _, a, _ in known) / n,
        mean_b=sum(b for _, _, b in known) / n,
        difference=mean_by_incident(
            [(incident, b - a) for incident, a, b in known], seed=_BOOTSTRAP_SEED
        ),
    )  # fmt: skip


def _sorted(pairs: Sequence[Pair]) -> list[Pair]:
    """Return pairs in an order that does not depend on how trials ended."""
    return sorted(pairs, key=lambda p: (p.problem, p.seed))


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
