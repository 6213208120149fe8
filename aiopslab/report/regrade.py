"""What grading a run again changed, in words: trial by trial with the checks, then the means.

Pure text from ``Regraded``. Not here: what a change is (``grading.changes``).
"""

from __future__ import annotations

from aiopslab.models.regrade import CheckChange, GradeChange
from aiopslab.models.run import TaskResults
from aiopslab.orchestrator.results import Regraded
from aiopslab.report.terminal import number
from aiopslab.report.text import one_line


def summary(done: Regraded) -> list[str]:
    """Return the lines that say how many trials changed, and which scoring versions these are."""
    verdicts = [c for c in done.changes if c.before != c.after]
    old, new = done.before.overall.completed.value, done.after.overall.completed.value
    lines = [
        f"{done.n_graded} graded, {len(verdicts)} changed ({len(done.up)} up,"
        f" {len(done.down)} down), mean {number(old)} -> {number(new)}"
    ]
    kept = sum(c.before == c.after and c.had_grade for c in done.changes)
    if kept:
        lines.append(f"{kept} with the same verdict and other checks or scores")
    now = done.after.scoring_version
    if done.scoring_versions not in ([], [now]):
        lines.append(f"scoring version {', '.join(done.scoring_versions)} -> {now}")
    return lines


def change_lines(done: Regraded) -> list[str]:
    """Explain every trial that changed: its verdict, then each check and each score."""
    return [line for change in done.changes for line in _trial(change)]


def mean_lines(done: Regraded) -> list[str]:
    """Return a line for each task whose means changed."""
    before = {task.task: task for task in done.before.tasks}
    found = []
    for task in done.after.tasks:
        old, new = _means(before[task.task]), _means(task)
        moved = [
            f"{name} {number(old.get(name))} -> {number(new.get(name))}"
            for name in new | old
            if old.get(name) != new.get(name)
        ]
        if moved:
            found.append(f"mean  {task.task}: {', '.join(moved)}")
    return found


def _trial(change: GradeChange) -> list[str]:
    word = "same"
    if change.before != change.after:
        word = "up" if change.after == "passed" else "down"
    lines = [f"{word:<4}  {change.trial}"]
    if not change.had_grade:
        return [f"{lines[0]}: had no grade"]
    lines += [f"        {_check(check)}" for check in change.checks]
    lines += [
        f"        score {s.score}: {number(s.before)} -> {number(s.after)}" for s in change.scores
    ]
    return lines


def _check(change: CheckChange) -> str:
    gates = "" if change.gates or change.gated else " (not gating)"
    if None not in (change.gated, change.gates) and change.gated != change.gates:
        gates = " (gating now)" if change.gates else " (no longer gating)"
    words = f"{_verdict(change.before)} -> {_verdict(change.after)}"
    return f"check {change.id}{gates}: {words}: {one_line(change.reason)}"


def _verdict(passed: bool | None) -> str:
    return "absent" if passed is None else "passed" if passed else "failed"


def _means(task: TaskResults) -> dict[str, float | None]:
    return {"passed": task.completed.value, **task.scores}
