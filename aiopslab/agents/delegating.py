"""A trial handle that passes everything through: what agents around another agent build on.

Override ``call`` to see, answer or change the calls of the agent inside. Only calls that come
through the handle are seen: an agent that works through the trial's doors cannot be wrapped.
Neighbour: ``protocol`` says what each member is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiopslab.agents.protocol import TrialHandle
from aiopslab.models.doors import Doors
from aiopslab.models.observation import Brief, Budget, Observation, ToolInfo


class DelegatingTrial:
    """The handle of another trial handle.

    Args:
        trial: Where everything goes.
    """

    def __init__(self, trial: TrialHandle) -> None:
        self.trial = trial

    @property
    def brief(self) -> Brief:
        return self.trial.brief

    @property
    def tools(self) -> Sequence[ToolInfo]:
        return self.trial.tools

    @property
    def budget(self) -> Budget:
        return self.trial.budget

    @property
    def doors(self) -> Doors | None:
        return self.trial.doors

    @property
    def ended(self) -> bool:
        return self.trial.ended

    def doors_at(self, host: str) -> AbstractAsyncContextManager[Doors]:
        return self.trial.doors_at(host)

    def keep(self, name: str, content: bytes) -> None:
        self.trial.keep(name, content)

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        return await self.trial.call(name, **arguments)

    def note(self, thought: str) -> None:
        self.trial.note(thought)

    def usage(self, tokens_in: int = 0, tokens_out: int = 0, cost_usd: float | None = None) -> None:
        self.trial.usage(tokens_in, tokens_out, cost_usd)
