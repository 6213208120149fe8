"""The gate of a trial: requests of the wire APIs cost, count and are recorded as tool calls are.

A thin face of ``session``, which owns the clock and the budgets. Its neighbour for standing labs is
``wire.gate.StandingGate``.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from aiopslab.orchestrator.session import Session
from aiopslab.wire.gate import POLL_S, Call, Turn


class TrialGate:
    """The way into the world of one trial.

    Args:
        session: The agent's side of the trial.
    """

    def __init__(self, session: Session) -> None:
        self.closing = asyncio.Event()
        self._session = session

    def turn(self, call: Call) -> AbstractAsyncContextManager[Turn]:
        """Hold the world; see ``wire.gate.Gate``."""
        return self._session.turn(call)

    async def moved(self) -> None:
        """Let an open stream see time pass."""
        if self._session.over.is_set():
            self.closing.set()
            return
        await self._session.drift(POLL_S)
