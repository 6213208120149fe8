"""Diagnosis: what is the cause, and what shows it? The first hypothesis' component and cause kind.

Of n root causes at once, those of the first n hypotheses. Half of an answer has partial credit, and
cited evidence is checked without a judge (``citations``); both are reported and do not gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from aiopslab.grading import citations
from aiopslab.grading.assertions import answered, check, verdict
from aiopslab.grading.calibration import brier, stated_confidence
from aiopslab.grading.components import is_right, is_right_place, names, same_cause
from aiopslab.grading.distribution import of_pairs
from aiopslab.grading.evidence import coverage, precision, unsupported
from aiopslab.grading.floors import diagnosis_floors, kinds_of
from aiopslab.grading.ranking import ac_at_k, all_first, first_hits, reciprocal_rank
from aiopslab.models.answer import Diagnosis, Hypothesis
from aiopslab.models.evidence import Evidence
from aiopslab.models.grade import Check, Grade
from aiopslab.models.search_space import SearchSpace
from aiopslab.models.trial import Step
from aiopslab.models.truth import RootCause, Truth

_NAMES = (
    "ac_at_1", "ac_at_3", "mrr", "component_right", "cause_right", "family_right",
    "partial_credit", "evidence_valid", "evidence_concerns", "evidence_precision",
    "evidence_coverage", "unsupported_claims", "specificity", "brier", "brier_distribution",
)  # fmt: skip
NOTHING = "none"
"""The cause kind that says nothing is wrong."""
MOST_PARTIAL = 0.75
"""Right component and right cause of two different things are not the right pair."""


def grade_diagnosis(
    answer: Diagnosis | None, truth: Truth, evidence: Evidence, steps: Sequence[Step]
) -> Grade:
    """Grade ranked hypotheses and the evidence cited for the first.

    Scores: ``component_right``, ``family_right`` and ``cause_right`` of the first hypothesis apart,
    ``partial_credit``, ``ac_at_1``, ``ac_at_3``, ``mrr`` of whole pairs, ``specificity`` where
    nothing is wrong, ``evidence_valid``, ``evidence_concerns`` and ``evidence_precision`` as shares
    of what was cited, ``evidence_coverage`` of the causal path, ``unsupported_claims``, Brier
    scores.
    """
    checks = answered(answer)
    scores: dict[str, float | None] = dict.fromkeys(_NAMES)
    space = truth.space
    floors = diagnosis_floors(truth, lambda place, kind, cause: _credit(place, kind, cause, space))
    if answer is None or answer.escalate:
        return verdict("diagnosis", checks, scores, None, floors)
    ranked = sorted(answer.hypotheses, key=lambda h: -h.probability)
    if truth.root_causes:
        right = _grade_hypotheses(ranked, truth, checks, scores)
    else:
        right = _grade_nothing(ranked, checks, scores)
    confidence = stated_confidence([h.probability for h in ranked], len(truth.root_causes))
    scores["brier"] = brier(confidence, right)
    scores["brier_distribution"] = of_pairs(ranked, truth, NOTHING)
    known = [name for cause in truth.root_causes for name in names(cause)]
    seen = citations.seen_before_answer(steps)
    checks += _cited(answer.evidence, known, seen, scores)
    shown = [seen[i] for i in dict.fromkeys(answer.evidence) if i in seen]
    scores["evidence_precision"] = precision(shown, len(set(answer.evidence)), truth)
    scores["evidence_coverage"] = coverage(shown, truth, evidence)
    if ranked and not same_cause(ranked[0].cause, NOTHING):
        scores["unsupported_claims"] = unsupported(shown, ranked[0], truth)
    return verdict("diagnosis", checks, scores, confidence, floors)


def _grade_hypotheses(
    ranked: list[Hypothesis],
    truth: Truth,
    checks: list[Check],
    scores: dict[str, float | None],
) -> bool:
    """Grade against root causes; add checks and scores; return the verdict."""
    causes = truth.root_causes
    matches = [[is_right(h.component, h.cause, cause) for cause in causes] for h in ranked]
    found = first_hits(matches, len(causes))
    right = all_first(found, len(causes))
    first = ranked[: len(causes)]
    said = " and ".join(f"{h.component}: {h.cause}" for h in first) or "nothing"
    real = " and ".join(f"{c.component}: {c.cause}" for c in causes)
    place = bool(ranked) and any(is_right_place(ranked[0].component, c) for c in causes)
    kinds = kinds_of(*causes)
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
        **_partial(first, truth),
    }
    return right


def _partial(first: Sequence[Hypothesis], truth: Truth) -> dict[str, float | None]:
    """Return the scores of half-right answers; unknown where the families of causes are.

    Of several root causes the first as many hypotheses are assigned to them as is best.
    """
    space, causes = truth.space, truth.root_causes
    if space is None:
        return {}
    families = {k.family for c in kinds_of(*causes) if (k := space.causes.get(c))}
    said = space.causes.get(first[0].cause) if first else None
    right = bool(first) and any(is_right(first[0].component, first[0].cause, c) for c in causes)
    best = max(
        sum(_credit(h.component, h.cause, c, space) for h, c in zip(first, order, strict=False))
        for order in permutations(causes)
    )
    return {
        "family_right": float(right or (said is not None and said.family in families)),
        "partial_credit": best / len(causes),
    }


def _credit(place: str, kind: str, cause: RootCause, space: SearchSpace | None) -> float:
    """Return the credit of a pair against one root cause: 1 if it is right, at most 0.75 else.

    0.5 for the component, and 0.5 for the cause kind or, where only its family is right, 0.25.
    """
    if is_right(place, kind, cause):
        return 1.0
    kinds = kinds_of(cause)
    known = space.causes if space is not None else {}
    families = {known[k].family for k in kinds if k in known}
    credit = 0.5 * is_right_place(place, cause)
    if any(same_cause(kind, k) for k in kinds):
        credit += 0.5
    elif kind in known and known[kind].family in families:
        credit += 0.25
    return min(credit, MOST_PARTIAL)


def _grade_nothing(
    ranked: list[Hypothesis], checks: list[Check], scores: dict[str, float | None]
) -> bool:
    """Grade where nothing is wrong: no hypothesis, or the cause kind that says so, is right."""
    right = not ranked or same_cause(ranked[0].cause, NOTHING)
    said = f"{ranked[0].component}: {ranked[0].cause}" if ranked else "nothing"
    reason = f"said {said}; nothing is wrong"
    checks.append(check("root_cause", right, reason, "answer.json#hypotheses[0]"))
    scores["specificity"] = float(right)
    return right


def _cited(
    cited: Sequence[str],
    known: Sequence[str],
    seen: dict[str, Step],
    scores: dict[str, float | None],
) -> list[Check]:
    """Check each cited observation, once; nothing cited leaves the scores unknown."""
    cited = list(dict.fromkeys(cited))
    if not cited:
        return []
    valid = [i for i in cited if i in seen]
    concerns = [i for i in valid if citations.names(seen[i], known)]
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
