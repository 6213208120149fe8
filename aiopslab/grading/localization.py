"""Localization: where is the cause? A ranked list of components; empty says nothing is wrong.

Passed is a hit at rank 1; of n root causes at once, all of them in the first n ranks. Candidates
are ranked by stated probability; ties keep the order in which the agent wrote them.
"""

from __future__ import annotations

from aiopslab.grading.assertions import answered, check, verdict
from aiopslab.grading.calibration import brier, brier_of_distribution, stated_confidence
from aiopslab.grading.components import is_right_place
from aiopslab.grading.ranking import ac_at_k, all_first, avg_at_k, first_hits, reciprocal_rank
from aiopslab.models.answer import Candidate, Localization
from aiopslab.models.grade import Grade
from aiopslab.models.truth import RootCause, Truth

_NAMES = ("ac_at_1", "ac_at_3", "avg_at_5", "mrr", "specificity", "brier", "brier_distribution")


def grade_localization(answer: Localization | None, truth: Truth) -> Grade:
    """Grade a ranked list of components.

    Scores: ``ac_at_1``, ``ac_at_3``, ``avg_at_5``, ``mrr`` where something is wrong;
    ``specificity`` (an empty list) where nothing is; ``brier`` of the stated probability that the
    verdict is right, ``brier_distribution`` over all candidates and "something else".
    """
    checks = answered(answer)
    scores: dict[str, float | None] = dict.fromkeys(_NAMES)
    if answer is None or answer.escalate:
        return verdict("localization", checks, scores, None)
    ranked = sorted(answer.candidates, key=lambda c: -c.probability)
    causes = truth.root_causes
    matches = [[is_right_place(c.component, cause) for cause in causes] for c in ranked]
    hits = [any(row) for row in matches]
    if causes:
        found = first_hits(matches, len(causes))
        right = all_first(found, len(causes))
        scores |= {
            "ac_at_1": ac_at_k(found, len(causes), 1),
            "ac_at_3": ac_at_k(found, len(causes), 3),
            "avg_at_5": avg_at_k(found, len(causes)),
            "mrr": reciprocal_rank(found),
        }
    else:
        right = not ranked
        scores["specificity"] = float(right)
    confidence = stated_confidence([c.probability for c in ranked], len(causes))
    scores["brier"] = brier(confidence, right)
    scores["brier_distribution"] = brier_of_distribution(
        [(c.probability, hit) for c, hit in zip(ranked, hits, strict=True)],
        other_is_right=not any(hits),
    )
    reason = _reason(ranked, causes)
    checks.append(check("component", right, reason, "answer.json#candidates[0]"))
    return verdict("localization", checks, scores, confidence)


def _reason(ranked: list[Candidate], causes: list[RootCause]) -> str:
    first = ", ".join(repr(c.component) for c in ranked[: max(1, len(causes))])
    said = f"named {first} first" if ranked else "named no component"
    real = " and ".join(repr(c.component) for c in causes) or "no component: nothing is wrong"
    return f"{said}, the truth is {real}"
