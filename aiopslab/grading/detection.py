"""Detection: is something wrong? Half of all answers are no, because half the trials are twins."""

from __future__ import annotations

from aiopslab.grading.assertions import answered, check, verdict
from aiopslab.grading.calibration import brier
from aiopslab.models.answer import Detection
from aiopslab.models.grade import Grade
from aiopslab.models.truth import Truth


def grade_detection(answer: Detection | None, truth: Truth) -> Grade:
    """Grade a yes/no answer.

    Scores: ``anomaly_present`` (the truth, for balanced accuracy), ``false_alarm`` (known only
    where nothing is wrong), ``missed`` (only where something is), ``brier``.
    """
    present = not truth.twin and bool(truth.root_causes)
    checks = answered(answer)
    scores: dict[str, float | None] = {
        "anomaly_present": float(present),
        "false_alarm": None,
        "missed": None,
        "brier": None,
    }
    if answer is None or answer.escalate:
        return verdict("detection", checks, scores, None)
    right = answer.anomaly == present
    reason = f"said {_word(answer.anomaly)}, the truth is {_word(present)}"
    checks.append(check("anomaly", right, reason, "answer.json#anomaly"))
    scores["missed" if present else "false_alarm"] = float(not right)
    scores["brier"] = brier(answer.confidence, right)
    return verdict("detection", checks, scores, answer.confidence)


def _word(anomaly: bool) -> str:
    return "something is wrong" if anomaly else "nothing is wrong"
