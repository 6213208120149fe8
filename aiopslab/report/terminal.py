"""The end-of-run block: what was run, the score table, coverage and cost, what to type next.

Pure text from ``Results``; the command line prints it. Not here: live progress (``cli.progress``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aiopslab.grading import SCORING_VERSION
from aiopslab.grading.baselines import estimated, quiet
from aiopslab.models.baseline import Score
from aiopslab.models.calibration import Calibration
from aiopslab.models.margin import MarginRow
from aiopslab.models.run import (
    SEVERAL,
    Estimate,
    PlannedTrial,
    Results,
    RunRecord,
    TaskResults,
)
from aiopslab.models.task import TASKS, Task
from aiopslab.models.trial import Trial


def heading(results: Results) -> str:
    """Return the line that says what was run."""
    parts = [results.label, results.agent]
    if results.model:
        parts.append(results.model)
    parts.append(results.environment)
    attempts = f"{results.attempts} attempt{'s' if results.attempts != 1 else ''}"
    return f"{' · '.join(parts)}    {attempts}, seed {results.seed}"


def score_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the score table, one row a task and one for all.

    Beside each share passed is what guessing gets, and the best constant answer in hindsight.
    """
    k = str(results.attempts)
    columns = ["task", "problems", "pass^1 (95% CI)", "chance", "constant"]
    if results.attempts > 1:
        columns += [f"pass@{k}", f"pass^{k}"]
    columns += ["Brier", "infra"]
    rows = []
    for task in [*results.tasks, results.overall]:
        row = [task.task, str(task.n_problems), interval(task.completed)]
        row += [floor(task.floors.get("passed")), number(task.constant)]
        if results.attempts > 1:
            row += [number(task.pass_at_k.get(k)), number(task.pass_hat_k.get(k))]
        rows.append([*row, number(task.brier.value), f"{task.n_infra}/{task.n_planned}"])
    return columns, rows


def calibration_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of how far stated confidence can be trusted.

    One row a task whose answers stated one, and one for all; no rows where none did. The ECE is of
    bins of equal mass, its floor the mean and the 95th percentile of perfectly calibrated agents.
    """
    columns = ["confidence", "n", "Brier", "skill", "ECE", "floor (95%)", "AUROC", "AURC",
               "overconfidence (95% CI)"]  # fmt: skip
    rows = []
    for task, found in _calibrated(results):
        ece = found.ece_mass
        over = Estimate(
            value=found.overconfidence, low=found.overconfidence_low, high=found.overconfidence_high
        )
        figures = [found.brier, found.skill, ece.value]
        floor = f"{number(ece.floor.mean)} ({number(ece.floor.p95)})"
        order = [number(found.auroc), number(found.aurc)]
        rows.append([task, str(found.n), *map(number, figures), floor, *order, interval(over)])
    return columns, rows


def calibration_notes(results: Results) -> list[str]:
    """Return a line that names the ECEs which chance does not explain; none where it does."""
    beyond = [task for task, found in _calibrated(results) if found.ece_mass.beyond_chance]
    if not beyond:
        return []
    why = "larger than 95 % of perfectly calibrated agents would show"
    return [f"ECE beyond chance: {', '.join(beyond)} ({why})"]


def _calibrated(results: Results) -> list[tuple[str, Calibration]]:
    tasks = [*results.tasks, results.overall]
    return [(t.task, t.calibration) for t in tasks if t.calibration is not None]


def baseline_rows(
    scores: Mapping[str, Mapping[Task, Score]],
) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of what trivial agents score.

    Detection is balanced; the other tasks are shares of the trials with a fault, and ``quiet`` is
    the share of the same tasks where nothing was wrong.
    """
    others = [t for t in TASKS if t != "detection"]
    columns = ["agent", "detection", *others, "quiet", "trials"]
    rows = []
    for agent, tasks in scores.items():
        quiet_n = sum(tasks[t].quiet_n for t in others)
        quiet = sum(tasks[t].quiet_passed for t in others) / quiet_n if quiet_n else None
        shares = [number(tasks[t].share) for t in others]
        n = sum(s.n + s.quiet_n for s in tasks.values())
        rows.append([agent, number(tasks["detection"].balanced), *shares, number(quiet), str(n)])
    return columns, rows


