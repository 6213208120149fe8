"""The end-of-run block: how far stated confidence can be trusted."""

from __future__ import annotations

from aiopslab.grading import Counted, aggregate, headline
from aiopslab.models.grade import Grade
from aiopslab.models.run import PlannedTrial, Results
from aiopslab.models.task import Task
from aiopslab.report.terminal import calibration_notes, calibration_rows


def counted(i: int, task: Task, confidence: float | None, *, passed: bool) -> Counted:
    plan = PlannedTrial(problem=f"i{i}-{task}", incident=f"i{i}", task=task, attempt=1)
    grade = Grade(scoring_version="2", task=task, passed=passed, checks=[], confidence=confidence)
    return Counted(plan, "passed" if passed else "failed", grade)


def results(trials: list[Counted]) -> Results:
    overall, tasks = aggregate(trials)
    return Results(
        scoring_version="2", label="x", agent="a", model=None, environment="sim", attempts=1,
        seed=0, headline=headline(overall), overall=overall, tasks=tasks,
    )  # fmt: skip


def test_no_confidence_no_table() -> None:
    silent = results([counted(1, "detection", None, passed=True)])
    assert calibration_rows(silent)[1] == []
    assert calibration_notes(silent) == []


def test_each_task_that_stated_confidence_has_a_row_and_all_together_have_one() -> None:
    trials = [counted(i, "detection", 0.75, passed=i % 4 != 0) for i in range(8)]
    trials += [counted(i, "mitigation", None, passed=True) for i in range(8)]
    columns, rows = calibration_rows(results(trials))
    assert [row[0] for row in rows] == ["detection", "all"]
    assert {len(row) for row in rows} == {len(columns)}
    shown = dict(zip(columns, rows[0], strict=True))
    assert (shown["n"], shown["Brier"], shown["skill"]) == ("8", "0.19", "0.00")
    assert (shown["ECE"], shown["AUROC"]) == ("0.00", "0.50")
    assert shown["overconfidence (95% CI)"].startswith("0.00 [-")


def test_what_chance_does_not_explain_is_named_in_words() -> None:
    sure = [counted(i, "diagnosis", 0.95, passed=i % 2 == 0) for i in range(40)]
    right = [counted(i, "detection", 0.5, passed=i % 2 == 0) for i in range(40)]
    (line,) = calibration_notes(results([*sure, *right]))
    assert line.startswith("ECE beyond chance: diagnosis, all (")
    assert calibration_notes(results(right)) == []
