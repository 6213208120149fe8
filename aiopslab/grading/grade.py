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
    graded = _graded(task, answer, truth, evidence, steps, beside)
    return graded.model_copy(update={"scores": graded.scores | _submissions(steps)})


def _graded(
    task: Task,
    answer: Answer | None,
    truth: Truth,
    evidence: Evidence,
    steps: Sequence[Step],
    beside: Counterfactual | None,
) -> Grade:
    match task:
        case "detection":
            yes_or_no = answer if isinstance(answer, Detection) else None
            return grade_detection(yes_or_no, truth, evidence)
        case "localization":
            return grade_localization(answer if isinstance(answer, Localization) else None, truth)
        case "diagnosis":
            causes = answer if isinstance(answer, Diagnosis) else None
            return grade_diagnosis(causes, truth, evidence, steps)
        case "mitigation":
            repair = answer if isinstance(answer, Mitigation) else None
            return grade_mitigation(repair, truth, evidence, steps, beside)
        case _:
            assert_never(task)


def _submissions(steps: Sequence[Step]) -> dict[str, float | None]:
    """Say whether the first answer was malformed, and whether its repair was too; of every task.

    What is called after an answer was taken is refused too, and is no answer.
    """
    taken = next((i for i, s in enumerate(steps) if s.effect == "submit" and s.ok), len(steps))
    refused = sum(s.effect == "submit" for s in steps[:taken])
    return {
        "malformed_answer": float(refused > 0),
        "malformed_after_repair": float(refused > 1),
    }
