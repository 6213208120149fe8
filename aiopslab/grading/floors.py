"""What each score of a trial is by chance, from its answer key.

Detection guesses by a coin, localization names the components in a random order, diagnosis pairs of
component and cause kind in a random order; who guesses never says that nothing is wrong.
Mitigation's floor is to do nothing, which every incident with a fault is proven to fail
(``aiopslab check``). A Brier score's is that of "0.5, always". Not here: formulas of ranked answers
(``chance``), what the best constant answer of a run would have scored (``aggregate``).
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.grading import chance
from aiopslab.grading.components import is_right, is_right_place, same_cause
from aiopslab.models.search_space import SearchSpace
from aiopslab.models.truth import RootCause, Truth

Floors = dict[str, float | None]
Credit = Callable[[str, str, RootCause], float]
COIN = 0.5
GUESSED_BRIER = 0.25


def detection_floors() -> Floors:
    """Return the floors of a yes/no answer."""
    return {"passed": COIN, "false_alarm": COIN, "missed": COIN, "brier": GUESSED_BRIER}


def mitigation_floors(truth: Truth) -> Floors:
    """Return the floors of a repair: doing nothing passes where nothing is wrong, only there."""
    return {"passed": float(not truth.root_causes), "brier": GUESSED_BRIER}


def localization_floors(truth: Truth) -> Floors:
    """Return the floors of a ranked list of components; without a search space only Brier's."""
    space, causes = truth.space, truth.root_causes
    found: Floors = {"brier": GUESSED_BRIER}
    if space is None:
        return found
    if not causes:
        return found | {"passed": 0.0, "specificity": 0.0}
    n, right = len(space.components), [len(places(space, cause)) for cause in causes]
    return found | _ranked(n, right) | {"avg_at_5": chance.avg_at_k(n, right)}


def diagnosis_floors(truth: Truth, credit: Credit) -> Floors:
    """Return the floors of ranked pairs; without a search space only Brier's.

    Args:
        truth: The answer key.
        credit: The partial credit of a pair against one root cause. Of several its floor is the
            mean over them.
    """
    space, causes = truth.space, truth.root_causes
    found: Floors = {"brier": GUESSED_BRIER}
    if space is None:
        return found
    if not causes:
        return found | {"passed": 0.0, "specificity": 0.0}
    n, kinds = len(space.components), list(space.causes)
    right = [len(pairs(space, cause)) for cause in causes]
    credits = [_mean_credit(space, cause, credit) for cause in causes]
    placed = {name for cause in causes for name in places(space, cause)}
    caused = {k for k in kinds if any(same_cause(k, c) for c in kinds_of(*causes))}
    families = {space.causes[k].family for k in caused}
    related = sum(space.causes[k].family in families for k in kinds)
    return (
        found
        | _ranked(n * len(kinds), right)
        | {
            "component_right": len(placed) / n,
            "cause_right": len(caused) / len(kinds),
            "family_right": related / len(kinds),
            "partial_credit": sum(credits) / len(credits),
        }
    )


def places(space: SearchSpace, cause: RootCause) -> list[str]:
    """Name the components of a space that a root cause, or an accepted equal of it, is at."""
    return [name for name in space.components if is_right_place(name, cause)]


def kinds_of(*causes: RootCause) -> list[str]:
    """Return the cause kinds of root causes and of their accepted equals; ``*`` is none."""
    return [k for c in causes for k in (c.cause, *(kind for _, kind in c.accepted)) if k != "*"]


def _ranked(n: int, right: list[int]) -> Floors:
    return {
        "passed": chance.all_first(n, right),
        "ac_at_1": chance.ac_at_k(n, right, 1),
        "ac_at_3": chance.ac_at_k(n, right, 3),
        "mrr": chance.reciprocal_rank(n, right),
    }


def pairs(space: SearchSpace, cause: RootCause) -> list[tuple[str, str]]:
    """Name the pairs of a space that are a root cause, or an accepted equal of it."""
    return [(p, k) for p in places(space, cause) for k in space.causes if is_right(p, k, cause)]


def _mean_credit(space: SearchSpace, cause: RootCause, credit: Credit) -> float:
    """Return the mean credit of all pairs; where no component is right, all get the same."""
    right = places(space, cause)
    wrong = [name for name in space.components if name not in right]
    sums = [sum(credit(name, kind, cause) for kind in space.causes) for name in right]
    if wrong:
        sums += [sum(credit(wrong[0], kind, cause) for kind in space.causes)] * len(wrong)
    return sum(sums) / (len(space.components) * len(space.causes))
