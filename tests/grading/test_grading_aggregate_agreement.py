"""An interval has a width even where all trials agree."""

from __future__ import annotations

from aiopslab.grading import Counted, aggregate
from aiopslab.models.grade import Grade
from aiopslab.models.run import PlannedTrial
from aiopslab.models.task import TASKS


def test_three_incidents_that_all_pass_do_not_prove_certainty() -> None:
    counted = [
        Counted(
            PlannedTrial(problem=f"{name}-{task}", incident=name, task=task, attempt=1),
            "passed",
            Grade(scoring_version="1", task=task, passed=True, checks=[]),
        )
        for name in ("a", "b", "c")
        for task in TASKS
    ]
    overall, _ = aggregate(counted)
    assert overall.completed.value == 1.0
    assert overall.completed.low is not None
    assert round(overall.completed.low, 2) == 0.44
