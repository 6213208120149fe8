"""From trials to the numbers of a run, with coverage and honest intervals.

Conventions: the unit is the problem; means are over problems' trials, resampled by incident. A run
whose lab failed in more than 5 % of the trials has no headline. Unknown is None, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiopslab.grading.calibration import overconfidence
from aiopslab.grading.calibration_figures import Stated, calibration
from aiopslab.grading.statistics import cluster_bootstrap, mean, pass_hat_k, wilson
from aiopslab.models.grade import Grade
from aiopslab.models.run import Estimate, Headline, PlannedTrial, TaskResults
from aiopslab.models.task import TASKS
from aiopslab.models.trial import Outcome
from aiopslab.seeds import derive

MIN_COVERAGE = 0.95
CONVENTION = (
    "share of trials passed, all tasks together; strict counts infra and unfinished trials as 0, "
    "completed leaves them out; none below 95 % coverage, and none of several agents together"
)
_BOOTSTRAP_SEED = derive(0, "grading", "bootstrap")


@dataclass(frozen=True, slots=True)
class Counted:
    """A planned trial and what became of it; outcome None: not run or not finished."""

    plan: PlannedTrial
    outcome: Outcome | None
    grade: Grade | None

    @property
    def completed(self) -> bool:
        """Graded, whatever the verdict."""
        return self.grade is not None and self.outcome not in (None, "infra_error")

    @property
    def passed(self) -> bool:
        """Completed with every gating check passed, and the agent ended in order."""
        return self.outcome == "passed"


def aggregate(trials: Sequence[Counted]) -> tuple[TaskResults, list[TaskResults]]:
    """Aggregate over all trials, and over those of each task that was planned."""
    ordered = sorted(trials, key=lambda t: (t.plan.problem, t.plan.attempt))
    tasks = [
        _results(task, [t for t in ordered if t.plan.task == task])
        for task in TASKS
        if any(t.plan.task == task for t in ordered)
    ]
    return _results("all", ordered), tasks


def share_passed(trials: Sequence[Counted]) -> Estimate:
    """Return the share passed over completed trials, as ``aggregate`` has it, and nothing else."""
    ordered = sorted(trials, key=lambda t: (t.plan.problem, t.plan.attempt))
    return _share([t for t in ordered if t.completed], lambda t: t.passed)


def headline(overall: TaskResults, *, of_one: bool = True) -> Headline:
    """Return the two numbers to quote, or None for both below the required coverage.

    Args:
        overall: All trials together.
        of_one: Whether one agent played them; what several scored together is nobody's.
    """
    share = overall.share
    enough = of_one and share is not None and share >= MIN_COVERAGE
    return Headline(
        strict=overall.strict.value if enough else None,
        completed=overall.completed.value if enough else None,
        coverage=share,
        convention=CONVENTION,
    )


def _results(task: str, trials: Sequence[Counted]) -> TaskResults:
    done = [t for t in trials if t.completed]
    infra = sum(t.outcome == "infra_error" for t in trials)
    stated = [
        Stated(t.grade.confidence, t.grade.passed, t.plan.incident)
        for t in done
        if t.grade is not None and t.grade.confidence is not None
    ]
    return TaskResults.model_validate(
        {
            "task": task,
            "n_problems": len({t.plan.problem for t in trials}),
            "n_planned": len(trials),
            "n_completed": len(done),
            "n_infra": infra,
            "n_excluded": len(trials) - len(done) - infra,
            "strict": _share(trials, lambda t: t.passed),
            "completed": _share(done, lambda t: t.passed),
            "pass_hat_k": _pass_hat(done),
            "brier": _mean_score(done, "brier"),
            "overconfidence": overconfidence([(a.confidence, a.right) for a in stated]),
            "calibration": calibration(stated),
            "scores": {} if task == "all" else _scores(done),
            "outcomes": dict(sorted(Counter(t.outcome for t in trials if t.outcome).items())),
        }
    )


def _share(trials: Sequence[Counted], hit: Callable[[Counted], bool]) -> Estimate:
    """Estimate a share: Wilson where each incident has one trial, else bootstrap by incident.

    Where all trials agree a bootstrap has no width; then the incidents count as one trial each.
    """
    values = [(t.plan.incident, float(hit(t))) for t in trials]
    if not values:
        return Estimate()
    incidents = len({incident for incident, _ in values})
    value = sum(v for _, v in values) / len(values)
    if value in (0.0, 1.0) or incidents == len(values):
        low, high = wilson(round(value * incidents), incidents) or (None, None)
        return Estimate(value=value, low=low, high=high, n=len(values), method="wilson")
    return _bootstrapped(values)


def _bootstrapped(values: Sequence[tuple[str, float]]) -> Estimate:
    clusters: dict[str, list[float]] = {}
    for incident, value in values:
        clusters.setdefault(incident, []).append(value)
    bounds = cluster_bootstrap(clusters, seed=_BOOTSTRAP_SEED)
    return Estimate(
        value=mean([v for _, v in values]),
        low=bounds[0] if bounds else None,
        high=bounds[1] if bounds else None,
        n=len(values),
        method="cluster-bootstrap" if bounds else "none",
    )


def _mean_score(done: Sequence[Counted], name: str) -> Estimate:
    values = _of_score(done, name)
    return _bootstrapped(values) if values else Estimate()


def _scores(done: Sequence[Counted]) -> dict[str, float | None]:
    names = sorted({name for t in done if t.grade is not None for name in t.grade.scores})
    return {name: mean([score for _, score in _of_score(done, name)]) for name in names}


def _of_score(done: Sequence[Counted], name: str) -> list[tuple[str, float]]:
    """Return incident and value of each trial that has the score."""
    return [
        (t.plan.incident, score)
        for t in done
        if t.grade is not None and (score := t.grade.scores.get(name)) is not None
    ]


def _pass_hat(done: Sequence[Counted]) -> dict[str, float | None]:
    """Mean pass^k over the problems with at least k completed trials, for every possible k."""
    tries = Counter(t.plan.problem for t in done)
    wins = Counter(t.plan.problem for t in done if t.passed)
    most = max(tries.values(), default=0)
    return {
        str(k): mean([pass_hat_k(n, wins[p], k) for p, n in sorted(tries.items()) if n >= k])
        for k in range(1, most + 1)
    }
