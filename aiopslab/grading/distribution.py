"""The Brier score of a whole stated distribution, over everything that an answer could have named.

Classes are all that the search space offers, and "nothing is wrong". Names that mean the same are
one class, and so is a root cause with its accepted equals. What is not named shares evenly what is
left over, so that neither naming nothing nor naming one thing twice scores better than saying what
is believed. Not here: the score of the verdict alone (``calibration``), what a name means
(``components``).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from aiopslab.grading.components import (
    is_right,
    is_right_place,
    normal,
    same_cause,
    same_component,
)
from aiopslab.grading.floors import pairs, places
from aiopslab.models.answer import Candidate, Hypothesis
from aiopslab.models.search_space import SearchSpace
from aiopslab.models.truth import Truth

_NOTHING = "nothing is wrong"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of an answer."""

    probability: float
    means: tuple[int, ...]
    """Which root causes it means."""
    other: Hashable
    """What it means where that is none."""
    offered: bool = True
    """Whether the search space offers that."""


def of_places(ranked: Sequence[Candidate], truth: Truth) -> float | None:
    """Return the multi-class Brier score of a ranked list of components, in [0, 2].

    Args:
        ranked: An empty list says that nothing is wrong.
        truth: The answer key.

    Returns:
        None without a search space.
    """
    space, causes = truth.space, truth.root_causes
    if space is None:
        return None
    entries = []
    for c in ranked:
        means = tuple(i for i, cause in enumerate(causes) if is_right_place(c.component, cause))
        place = _component(c.component, space)
        other = place or normal(c.component)
        entries.append(_Entry(c.probability, means, other, offered=place is not None))
    equals = [len(places(space, cause)) for cause in causes]
    return _brier(entries, len(space.components), equals)


def of_pairs(ranked: Sequence[Hypothesis], truth: Truth, nothing: str) -> float | None:
    """Return the multi-class Brier score of ranked pairs of component and cause kind, in [0, 2].

    Args:
        ranked: An empty list says that nothing is wrong.
        truth: The answer key.
        nothing: The cause kind that says so too.

    Returns:
        None without a search space.
    """
    space, causes = truth.space, truth.root_causes
    if space is None:
        return None
    entries = []
    for h in ranked:
        if same_cause(h.cause, nothing):
            entries.append(_Entry(h.probability, (), _NOTHING))
            continue
        means = tuple(i for i, cause in enumerate(causes) if is_right(h.component, h.cause, cause))
        place = _component(h.component, space)
        kind = next((kind for kind in space.causes if same_cause(h.cause, kind)), None)
        other = place or normal(h.component), kind or h.cause
        offered = place is not None and kind is not None
        entries.append(_Entry(h.probability, means, other, offered=offered))
    equals = [len(pairs(space, cause)) for cause in causes]
    return _brier(entries, len(space.components) * len(space.causes), equals)


def _brier(entries: Sequence[_Entry], size: int, equals: Sequence[int]) -> float:
    """Sum up ``(p - y)^2`` over all classes.

    Args:
        entries: What was named; nothing is the class "nothing is wrong" with certainty.
        size: Names or pairs in the search space.
        equals: Of each root cause how many of these mean it; all have the same share of the truth.
    """
    n = len(equals)
    stated: dict[Hashable, float] = {}
    true: dict[Hashable, float] = {} if n else {_NOTHING: 1.0}
    named: dict[int, Hashable] = {}
    outside: set[Hashable] = set()
    for entry in entries or [_Entry(1.0, (), _NOTHING)]:
        new = [i for i in entry.means if i not in named]
        key = new[0] if new else named[entry.means[0]] if entry.means else entry.other
        named |= dict.fromkeys(new, key)
        true[key] = true.get(key, 0.0) + (len(new) / n if new else 0.0)
        stated[key] = stated.get(key, 0.0) + entry.probability
        if not entry.means and not entry.offered:
            outside.add(key)
    missed = [1.0 / n for i in range(n) if i not in named]
    if _NOTHING not in stated and not n:
        missed = [1.0]
    # One class for all names of a root cause, and one for "nothing is wrong".
    classes = size - sum(equals) + n + 1
    rest = max(classes - (len(stated) - len(outside)), len(missed), 1)
    each = max(0.0, 1.0 - sum(stated.values())) / rest
    total = sum((p - true[key]) ** 2 for key, p in stated.items())
    return total + sum((each - y) ** 2 for y in missed) + (rest - len(missed)) * each**2


def _component(said: str, space: SearchSpace) -> str | None:
    """Return the component of the search space that a name means."""
    return next((name for name in space.components if same_component(said, [name])), None)
