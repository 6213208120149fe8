"""``always-yes``: something is wrong, always; it does not say what."""

from __future__ import annotations

from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.trivial.guess import Guess, Guesser


class AlwaysYes(Guesser):
    """Says yes to every detection, names nothing, changes nothing."""

    async def guess(self, trial: TrialHandle) -> Guess:
        """Look at nothing."""
        return Guess(anomaly=1.0)
