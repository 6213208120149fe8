"""Mitigation: is the system healthy, and nothing else harmed? Judged by its state, never by words.

All of these gate: an answer was submitted, every SLO held in both settle windows, the latent cause
is gone, no invariant of the owners' intent broke, nothing of the pre-incident snapshot is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.grading.assertions import answered, check, verdict
from aiopslab.grading.calibration import brier
from aiopslab.grading.counterfactual import benefit
from aiopslab.grading.floors import mitigation_floors
from aiopslab.grading.side_effects import side_effects
from aiopslab.models.answer import Mitigation
from aiopslab.models.counterfactual import Counterfactual
from aiopslab.models.evidence import CheckResult, Evidence, SliWindow
from aiopslab.models.grade import Check, Grade
from aiopslab.models.trial import Step
from aiopslab.models.truth import Truth

SETTLE_WINDOWS = 2


def grade_mitigation(
    answer: Mitigation | None,
    truth: Truth,
    evidence: Evidence,
    steps: Sequence[Step],
    beside: Counterfactual | None = None,
) -> Grade:
    """Grade the state that the agent left.

    Scores: ``time_to_mitigate_s`` (hand-over to the last SLO violation's end; None unless passed),
    ``slo_violation_s``, ``writes``, ``blast_radius`` (differences that remain), those of
    ``side_effects``, ``brier``; ``benefit`` where the course without the agent is known.
    """
    checks = [
        *answered(answer),
        *(_settled(evidence, i) for i in range(SETTLE_WINDOWS)),
        *_conditions("postcondition", "postconditions", evidence.postconditions),
        *_conditions("invariant", "invariants", evidence.invariants),
        _nothing_lost(evidence),
    ]
    writes = sum(s.effect == "write" and s.ok for s in steps)
    if not truth.root_causes:
        reason = f"{writes} writes where nothing was wrong"
        checks.append(check("left_alone", writes == 0, reason, "steps.jsonl", gating=False))
    passed = all(c.passed for c in checks if c.gating)
    scores: dict[str, float | None] = {
        "time_to_mitigate_s": _time_to_mitigate(truth, evidence) if passed else None,
        "slo_violation_s": evidence.slo_violation_s,
        "writes": float(writes),
        "blast_radius": float(len(evidence.changes)),
        **side_effects(truth, evidence, steps),
        "brier": None,
    }
    if beside is not None:
        scores["benefit"] = benefit(evidence.slo_violation_s, beside)
    confidence = None
    if answer is not None and not answer.escalate:
        confidence = answer.confidence
        scores["brier"] = brier(confidence, passed)
    return verdict("mitigation", checks, scores, confidence, mitigation_floors(truth))


def _settled(evidence: Evidence, i: int) -> Check:
    """Check one settle window: every journey was offered traffic and kept its SLO."""
    id, pointer = f"settle_{i + 1}", f"evidence.json#settle[{i}]"
    if i >= len(evidence.settle) or not evidence.settle[i]:
        return check(id, False, "the window was not measured", pointer)
    broken = [_why(w) for w in evidence.settle[i] if not w.met or w.offered == 0]
    return check(id, not broken, "; ".join(broken) or "every SLO was met", pointer)


def _why(window: SliWindow) -> str:
    if window.offered == 0:
        return f"{window.journey}: no request was offered"
    figures = [("p95", window.p95_ms, window.slo_p95_ms)]
    if window.slo_ttft_p95_ms is not None:
        figures.append(("first part p95", window.ttft_p95_ms, window.slo_ttft_p95_ms))
    if window.slo_tbt_p99_ms is not None:
        figures.append(("pause p99", window.tbt_p99_ms, window.slo_tbt_p99_ms))
    if window.slo_tbt_p999_ms is not None:
        figures.append(("pause p99.9", window.tbt_p999_ms, window.slo_tbt_p999_ms))
    text = f"{window.journey}: success {window.succeeded / window.offered:.4f}"
    text += f" (promised {window.slo_success:g})"
    for name, value, promise in figures:
        seen = "unknown" if value is None else f"{value:.0f} ms"
        text += f", {name} {seen} (promised {promise:g} ms)"
    return text


def _conditions(prefix: str, field: str, results: Sequence[CheckResult]) -> list[Check]:
    return [
        check(f"{prefix}:{r.id}", r.met, r.detail, f"evidence.json#{field}[{i}]")
        for i, r in enumerate(results)
    ]


def _nothing_lost(evidence: Evidence) -> Check:
    lost = ", ".join(f"{change.ref} ({change.change})" for change in evidence.losses)
    return check("nothing_lost", not lost, lost or "nothing was lost", "evidence.json#losses")


def _time_to_mitigate(truth: Truth, evidence: Evidence) -> float | None:
    if not truth.root_causes or evidence.restored_at is None:
        return None
    return max(0.0, evidence.restored_at - truth.handover_at)
