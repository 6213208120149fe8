"""``noop`` and ``oracle``: the floor and the ceiling of every scale.

``noop`` submits the laziest legal answer. ``oracle`` is handed the reference fix and the right
answer by the orchestrator and plays them through the same tools as everybody: an upper bound, and
a proof that the tools suffice. Neighbours: ``human``, ``replay``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiopslab.agents.protocol import TrialHandle
from aiopslab.errors import AgentError
from aiopslab.models.answer import Answer
from aiopslab.models.observation import Observation
from aiopslab.models.task import Task
from aiopslab.models.truth import FixStep

_LAZY: dict[Task, dict[str, Any]] = {
    "detection": {"anomaly": False, "confidence": 0.5},
    "localization": {"candidates": []},
    "diagnosis": {"hypotheses": []},
    "mitigation": {"summary": "nothing done", "confidence": 0.5},
}


class Noop:
    """Looks at nothing, changes nothing, submits."""

    async def run(self, trial: TrialHandle) -> None:
        """Submit at once."""
        await trial.call("submit", **_LAZY[trial.brief.task])


class Oracle:
    """Plays a plan and submits a given answer.

    Args:
        plan: Tool calls of the reference fix; carried out in mitigation only.
        answer: What to submit.
        patience: How often to wait half a minute for alerts to clear before submitting.
    """

    def __init__(self, plan: Sequence[FixStep], answer: Answer, *, patience: int = 20) -> None:
        self._plan = plan
        self._answer = answer
        self._patience = patience

    async def run(self, trial: TrialHandle) -> None:
        """Repair, wait until no alert fires, submit.

        Raises:
            AgentError: A tool refused a step: the plan does not fit the tools.
        """
        if trial.brief.task == "mitigation":
            for step in self._plan:
                _require(await trial.call(step.tool, **step.arguments))
            if self._plan:
                await self._settle(trial)
        answer = self._answer.model_dump(mode="json", exclude={"task"})
        _require(await trial.call("submit", **answer))

    async def _settle(self, trial: TrialHandle) -> None:
        """Wait a minute, then until nothing fires or patience ends."""
        await trial.call("wait", seconds=60, reason="the repair takes effect")
        for _ in range(self._patience):
            seen = await trial.call("alerts")
            if not any(alert["state"] == "firing" for alert in seen.data or []):
                return
            await trial.call("wait", seconds=30, reason="alerts still fire")


def _require(seen: Observation) -> None:
    if not seen.ok:
        raise AgentError(f"{seen.tool} refused a step of the plan: {seen.text}")