def method_rows(
    scores: Mapping[str, Mapping[Task, Score]],
) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of what agents score, with intervals; rows of one draw an incident.

    The columns mean what those of ``baseline_rows`` do; ``trials`` are those that ended.
    """
    columns = ["agent", *TASKS, "quiet", "trials"]
    rows = []
    for agent, tasks in scores.items():
        figures = [interval(estimated(tasks[t], t)) for t in TASKS]
        n = sum(s.n + s.quiet_n for s in tasks.values())
        rows.append([agent, *figures, interval(quiet(tasks)), str(n)])
    return columns, rows


def margin_rows(margins: Sequence[MarginRow]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of how far incidents are from their gates."""
    columns = ["incident", "seeds", "failures", "opens s", "(max)", "fault x bound", "(min)",
               "bound x twin (min)"]  # fmt: skip
    rows = [
        [m.incident, str(m.seeds), str(m.failures), _figure(m.opened_median_s),
         _figure(m.opened_max_s), _figure(m.faulty_median), _figure(m.faulty_min),
         _figure(m.twin_min)]
        for m in margins
    ]  # fmt: skip
    return columns, rows


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def trial_rows(
    trials: Sequence[tuple[PlannedTrial, Trial | None]],
) -> tuple[list[str], list[list[str | None]]]:
    """Return columns and rows of the trials of a run; one without a record shows dashes."""
    columns = ["trial", "outcome", "ended by", "steps", "writes", "virtual s"]
    rows: list[list[str | None]] = []
    for plan, trial in trials:
        if trial is None:
            rows.append([plan.directory, *[None] * (len(columns) - 1)])
            continue
        used = trial.usage
        figures = [str(used.steps), str(used.writes), f"{used.virtual_s:.0f}"]
        rows.append([plan.directory, trial.outcome, trial.termination, *figures])
    return columns, rows


def footing(
    results: Results, record: RunRecord, directory: Path, *, shown: bool = False
) -> list[str]:
    """Return the lines below the table: coverage, outcomes, cost, where, what next.

    Args:
        results: The aggregates.
        record: The run.
        directory: Where it is.
        shown: Whether every trial is listed above already.
    """
    overall = results.overall
    cost = f"${results.cost_usd:.2f}" if results.cost_usd is not None else "unknown"
    if results.cost_usd is None and results.tokens_in is None:
        cost = "none (no model)" if results.model is None else "unknown"
    outcomes = ", ".join(f"{n} {name}" for name, n in sorted(overall.outcomes.items()))
    tokens = f" ({results.tokens_in} in, {results.tokens_out} out)" if results.tokens_in else ""
    lines = [
        f"coverage {overall.n_completed}/{overall.n_planned} · {outcomes or 'nothing ran'}"
        f" · cost {cost}{tokens}",
        f"records {directory}",
    ]
    if results.headline.completed is None:
        lines.append(no_headline(results))
    if results.scoring_version != SCORING_VERSION:
        lines.append(
            f"graded by scoring version {results.scoring_version}; this is {SCORING_VERSION}:"
            f" aiopslab regrade {directory}"
        )
    logs = "trials/*/error.txt"
    if any(directory.glob(logs)):
        lines.append(f"what failed: {directory}/{logs}")
    verbs = ["resume"] if _unfinished(overall) else []
    verbs += ["report"] if shown else ["show", "report"]
    lines.append("next: " + " · ".join(f"aiopslab {verb} {directory}" for verb in verbs))
    return lines


def no_headline(results: Results) -> str:
    """Say why a run has none."""
    few = "less than 95 % of the planned trials were graded"
    why = "several agents played" if results.agent == SEVERAL else few
    return f"no headline: {why}"


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """Return ``0.83 [0.71, 0.92]``, or ``-`` where nothing is known; signed of a difference."""
    if estimate.value is None:
        return "-"
    form = "+.2f" if signed else ".2f"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{form}}"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def number(value: float | None) -> str:
    """Return two decimals, or ``-`` where nothing is known."""
    return "-" if value is None else f"{value:.2f}"


def floor(value: float | None) -> str:
    """Return two decimals, one digit of what they would call 0, or ``-`` where nothing is known.

    >>> floor(0.125), floor(0.0004), floor(0.0)
    ('0.12', '0.0004', '0.00')
    """
    return f"{value:.1g}" if value is not None and 0.0 < value < 0.005 else number(value)


def _unfinished(overall: TaskResults) -> bool:
    return overall.n_completed < overall.n_planned
