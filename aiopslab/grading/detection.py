"""Detection: is something wrong? Half of all answers are no, because half the trials are twins."""

from __future__ import annotations

from aiopslab.grading.assertions import answered, check, verdict
from aiopslab.grading.calibration import brier
from aiopslab.grading.floors import detection_floors
from aiopslab.models.answer import Detection
from aiopslab.models.evidence import Evidence
from aiopslab.models.grade import Grade
from aiopslab.models.truth import Truth


def grade_detection(answer: Detection | None, truth: Truth, evidence: Evidence) -> Grade:
    """Grade a yes/no answer.

    Scores: ``anomaly_present`` (the truth, for balanced accuracy), ``false_alarm`` (known only
    where nothing is wrong), ``missed`` (only where something is), ``time_to_detect_s`` (from the
    fault's onset to a right answer), ``brier``.
    """
    present = not truth.twin and bool(truth.root_causes)
    checks = answered(answer)
    scores: dict[str, float | None] = {
        "anomaly_present": float(present),
        "false_alarm": None,
        "missed": None,
        "time_to_detect_s": None,
        "brier": None,
    }
    if answer is None or answer.escalate:
        return verdict("detection", checks, scores, None, detection_floors())
    right = answer.anomaly == present
    reason = f"said {_word(answer.anomaly)}, the truth is {_word(present)}"
    checks.append(check("anomaly", right, reason, "answer.json#anomaly"))
    scores["missed" if present else "false_alarm"] = float(not right)
    scores["brier"] = brier(answer.confidence, right)
    if right and present:
        scores["time_to_detect_s"] = _time_to_detect(truth, evidence)
    return verdict("detection", checks, scores, answer.confidence, detection_floors())


def _time_to_detect(truth: Truth, evidence: Evidence) -> float | None:
    if truth.injected_at is None or evidence.submitted_at is None:
        return None
    return max(0.0, evidence.submitted_at - truth.injected_at)


def _word(anomaly: bool) -> str:
    return "something is wrong" if anomaly else "nothing is wrong"
