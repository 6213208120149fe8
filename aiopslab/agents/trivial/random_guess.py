"""``random``: a coin for detection, a random component and a random cause for the rest."""

from __future__ import annotations

import random

from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.trivial.guess import Guess, Guesser, Suspicion, restart, workloads
from aiopslab.seeds import derive


class RandomGuess(Guesser):
    """Draws component and cause evenly; restarts what it drew."""

    async def guess(self, trial: TrialHandle) -> Guess:
        """Draw; the brief is the seed, so equal trials are guessed alike."""
        stream = random.Random(derive(0, "random-guess", trial.brief.text()))
        kind, name = stream.choice(await workloads(trial))
        kinds = await trial.call("cause_kinds")
        cause = stream.choice([row["id"] for row in kinds.data or []])
        return Guess(
            anomaly=float(stream.random() < 0.5),
            suspicions=[Suspicion(name, cause, 0.1)],
            repair=[restart(kind, name)],
        )
