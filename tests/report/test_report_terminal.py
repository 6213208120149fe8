"""Tables of a run: shares beside chance, figures of tasks, how far confidence can be trusted."""

from __future__ import annotations

from aiopslab.grading import Counted, aggregate, headline
from aiopslab.models.grade import Grade
from aiopslab.models.run import PlannedTrial, Results
from aiopslab.models.task import Task
from aiopslab.models.trial import Trial, Usage
from aiopslab.report import task_figures
from aiopslab.report.terminal import calibration_notes, calibration_rows, floor, score_rows


def counted(i: int, task: Task, confidence: float | None, *, passed: bool) -> Counted:
    plan = PlannedTrial(problem=f"i{i}-{task}", incident=f"i{i}", task=task, attempt=1)
    grade = Grade(scoring_version="2", task=task, passed=passed, checks=[], confidence=confidence)
    return Counted(plan, "passed" if passed else "failed", grade)


def results(trials: list[Counted], *, attempts: int = 1) -> Results:
    overall, tasks = aggregate(trials, budget_s=600.0)
    return Results(
        scoring_version="2", label="x", agent="a", model=None, environment="sim", attempts=attempts,
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


def scored(i: int, task: Task, *, attempt: int = 1, **scores: float) -> Counted:
    plan = PlannedTrial(problem=f"i{i}-{task}", incident=f"i{i}", task=task, attempt=attempt)
    grade = Grade(
        scoring_version="2", task=task, passed=attempt == 1, checks=[], scores=dict(scores),
        floors={"passed": 0.25, "mrr": 0.125},
    )  # fmt: skip
    used = Usage(steps=10 * attempt, repeated_calls=1, virtual_s=60.0)
    return Counted(plan, "passed" if attempt == 1 else "failed", grade, used)


def test_beside_each_share_stands_what_chance_gives_and_pass_at_k_beside_pass_hat_k() -> None:
    trials = [scored(i, "localization", attempt=k) for i in range(3) for k in (1, 2)]
    columns, rows = score_rows(results(trials, attempts=2))
    shown = dict(zip(columns, rows[0], strict=True))
    assert (shown["chance"], shown["constant"]) == ("0.25", "-")
    assert (shown["pass@2"], shown["pass^2"]) == ("1.00", "0.00")
    once, _ = score_rows(results(trials[:1]))
    assert not [c for c in once if c.startswith("pass@")]


def test_a_small_chance_is_not_shown_as_none() -> None:
    assert [floor(v) for v in (0.125, 0.0004, 0.0, None)] == ["0.12", "0.0004", "0.00", "-"]


def test_figures_of_a_task_stand_beside_their_floor_and_unknown_ones_are_left_out() -> None:
    made = results([scored(1, "localization", mrr=0.5), scored(2, "localization", mrr=1.0)])
    table = task_figures.figures(made)
    assert ["localization", "MRR", "0.75", "0.12"] in table.rows
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert not [row for row in table.rows if row[1].startswith("AC@")]


def test_times_are_restricted_to_the_budget_and_say_who_reached_it() -> None:
    made = results(
        [scored(1, "mitigation", time_to_mitigate_s=100.0), scored(2, "mitigation", attempt=2)]
    )
    (row,) = [r for r in task_figures.figures(made).rows if "s to mitigate" in r[1]]
    assert row[1:] == ["s to mitigate, up to 600 (reached)", "350 [100, 600] (0.50)", "600 (0.00)"]


def test_what_trials_took_has_median_and_95th_percentile_and_wall_time_from_the_records() -> None:
    made = results([scored(i, "diagnosis", attempt=k) for i, k in ((1, 1), (2, 2))])
    record = Trial(
        id="t", problem="p", incident="i", task="diagnosis", agent="a", model=None, attempt=1,
        seed=0, environment="sim", clock="stepped", outcome="passed", termination="submitted",
        twin=False, wall={"agent": 3.0, "finished": "today"},
    )  # fmt: skip
    lost = record.model_copy(update={"outcome": "infra_error", "wall": {"agent": 99.0}})
    table = task_figures.process(made, task_figures.wall([record, lost]))
    shown = dict(zip(table.columns, table.rows[0], strict=True))
    assert (shown["steps"], shown["repeated"], shown["wall s"]) == ("15 (19.5)", "1 (1)", "3 (3)")
    assert (shown["tokens in"], shown["virtual s"]) == ("-", "60 (60)")
    assert table.rows[-1][0] == "all"
