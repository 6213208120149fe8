"""``external``: opens the trial's doors and waits for whoever comes to submit.

For agents that are started elsewhere: the run prints where the doors are. Not here: starting
anything (``command``), calling anybody (``webhook``).
"""

from __future__ import annotations

import asyncio

from aiopslab.agents.protocol import TrialHandle


class External:
    """Does nothing itself; the trial ends when an answer comes, or at a limit."""

    needs_doors = True

    async def run(self, trial: TrialHandle) -> None:
        """Wait; the orchestrator ends the waiting."""
        await asyncio.Event().wait()
