"""Rank texts by BM25: how well does each text answer a few words?

The usual form of Robertson, Walker et al. ("Okapi at TREC-3", 1994), with the idf that stays
positive: ``ln(1 + (N - n + 0.5) / (n + 0.5))``. Pure and offline. Neighbours: ``embeddings`` ranks
by meaning, ``memory`` knows what the texts are.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

K1 = 1.2
"""How soon a word that is repeated in a text stops to count for more."""
B = 0.75
"""How much a long text is discounted: 0 not at all, 1 in full."""

_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words(text: str) -> list[str]:
    """Split a text into lower-case words; of ``PodRestarting`` the whole and both parts count."""
    found: list[str] = []
    for word in _WORD.findall(text):
        found.append(word.lower())
        parts = _PART.findall(word)
        if len(parts) > 1:
            found += [part.lower() for part in parts]
    return found


class Bm25:
    """An index over some texts.

    Args:
        texts: What can be found; scores come in this order.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(words(text)) for text in texts]
        lengths = [counts.total() for counts in self._counts]
        mean = sum(lengths) / len(lengths) if lengths else 0.0
        self._norms = [K1 * (1.0 - B + B * length / mean) if mean else K1 for length in lengths]
        self._holding = Counter(word for counts in self._counts for word in counts)

    def idf(self, word: str) -> float:
        """Return how rare a word is among the texts; above 0 always."""
        n = self._holding[word]
        return math.log1p((len(self._counts) - n + 0.5) / (n + 0.5))

    def scores(self, query: str) -> list[float]:
        """Score every text; 0 where it shares no word with the query."""
        asked = sorted(set(words(query)))
        return [
            sum(
                self.idf(word) * counts[word] * (K1 + 1.0) / (counts[word] + norm)
                for word in asked
                if word in counts
            )
            for counts, norm in zip(self._counts, self._norms, strict=True)
        ]
