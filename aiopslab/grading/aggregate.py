"""From trials to the numbers of a run, with coverage and honest intervals.

Conventions: the unit is the problem; means are over problems' trials, resampled by incident. A run
whose lab failed in more than 5 % of the trials has no headline. Unknown is None, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from aiopslab.grading.calibration import overconfidence
from aiopslab.grading.calibration_figures import Stated, calibration
from aiopslab.grading.counted import Counted
from aiopslab.grading.estimates import alike, mean_by_incident
from aiopslab.grading.figures import balanced_accuracy, best_constant, process, restricted_time
from aiopslab.grading.statistics import mean, pass_at_k, pass_hat_k, wilson
from aiopslab.models.run import Estimate, Headline, TaskResults
from aiopslab.models.task import TASKS
from aiopslab.seeds import derive

MIN_COVERAGE = 0.95
CONVENTION = (
    "share of trials passed, all tasks together; strict counts infra and unfinished trials as 0, "
    "completed leaves them out; none below 95 % coverage, and none of several agents together"
)
_BOOTSTRAP_SEED = derive(0, "grading", "bootstrap")


def aggregate(
    trials: Sequence[Counted], *, budget_s: float | None = None
) -> tuple[TaskResults, list[TaskResults]]:
    """Aggregate over all trials, and over those of each task that was planned.

    Args:
        trials: All that were planned.
        budget_s: Virtual seconds that a trial had, for times that not every trial reaches.
    """
    ordered = sorted(trials, key=lambda t: (t.plan.problem, t.plan.attempt))
    tasks = [
        _results(task, [t for t in ordered if t.plan.task == task], budget_s)
        for task in TASKS
        if any(t.plan.task == task for t in ordered)
    ]
    return _results("all", ordered, budget_s), tasks


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


def _results(task: str, trials: Sequence[Counted], budget_s: float | None) -> TaskResults:
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
            "pass_hat_k": _over_tries(done, pass_hat_k),
            "pass_at_k": _over_tries(done, pass_at_k),
            "constant": best_constant(done),
            "balanced_accuracy": balanced_accuracy(done) if task == "detection" else None,
            "restricted_time": restricted_time(task, done, budget_s),
            "brier": _mean_score(done, "brier"),
            "overconfidence": overconfidence([(a.confidence, a.right) for a in stated]),
            "calibration": calibration(stated),
            "scores": {} if task == "all" else _scores(done),
            "floors": _floors(done, of_all=task == "all"),
            "process": process(done),
            "outcomes": dict(sorted(Counter(t.outcome for t in trials if t.outcome).items())),
        }
    )


def _share(trials: Sequence[Counted], hit: Callable[[Counted], bool]) -> Estimate:
    """Estimate a share: Wilson where each incident has one trial, else bootstrap by incident.

    Where all incidents have the same share a bootstrap has no width; then they count as one trial
    each.
    """
    values = [(t.plan.incident, float(hit(t))) for t in trials]
    if not values:
        return Estimate()
    incidents = {incident for incident, _ in values}
    value = sum(v for _, v in values) / len(values)
    if len(incidents) == len(values) or alike(values):
        low, high = wilson(value * len(incidents), len(incidents)) or (None, None)
        return Estimate(value=value, low=low, high=high, n=len(values), method="wilson")
    return mean_by_incident(values, seed=_BOOTSTRAP_SEED)


def _mean_score(done: Sequence[Counted], name: str) -> Estimate:
    values = _of_score(done, name)
    return mean_by_incident(values, seed=_BOOTSTRAP_SEED) if values else Estimate()


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


def _floors(done: Sequence[Counted], *, of_all: bool) -> dict[str, float | None]:
    """Average the floors of every score over the trials that have both; of all tasks ``passed``."""
    found: dict[str, list[float]] = {}
    for t in done:
        if t.grade is None:
            continue
        for name, floor in t.grade.floors.items():
            beside = name == "passed" or (not of_all and t.grade.scores.get(name) is not None)
            if floor is not None and beside:
                found.setdefault(name, []).append(floor)
    # A floor of some trials beside the score of all would be of other trials than the score.
    whole = {"passed": len(done)}
    return {
        name: mean(values)
        for name, values in sorted(found.items())
        if len(values) == whole.get(name, len(_of_score(done, name)))
    }


def _over_tries(
    done: Sequence[Counted], chance: Callable[[int, int, int], float]
) -> dict[str, float | None]:
    """Mean of pass^k or pass@k over the problems with at least k trials, for every possible k."""
    tries = Counter(t.plan.problem for t in done)
    wins = Counter(t.plan.problem for t in done if t.passed)
    most = max(tries.values(), default=0)
    return {
        str(k): mean([chance(n, wins[p], k) for p, n in sorted(tries.items()) if n >= k])
        for k in range(1, most + 1)
    }
