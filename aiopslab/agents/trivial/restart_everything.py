"""``restart-everything``: have you tried turning it off and on again?"""

from __future__ import annotations

from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.trivial.guess import Guess, Guesser, restart, workloads


class RestartEverything(Guesser):
    """Restarts every workload, stores first; says yes and names nothing."""

    async def guess(self, trial: TrialHandle) -> Guess:
        """List the workloads."""
        found = sorted(await workloads(trial), key=lambda w: w[0] != "StatefulSet")
        return Guess(anomaly=1.0, repair=[restart(kind, name) for kind, name in found])
