"""Self-consistency: several runs of the inner agent on one trial, and how many of them agree.

For reading tasks only, since a repair cannot be tried twice. A sample that makes a call which an
earlier one made gets the same observation at no cost; any other call is a real one and uses the
trial's budget. So all samples see the same evidence as far as they look at the same things, and an
agent without chance always agrees with itself. Not here: what agreement is worth.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from aiopslab.agents import Agent, DelegatingTrial, TrialHandle
from aiopslab.models.answer import Answer
from aiopslab.models.observation import Observation
from aiopslab.tools.submit import read_answer

from .answers import claim

FAREWELL_S = 5.0
"""Wall seconds a sample has to return after its answer."""
_TRIES = 2
"""Answers a sample may give, the last of them well-formed."""

Seen = dict[str, list[Observation]]
"""Calls as JSON to their observations, in the order in which one sample would repeat them."""


class Sample(DelegatingTrial):
    """The handle of one sample: reads are shared, the answer stays here.

    Args:
        trial: The real trial.
        seen: What earlier samples saw; added to.
    """

    def __init__(self, trial: TrialHandle, seen: Seen) -> None:
        super().__init__(trial)
        self.answer: Answer | None = None
        self.over = asyncio.Event()
        self._seen = seen
        self._made: Counter[str] = Counter()
        self._refused = 0

    @property
    def ended(self) -> bool:
        return self.over.is_set() or self.trial.ended

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        if name == "submit":
            return self._take(arguments)
        key = json.dumps([name, arguments], sort_keys=True, default=str)
        known = self._seen.setdefault(key, [])
        if self._made[key] == len(known):
            known.append(await self.trial.call(name, **arguments))
        self._made[key] += 1
        return known[self._made[key] - 1]

    def _take(self, arguments: dict[str, Any]) -> Observation:
        answer = read_answer(self.brief.task, arguments)
        refused = isinstance(answer, str)
        if isinstance(answer, str):
            self._refused += 1
            text = f"{answer}\nnothing was submitted"
        else:
            self.answer, text = answer, "submitted"
        if not refused or self._refused >= _TRIES:
            self.over.set()
        return Observation(
            id="obs-submit", tool="submit", arguments=arguments, ok=not refused, text=text,
            time=self.brief.now,
        )  # fmt: skip


async def play(agent: Agent, handle: Sample) -> None:
    """Let an agent work until it returns or has answered.

    Raises:
        Exception: Whatever the agent raised without having answered.
    """
    playing = asyncio.create_task(agent.run(handle))
    over = asyncio.create_task(handle.over.wait())
    try:
        await asyncio.wait({playing, over}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            await asyncio.wait({playing}, timeout=FAREWELL_S)
    finally:
        playing.cancel()
        over.cancel()
        await asyncio.wait({playing, over})
    error = None if playing.cancelled() else playing.exception()
    if error is not None and handle.answer is None:
        raise error


def modal(answers: list[Answer | None]) -> tuple[Answer, float] | None:
    """Return the answer that most samples gave, in its earliest wording, and their share.

    A sample without an answer agrees with none. None where no sample gave one.
    """
    given = [a for a in answers if a is not None]
    if not given:
        return None
    labels = Counter((a.escalate, claim(a).label) for a in given)
    (label, count) = labels.most_common(1)[0]
    first = next(a for a in given if (a.escalate, claim(a).label) == label)
    return first, count / len(answers)
