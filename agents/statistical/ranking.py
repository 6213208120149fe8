"""From clues to probabilities: sums of weights, a soft-max, and a rest for "something else".

Not here: where clues come from (the rules).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from .clues import Call, Clue

_REST = 2.0
"""Weight of "something else": what a lone hint has."""
_SHARPNESS = 0.9


@dataclass(slots=True)
class Suspect:
    """A component and a cause, with all that speaks for it."""

    component: str
    cause: str
    clues: list[Clue] = field(default_factory=list)
    probability: float = 0.0

    @property
    def weight(self) -> float:
        """The strongest clue counts in full, further ones less and less."""
        ranked = sorted((c.weight for c in self.clues), reverse=True)
        return sum(weight / (1 + n) for n, weight in enumerate(ranked))

    @property
    def repair(self) -> tuple[Call, ...]:
        """The repair of the strongest clue that has one."""
        with_repair = [c for c in self.clues if c.repair]
        return max(with_repair, key=lambda c: c.weight).repair if with_repair else ()

    @property
    def why(self) -> str:
        """All reasons, the strongest first."""
        ranked = sorted(self.clues, key=lambda c: -c.weight)
        return "; ".join(dict.fromkeys(c.why for c in ranked))


def rank(clues: Iterable[Clue]) -> list[Suspect]:
    """Return suspects, the likeliest first, with probabilities that sum to less than 1.

    A clue without a cause supports every suspect of its component.
    """
    found: dict[tuple[str, str], Suspect] = {}
    places: list[Clue] = []
    for clue in clues:
        if not clue.cause:
            places.append(clue)
        elif clue.component:
            key = (clue.component, clue.cause)
            found.setdefault(key, Suspect(*key)).clues.append(clue)
    for suspect in found.values():
        suspect.clues += [c for c in places if c.component == suspect.component]
    known = {s.component for s in found.values()}
    for clue in places:
        if clue.component not in known:
            key = (clue.component, "config_value_wrong")
            found.setdefault(key, Suspect(*key)).clues.append(clue)
    ranked = sorted(found.values(), key=lambda s: (-s.weight, s.component, s.cause))
    scale = [math.exp(_SHARPNESS * s.weight) for s in ranked]
    total = sum(scale) + math.exp(_SHARPNESS * _REST)
    for suspect, share in zip(ranked, scale, strict=True):
        suspect.probability = share / total
    return ranked


def by_component(ranked: list[Suspect]) -> list[tuple[str, float]]:
    """Sum the probabilities of each component, the likeliest first."""
    sums: dict[str, float] = {}
    for suspect in ranked:
        sums[suspect.component] = sums.get(suspect.component, 0.0) + suspect.probability
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))
