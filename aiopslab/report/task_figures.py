"""Tables of what a run shows beside shares passed: each task's figures, and what trials took.

Rows of text from ``Results``, the same in the terminal, in Markdown and on the page. Not here: the
table of shares passed (``terminal``), formulas (``grading``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiopslab.grading.figures import spread
from aiopslab.models.figures import RestrictedTime, Spread
from aiopslab.models.run import Results, TaskResults
from aiopslab.models.task import TASKS, Task
from aiopslab.models.trial import Trial
from aiopslab.report.terminal import floor, interval, number
from aiopslab.report.text import amount

UNKNOWN = "-"
_SCORES: dict[Task, tuple[tuple[str, str], ...]] = {
    "detection": (("false alarms, of the quiet", "false_alarm"), ("missed faults", "missed")),
    "localization": (
        ("AC@1", "ac_at_1"),
        ("AC@3", "ac_at_3"),
        ("Avg@5", "avg_at_5"),
        ("MRR", "mrr"),
        ("hops to the cause, first candidate", "graph_distance"),
        ("the same, of the most there can be", "graph_distance_share"),
        ("specificity, nothing wrong", "specificity"),
    ),
    "diagnosis": (
        ("component right", "component_right"),
        ("family of causes right", "family_right"),
        ("cause right", "cause_right"),
        ("both right (AC@1)", "ac_at_1"),
        ("AC@3", "ac_at_3"),
        ("partial credit", "partial_credit"),
        ("cited evidence that was seen", "evidence_valid"),
        ("cited evidence that shows the cause", "evidence_precision"),
        ("causal path covered by evidence", "evidence_coverage"),
        ("claims without evidence", "unsupported_claims"),
        ("specificity, nothing wrong", "specificity"),
    ),
    "mitigation": (
        ("SLO violation, s", "slo_violation_s"),
        ("benefit", "benefit"),
        ("writes", "writes"),
        ("reverts", "reverts"),
        ("collateral changes", "collateral"),
        ("CPU requests added, cores", "cpu_added"),
        ("memory requests added, MiB", "memory_added"),
        ("replicas added", "replicas_added"),
        ("CPU budget used", "budget_used"),
    ),
}
_PROCESS = (
    ("steps", "steps"),
    ("repeated", "repeated_calls"),
    ("tool errors", "tool_errors"),
    ("format", "format_violations"),
    ("tokens in", "tokens_in"),
    ("tokens out", "tokens_out"),
    ("cost $", "cost_usd"),
    ("virtual s", "virtual_s"),
)
_MIB = 2.0**20


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text; no rows where there is nothing to show."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def figures(results: Results) -> Table:
    """Return one row a figure that is known, with its chance floor, task by task."""
    rows: list[list[str]] = []
    for task in results.tasks:
        if task.task == "all":
            continue
        rows += _of_task(task.task, task)
        if task.task == "mitigation":
            rows += _given_diagnosis(results)
    return Table("Figures by task", ["task", "figure", "value", "chance"], rows)


def process(results: Results, wall: Mapping[str, Spread]) -> Table:
    """Return one row a task of what trials took: median and 95th percentile.

    Args:
        results: Of the run.
        wall: What the agent's part took by the host's clock, by task and ``all``.
    """
    rows = []
    for task in [*results.tasks, results.overall]:
        if not task.process:
            continue
        cells = [_spread(task.process.get(name)) for _, name in _PROCESS]
        rows.append([task.task, *cells, _spread(wall.get(task.task))])
    columns = ["median (p95)", *(label for label, _ in _PROCESS), "wall s"]
    return Table("What trials took", columns, rows)


def wall(trials: Sequence[Trial]) -> dict[str, Spread]:
    """Return the wall seconds of the agent's part, by task and of all; they are in no results."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        took = trial.wall.get("agent")
        if isinstance(took, float) and trial.outcome != "infra_error":
            found.setdefault(trial.task, []).append(took)
            found.setdefault("all", []).append(took)
    return {task: spread(found[task]) for task in (*TASKS, "all") if task in found}


def _of_task(task: Task, found: TaskResults) -> list[list[str]]:
    rows: list[list[str]] = []
    if found.balanced_accuracy is not None:
        balanced = interval(found.balanced_accuracy)
        rows.append(
            [task, "balanced accuracy (95% CI)", balanced, floor(found.floors.get("passed"))]
        )
    for label, score in _SCORES[task]:
        value = found.scores.get(score)
        if value is not None:
            shown = value / _MIB if score == "memory_added" else value
            rows.append([task, label, number(shown), floor(found.floors.get(score))])
    if found.restricted_time is not None:
        rows.append([task, *_time(found.restricted_time)])
    malformed = found.scores.get("malformed_answer")
    if malformed is not None:
        repaired = number(found.scores.get("malformed_after_repair"))
        rows.append(
            [task, "malformed (after repair)", f"{number(malformed)} ({repaired})", UNKNOWN]
        )
    return rows


def _time(found: RestrictedTime) -> list[str]:
    verb = "detect" if found.score == "time_to_detect_s" else "mitigate"
    value = f"{found.mean_s:.0f}"
    if found.low_s is not None and found.high_s is not None:
        value += f" [{found.low_s:.0f}, {found.high_s:.0f}]"
    label = f"s to {verb}, up to {found.budget_s:.0f} (reached)"
    return [label, f"{value} ({found.reached:.2f})", f"{found.budget_s:.0f} (0.00)"]


def _given_diagnosis(results: Results) -> list[list[str]]:
    found = results.fixed_given_diagnosis
    if found is None:
        return []
    cases = (("right", found.right, found.right_fixed), ("wrong", found.wrong, found.wrong_fixed))
    return [
        ["mitigation", f"repaired, diagnosis {name}", f"{fixed / n:.2f} ({fixed}/{n})", UNKNOWN]
        for name, n, fixed in cases
        if n
    ]


def _spread(found: Spread | None) -> str:
    return UNKNOWN if found is None else f"{amount(found.median)} ({amount(found.p95)})"
