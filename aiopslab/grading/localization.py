"""Localization: where is the cause? A ranked list of components; empty says nothing is wrong.

Passed is a hit at rank 1; of n root causes at once, all of them in the first n ranks. Candidates
are ranked by stated probability; ties keep the order in which the agent wrote them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aiopslab.grading.assertions import answered, check, verdict
from aiopslab.grading.calibration import brier, stated_confidence
from aiopslab.grading.components import is_right_place, same_component
from aiopslab.grading.dependency_graph import diameter, distances, undirected
from aiopslab.grading.distribution import of_places
from aiopslab.grading.floors import localization_floors, places
from aiopslab.grading.ranking import ac_at_k, all_first, avg_at_k, first_hits, reciprocal_rank
from aiopslab.models.answer import Candidate, Localization
from aiopslab.models.grade import Grade
from aiopslab.models.truth import RootCause, Truth

_NAMES = (
    "ac_at_1", "ac_at_3", "avg_at_5", "mrr", "graph_distance", "graph_distance_share",
    "specificity", "brier", "brier_distribution",
)  # fmt: skip


def grade_localization(answer: Localization | None, truth: Truth) -> Grade:
    """Grade a ranked list of components.

    Scores: ``ac_at_1``, ``ac_at_3``, ``avg_at_5``, ``mrr`` where something is wrong;
    ``graph_distance`` of the first candidate in hops, and over the most that there can be;
    ``specificity`` (an empty list) where nothing is; ``brier`` of the stated probability that the
    verdict is right, ``brier_distribution`` over all that could have been named.
    """
    checks, floors = answered(answer), localization_floors(truth)
    scores: dict[str, float | None] = dict.fromkeys(_NAMES)
    if answer is None or answer.escalate:
        return verdict("localization", checks, scores, None, floors)
    ranked = sorted(answer.candidates, key=lambda c: -c.probability)
    causes = truth.root_causes
    matches = [[is_right_place(c.component, cause) for cause in causes] for c in ranked]
    if causes:
        found = first_hits(matches, len(causes))
        right = all_first(found, len(causes))
        scores |= {
            "ac_at_1": ac_at_k(found, len(causes), 1),
            "ac_at_3": ac_at_k(found, len(causes), 3),
            "avg_at_5": avg_at_k(found, len(causes)),
            "mrr": reciprocal_rank(found),
        }
        distance = _distance(ranked, truth)
        scores |= distance.scores
        floors |= distance.floors
    else:
        right = not ranked
        scores["specificity"] = float(right)
    confidence = stated_confidence([c.probability for c in ranked], len(causes))
    scores["brier"] = brier(confidence, right)
    scores["brier_distribution"] = of_places(ranked, truth)
    reason = _reason(ranked, causes)
    checks.append(check("component", right, reason, "answer.json#candidates[0]"))
    return verdict("localization", checks, scores, confidence, floors)


@dataclass(frozen=True, slots=True)
class _Distance:
    scores: dict[str, float | None] = field(default_factory=dict)
    floors: dict[str, float | None] = field(default_factory=dict)


def _distance(ranked: list[Candidate], truth: Truth) -> _Distance:
    """Measure how far the first candidate is from the nearest root cause, by dependencies.

    Where no way leads there, because nothing was named or what is in no graph, it is one hop more
    than the farthest two components are apart. Unknown where no root cause is in the graph: a
    node, or a job.
    """
    space, causes = truth.space, truth.root_causes
    if space is None:
        return _Distance()
    graph = undirected(space)
    hops = distances(graph, [name for cause in causes for name in places(space, cause)])
    if not hops:
        return _Distance()
    beyond = diameter(graph) + 1
    first = ranked[0].component if ranked else ""
    if first and any(is_right_place(first, cause) for cause in causes):
        away = 0
    else:
        away = min((n for name, n in hops.items() if same_component(first, [name])), default=beyond)
    guessed = sum(hops.get(name, beyond) for name in space.components) / len(space.components)
    return _Distance(
        {"graph_distance": float(away), "graph_distance_share": away / beyond},
        {"graph_distance": guessed, "graph_distance_share": guessed / beyond},
    )


def _reason(ranked: list[Candidate], causes: list[RootCause]) -> str:
    first = ", ".join(repr(c.component) for c in ranked[: max(1, len(causes))])
    said = f"named {first} first" if ranked else "named no component"
    real = " and ".join(repr(c.component) for c in causes) or "no component: nothing is wrong"
    return f"{said}, the truth is {real}"
