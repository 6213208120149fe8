"""An interval has a width even where all trials, or all incidents, agree."""

from __future__ import annotations

from collections.abc import Collection

from aiopslab.grading import Counted, aggregate
from aiopslab.models.grade import Grade
from aiopslab.models.run import PlannedTrial
from aiopslab.models.task import TASKS, Task


def counted(right: Collection[Task]) -> list[Counted]:
    """The four tasks of three incidents, the same ones right of each."""
    return [
        Counted(
            PlannedTrial(problem=f"{name}-{task}", incident=name, task=task, attempt=1),
            "passed" if task in right else "failed",
            Grade(scoring_version="1", task=task, passed=task in right, checks=[]),
        )
        for name in ("a", "b", "c")
        for task in TASKS
    ]


def test_three_incidents_that_all_pass_do_not_prove_certainty() -> None:
    overall, _ = aggregate(counted(TASKS))
    assert overall.completed.value == 1.0
    assert overall.completed.low is not None
    assert round(overall.completed.low, 2) == 0.44


def test_nor_do_incidents_of_which_all_pass_the_same_share() -> None:
    overall, _ = aggregate(counted(["detection"]))
    assert (overall.completed.value, overall.completed.method) == (0.25, "wilson")
    assert overall.completed.low is not None
    assert overall.completed.high is not None
    assert overall.completed.low < 0.1 < 0.5 < overall.completed.high
