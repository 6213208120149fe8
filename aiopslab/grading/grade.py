"""The door of grading: one pure function of a trial's records.

Never imports an environment, so that every trial can be graded again from its directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from aiopslab.errors import GradingError
from aiopslab.grading.detection import grade_detection
from aiopslab.grading.diagnosis import grade_diagnosis
from aiopslab.grading.localization import grade_localization
from aiopslab.grading.mitigation import grade_mitigation
from aiopslab.models.answer import Answer, Detection, Diagnosis, Localization, Mitigation
from aiopslab.models.counterfactual import Counterfactual
from aiopslab.models.evidence import Evidence
from aiopslab.models.grade import Grade
from aiopslab.models.task import Task
from aiopslab.models.trial import Step
from aiopslab.models.truth import Truth


def grade(
    task: Task,
    answer: Answer | None,
    truth: Truth,
    evidence: Evidence,
    steps: Sequence[Step],
    beside: Counterfactual | None = None,
) -> Grade:
    """Grade one trial; the same records always give the same grade.

    Args:
        task: What was asked.
        answer: What was submitted; None if nothing was.
        truth: The answer key.
        evidence: What was measured out of the agent's reach.
        steps: The tool calls in order.
        beside: What would have happened without the agent; None where it is not known.

    Raises:
        GradingError: The answer belongs to another task.
    """
    if answer is not None and answer.task != task:
        raise GradingError(f"the answer is for task {answer.task!r}, the trial asked for {task!r}")
    match task:
        case "detection":
            return grade_detection(answer if isinstance(answer, Detection) else None, truth)
        case "localization":
            return grade_localization(answer if isinstance(answer, Localization) else None, truth)
        case "diagnosis":
            return grade_diagnosis(answer if isinstance(answer, Diagnosis) else None, truth, steps)
        case "mitigation":
            found = answer if isinstance(answer, Mitigation) else None
            return grade_mitigation(found, truth, evidence, steps, beside)
        case _:
            assert_never(task)
