"""``prior``: answers with what is frequent in the public catalogue, without a look at the trial.

``frequencies.yaml`` counts the cause kinds of the public incidents; ``docs/generate.py`` writes it.
Components are taken by how many others call them. Not here: anything of this trial.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.trivial.guess import MOST, Guess, Guesser, Suspicion, workloads
from aiopslab.content import load_model
from aiopslab.models.base import Model

FREQUENCIES = Path(__file__).with_name("frequencies.yaml")


class Frequencies(Model):
    """How often causes occur in the public catalogue."""

    causes: dict[str, int]
    """Cause kind to incidents."""
    quiet: int
    """Incidents in which nothing is wrong."""


class Prior(Guesser):
    """Believes the frequencies of the public catalogue, and the most called service."""

    async def guess(self, trial: TrialHandle) -> Guess:
        """Rank components by callers, causes by frequency; pair them off."""
        known = load_model(FREQUENCIES, Frequencies)
        faulty = sum(known.causes.values())
        calls = await trial.call("topology", start="now-5m")
        callers = Counter(row["callee"] for row in calls.data or [])
        names = sorted((n for _, n in await workloads(trial)), key=lambda n: (-callers[n], n))
        causes = sorted(known.causes.items(), key=lambda item: (-item[1], item[0]))
        pairs = zip(names[:MOST], causes[:MOST], strict=False)
        suspicions = [
            Suspicion(name, cause, count / faulty / len(names)) for name, (cause, count) in pairs
        ]
        # Half of all detection problems are twins: the prior of a fault there is one half.
        return Guess(anomaly=0.5, suspicions=suspicions)
