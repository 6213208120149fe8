"""User journeys made ready to run: parsed requests and parameter draws.

Everything random about one session (parameters, think times) is drawn when it arrives, so that
what users ask for never depends on how fast they are served. Not here: when sessions arrive
(``arrivals``), how they are played (``generator``).
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiopslab.errors import UsageError
from aiopslab.models.journey import Journey, JourneyStep, Poll
from aiopslab.seeds import Streams

Draw = Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of one session, with its parameters drawn."""

    method: str
    path: str
    params: Mapping[str, str]
    think_s: float
    """Pause before it; 0 for the first."""
    poll: Poll | None = None
    """Ask again until asynchronous work shows."""
    sli: str = ""
    """What the outcome counts for."""


@dataclass(frozen=True, slots=True)
class _Params:
    draws: tuple[tuple[str, Draw], ...]
    own: tuple[tuple[str, str], ...]
    """What tells sessions apart, with its prefix."""

    def draw(self, stream: random.Random, session: int) -> dict[str, str]:
        drawn = {key: draw(stream) for key, draw in self.draws}
        return drawn | {key: f"{prefix}{session}" for key, prefix in self.own}


@dataclass(frozen=True, slots=True)
class _Step:
    method: str
    path: str
    params: _Params
    spec: JourneyStep


class Script:
    """A journey compiled once; ``session()`` draws what one user will do.

    Args:
        name: The journey's name; it names the random streams.
        journey: Its definition.
        streams: Streams ``load/<name>/{params,think}`` are drawn from.

    Raises:
        UsageError: A step or a draw is malformed.
    """

    def __init__(self, name: str, journey: Journey, streams: Streams) -> None:
        self.name = name
        self.journey = journey
        self._params = streams("load", name, "params")
        self._think = streams("load", name, "think")
        self._shared = _draws(journey.params)
        self._steps = [
            _Step(*_request(name, step.request), _draws(step.params), step)
            for step in journey.steps
        ]
        self._sessions = 0

    def session(self) -> list[Visit]:
        """Draw one session: its requests in order."""
        pause = self.journey.think_s
        self._sessions += 1
        number = self._sessions
        shared = self._shared.draw(self._params, number)
        return [
            Visit(
                step.method,
                step.path,
                shared | step.params.draw(self._params, number),
                self._think.expovariate(1.0 / pause) if index and pause > 0 else 0.0,
                step.spec.poll,
                step.spec.sli or self.name,
            )
            for index, step in enumerate(self._steps)
        ]


def compile_draw(spec: object) -> Draw:
    """Compile a parameter: a literal, or a draw.

    ``{zipf: {n, s}}`` draws a rank 1..n with probability proportional to ``rank ** -s``;
    ``{choice: [..]}`` one of a list; ``{int: [a, b]}`` includes both ends; ``{quantiles: [[q, v],
    ..]}`` a whole number from a distribution of which quantiles are known, from q = 0 to q = 1,
    geometric in between.

    Raises:
        UsageError: Anything else.
    """
    if not isinstance(spec, Mapping):
        text = str(spec)
        return lambda _stream: text
    match dict(spec):
        case {"zipf": {"n": int(n), "s": float() | int() as s}} if n > 0:
            return _zipf(n, float(s))
        case {"choice": [*values]} if values:
            words = [str(value) for value in values]
            return lambda stream: words[int(stream.random() * len(words))]
        case {"int": [int(low), int(high)]} if low <= high:
            width = high - low + 1
            return lambda stream: str(low + int(stream.random() * width))
        case {"quantiles": [*points]} if (curve := _curve(points)) is not None:
            return _quantiles(*curve)
    raise UsageError(
        f"{spec!r} is not a draw",
        hint=(
            "write a literal, {zipf: {n: 500, s: 1.1}}, {choice: [a, b]}, {int: [1, 9]},"
            " {session: order-} or {quantiles: [[0, 1], [0.5, 20], [1, 300]]}"
        ),
    )


def _curve(points: list[Any]) -> tuple[list[float], list[float]] | None:
    """Return shares and logarithms of values, both ascending; None if they are not."""
    pairs = [p for p in points if isinstance(p, list) and len(p) == 2]
    shares, values = [float(q) for q, _ in pairs], [float(v) for _, v in pairs]
    whole = len(pairs) == len(points) >= 2 and (shares[0], shares[-1]) == (0.0, 1.0)
    if not whole or shares != sorted(set(shares)) or values != sorted(values) or values[0] <= 0:
        return None
    return shares, [math.log(value) for value in values]


def _quantiles(shares: list[float], logs: list[float]) -> Draw:
    def draw(stream: random.Random) -> str:
        q = stream.random()
        after = min(bisect.bisect_right(shares, q), len(shares) - 1)
        q0, q1, v0, v1 = shares[after - 1], shares[after], logs[after - 1], logs[after]
        return str(round(math.exp(v0 + (v1 - v0) * (q - q0) / (q1 - q0))))

    return draw


def _zipf(n: int, s: float) -> Draw:
    cumulative = list(itertools.accumulate(rank**-s for rank in range(1, n + 1)))
    total = cumulative[-1]
    # random() < 1 and rounding could still meet the total itself: stay within the ranks.
    return lambda stream: str(1 + min(bisect.bisect(cumulative, stream.random() * total), n - 1))


def _draws(params: Mapping[str, Any]) -> _Params:
    """Split parameters into draws and those that are ``{session: prefix}``."""
    own = {
        key: str(spec["session"])
        for key, spec in params.items()
        if isinstance(spec, Mapping) and list(spec) == ["session"]
    }
    draws = ((key, compile_draw(spec)) for key, spec in params.items() if key not in own)
    return _Params(tuple(draws), tuple(own.items()))


def _request(name: str, text: str) -> tuple[str, str]:
    method, _, path = text.partition(" ")
    if not path.startswith("/"):
        raise UsageError(
            f"journey {name!r}: {text!r} is not a request", hint="write it as 'GET /path'"
        )
    return method, path
