"""Diagnosis: what is the cause, and what shows it? The first hypothesis' component and cause kind.

Of n root causes at once, those of the first n hypotheses.
Cited evidence is checked without a judge: the observation exists, was made before the answer, and
its text or arguments name the component. It is reported and does not gate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiopslab.grading.assertions import answered, check, verdict
from aiopslab.grading.calibration import brier, brier_of_distribution, stated_confidence
from aiopslab.grading.components import is_right, is_right_place, names, same_cause, same_component
from aiopslab.grading.ranking import ac_at_k, all_first, first_hits, reciprocal_rank
from aiopslab.models.answer import Diagnosis, Hypothesis
from aiopslab.models.grade import Check, Grade
from aiopslab.models.trial import Step
from aiopslab.models.truth import Truth

_NAMES = (
    "ac_at_1", "ac_at_3", "mrr", "component_right", "cause_right", "evidence_valid",
    "evidence_concerns", "specificity", "brier", "brier_distribution",
)  # fmt: skip
_WORD = re.compile(r"[\w./-]+")
NOTHING = "none"
"""The cause kind that says nothing is wrong."""


def grade_diagnosis(answer: Diagnosis | None, truth: Truth, steps: Sequence[Step]) -> Grade:
    """Grade ranked hypotheses and the evidence cited for the first.

    Scores: ``component_right`` and ``cause_right`` of the first hypothesis apart, ``ac_at_1``,
    ``ac_at_3``, ``mrr`` of whole pairs, ``specificity`` where nothing is wrong,
    ``evidence_valid`` and ``evidence_concerns`` as shares of what was cited, Brier scores.
    """
    checks = answered(answer)
    scores: dict[str, float | None] = dict.fromkeys(_NAMES)
    if answer is None or answer.escalate:
        return verdict("diagnosis", checks, scores, None)
    ranked = sorted(answer.hypotheses, key=lambda h: -h.probability)
    if truth.root_causes:
        right, hits = _grade_hypotheses(ranked, truth, checks, scores)
    else:
        right, hits = _grade_nothing(ranked, checks, scores)
    confidence = stated_confidence([h.probability for h in ranked], len(truth.root_causes))
    scores["brier"] = brier(confidence, right)
    scores["brier_distribution"] = brier_of_distribution(
        [(h.probability, hit) for h, hit in zip(ranked, hits, strict=True)],
        other_is_right=not any(hits),
    )
    known = [name for cause in truth.root_causes for name in names(cause)]
    checks += _cited(answer.evidence, known, steps, scores)
    return verdict("diagnosis", checks, scores, confidence)


def _grade_hypotheses(
    ranked: list[Hypothesis],
    truth: Truth,
    checks: list[Check],
    scores: dict[str, float | None],
) -> tuple[bool, list[bool]]:
    """Grade against root causes; add checks and scores; return the verdict and the hits."""
    causes = truth.root_causes
    matches = [[is_right(h.component, h.cause, cause) for cause in causes] for h in ranked]
    found = first_hits(matches, len(causes))
    hits = [any(row) for row in matches]
    right = all_first(found, len(causes))
    first = ranked[: len(causes)]
    said = " and ".join(f"{h.component}: {h.cause}" for h in first) or "nothing"
    real = " and ".join(f"{c.component}: {c.cause}" for c in causes)
    place = bool(ranked) and any(is_right_place(ranked[0].component, c) for c in causes)
    kinds = [k for c in causes for k in (c.cause, *(kind for _, kind in c.accepted))]
    kind = bool(ranked) and any(same_cause(ranked[0].cause, k) for k in kinds)
    pointer = "answer.json#hypotheses[0]"
    reason = f"said {said}; the truth is {real}"
    checks += [
        check("root_cause", right, reason, pointer),
        check("component", place, reason, f"{pointer}.component", gating=False),
        check("cause", right or kind, reason, f"{pointer}.cause", gating=False),
    ]
    scores |= {
        "ac_at_1": ac_at_k(found, len(causes), 1),
        "ac_at_3": ac_at_k(found, len(causes), 3),
        "mrr": reciprocal_rank(found),
        "component_right": float(place),
        "cause_right": float(right or kind),
    }
    return right, hits


def _grade_nothing(
    ranked: list[Hypothesis], checks: list[Check], scores: dict[str, float | None]
) -> tuple[bool, list[bool]]:
    """Grade where nothing is wrong: no hypothesis, or the cause kind that says so, is right."""
    hits = [same_cause(h.cause, NOTHING) for h in ranked]
    right = not ranked or hits[0]
    said = f"{ranked[0].component}: {ranked[0].cause}" if ranked else "nothing"
    reason = f"said {said}; nothing is wrong"
    checks.append(check("root_cause", right, reason, "answer.json#hypotheses[0]"))
    scores["specificity"] = float(right)
    return right, hits


def _cited(
    cited: Sequence[str],
    known: Sequence[str],
    steps: Sequence[Step],
    scores: dict[str, float | None],
) -> list[Check]:
    """Check each cited observation; nothing cited leaves the scores unknown."""
    if not cited:
        return []
    # submit is the last step that counts; what was seen after it cannot have led to the answer.
    end = next((s.n for s in steps if s.effect == "submit" and s.ok), None)
    seen = {s.id: s for s in steps if s.effect != "submit" and (end is None or s.n < end)}
    valid = [i for i in cited if i in seen]
    concerns = [i for i in valid if _concerns(seen[i], known)]
    scores["evidence_valid"] = len(valid) / len(cited)
    unknown = ", ".join(i for i in cited if i not in seen)
    reason = f"not seen before the answer: {unknown}" if unknown else "all were seen"
    checks = [check("evidence_exists", not unknown, reason, "answer.json#evidence", gating=False)]
    if known:
        scores["evidence_concerns"] = len(concerns) / len(cited)
        reason = f"{len(concerns)} of {len(cited)} name the component"
        checks.append(
            check("evidence_concerns", bool(concerns), reason, "answer.json#evidence", gating=False)
        )
    return checks


def _concerns(step: Step, known: Sequence[str]) -> bool:
    """Say whether any word of an observation or its arguments names a component."""
    text = f"{step.text} {' '.join(str(v) for v in step.arguments.values())}"
    words = {word.strip("./-") for word in _WORD.findall(text)}
    return any(same_component(word, known) for word in words)
