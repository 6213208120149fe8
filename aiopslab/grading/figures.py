"""What a group of trials shows beside shares and mean scores.

How long it took where not all got there, how much it took, whether repair needed a diagnosis, and
what one constant answer would have scored. Pure functions of trials; which form a group is
``aggregate``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from aiopslab.grading.components import normal
from aiopslab.grading.counted import Counted
from aiopslab.grading.estimates import mean_by_incident
from aiopslab.grading.statistics import balanced_bootstrap, wilson
from aiopslab.models.figures import FixedGivenDiagnosis, RestrictedTime, Spread
from aiopslab.models.run import Estimate
from aiopslab.models.task import Task
from aiopslab.models.truth import Truth
from aiopslab.seeds import derive

PROCESS = (
    "steps", "reads", "writes", "repeated_calls", "tool_errors", "format_violations", "tokens_in",
    "tokens_out", "cost_usd", "virtual_s",
)  # fmt: skip
"""Figures of ``models.trial.Usage`` that are summed up."""
TIMES: dict[str, str] = {"detection": "time_to_detect_s", "mitigation": "time_to_mitigate_s"}
_SEED = derive(0, "grading", "figures", "bootstrap")


def spread(values: Sequence[float]) -> Spread:
    """Return median, 95th percentile (linear between ranks) and sum of at least one value."""
    median, p95 = np.percentile(values, [50, 95])
    return Spread(n=len(values), median=float(median), p95=float(p95), total=float(sum(values)))


def process(done: Sequence[Counted]) -> dict[str, Spread]:
    """Return the spread of every figure of usage, each over the trials that know it."""
    used = [t.usage.model_dump() for t in done if t.usage is not None]
    known = {name: [u[name] for u in used if u[name] is not None] for name in PROCESS}
    return {name: spread(values) for name, values in known.items() if values}


def balanced_accuracy(done: Sequence[Counted]) -> Estimate | None:
    """Return the mean of the shares passed with and without a fault; None where one is missing.

    The interval is a bootstrap over incidents; where that has no width, because all incidents are
    alike, Wilson's over incidents.
    """
    sides: dict[str, list[tuple[bool, float]]] = {}
    for t in done:
        if t.grade is not None and (present := t.grade.scores.get("anomaly_present")) is not None:
            sides.setdefault(t.plan.incident, []).append((present == 1.0, float(t.passed)))
    rows = [row for name in sorted(sides) for row in sides[name]]
    struck, quiet = [v for s, v in rows if s], [v for s, v in rows if not s]
    if not struck or not quiet:
        return None
    value = (sum(struck) / len(struck) + sum(quiet) / len(quiet)) / 2
    bounds, method = balanced_bootstrap(sides, seed=_SEED), "cluster-bootstrap"
    if bounds is None or bounds[0] == bounds[1]:
        bounds, method = wilson(value * len(sides), len(sides)), "wilson"
    low, high = bounds or (None, None)
    return Estimate.model_validate(
        {"value": value, "low": low, "high": high, "n": len(rows), "method": method}
    )


def restricted_time(
    task: str, done: Sequence[Counted], budget_s: float | None
) -> RestrictedTime | None:
    """Return the mean of min(time, budget) over the trials with a fault.

    Args:
        task: Only detection and mitigation have a time.
        done: Completed trials of the task.
        budget_s: What a trial counts that does not reach it; None: there is none, and no figure.
    """
    score = TIMES.get(task)
    struck = [t for t in done if t.struck]
    if score is None or budget_s is None or not struck:
        return None
    times = [t.grade.scores.get(score) if t.grade is not None else None for t in struck]
    spent = [budget_s if time is None else min(budget_s, time) for time in times]
    incidents = [t.plan.incident for t in struck]
    found = mean_by_incident(zip(incidents, spent, strict=True), seed=_SEED)
    return RestrictedTime(
        score=score, budget_s=budget_s, mean_s=sum(spent) / len(spent),
        low_s=found.low, high_s=found.high,
        reached=sum(time is not None for time in times) / len(times), n=len(times),
    )  # fmt: skip


def fixed_given_diagnosis(done: Sequence[Counted]) -> FixedGivenDiagnosis | None:
    """Count draws with a fault by whether they were diagnosed, and repaired; None without any.

    A draw is an incident, an attempt and an agent; its tasks are trials of their own.
    """
    draws: dict[tuple[str, int, str | None], dict[Task, bool]] = {}
    for t in done:
        if t.plan.task in ("diagnosis", "mitigation") and t.struck:
            key = (t.plan.incident, t.plan.attempt, t.plan.agent)
            draws.setdefault(key, {})[t.plan.task] = t.passed
    both = [d for d in draws.values() if len(d) == 2]
    if not both:
        return None
    right = [d["mitigation"] for d in both if d["diagnosis"]]
    wrong = [d["mitigation"] for d in both if not d["diagnosis"]]
    return FixedGivenDiagnosis(
        right=len(right), right_fixed=sum(right), wrong=len(wrong), wrong_fixed=sum(wrong)
    )


def best_constant(done: Sequence[Counted]) -> float | None:
    """Return the share that one answer to each task would have passed, the best in hindsight.

    By the labels of the answer keys alone; what else is accepted is not counted. To mitigation it
    is to do nothing. None where a key is not known.
    """
    answers: dict[Task, Counter[Hashable]] = {}
    for t in done:
        if t.truth is None:
            return None
        answers.setdefault(t.plan.task, Counter())[_right(t.plan.task, t.truth)] += 1
    if not answers:
        return None
    quiet = answers.get("mitigation", Counter())[False]
    best = sum(max(found.values()) for task, found in answers.items() if task != "mitigation")
    return (best + quiet) / len(done)


def _right(task: Task, truth: Truth) -> Hashable:
    causes = truth.root_causes
    match task:
        case "localization":
            return tuple(sorted(normal(c.component) for c in causes))
        case "diagnosis":
            return tuple(sorted((normal(c.component), c.cause) for c in causes))
        case _:
            return bool(causes)
