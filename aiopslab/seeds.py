"""Seeds and named random streams: the only source of randomness in the project.

A stream is found by name, so adding a consumer never shifts another's numbers. Derivation is
sha256 over the seed and the names; ``hash()`` is salted per process and banned.
"""

from __future__ import annotations

import hashlib
import math
import random


def derive(seed: int, *names: str | int) -> int:
    """Derive a 64-bit seed for a named purpose.

    >>> derive(7, "load", "arrivals") == derive(7, "load", "arrivals")
    True
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


class Streams:
    """Random streams by name, below one seed.

    ``streams("network", "loss")`` always returns the same generator object, seeded by the seed
    and the names alone. ``streams.scope("pod", name)`` is a child namespace.
    """

    __slots__ = ("_open", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._open: dict[tuple[str, ...], random.Random] = {}

    def __call__(self, *names: str) -> random.Random:
        """Return the stream of that name, opened on first use."""
        stream = self._open.get(names)
        if stream is None:
            stream = self._open[names] = random.Random(derive(self.seed, *names))
        return stream

    def scope(self, *names: str) -> Streams:
        """Return an independent family of streams below a name."""
        return Streams(derive(self.seed, "scope", *names))


def lognormal(stream: random.Random, mean: float, cv: float) -> float:
    """Draw from a lognormal with the given mean and coefficient of variation.

    Service times are close to lognormal; with ``cv`` 0 the mean itself is returned.
    """
    if cv <= 0.0 or mean <= 0.0:
        return mean
    sigma2 = math.log1p(cv * cv)
    return mean * math.exp(stream.gauss(0.0, math.sqrt(sigma2)) - sigma2 / 2.0)
