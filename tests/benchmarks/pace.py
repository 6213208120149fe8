"""A deliberately overconfident agent: what ``docs/confidence.md`` measures the agent ``pace`` on.

    aiopslab run core -a pace -A inner=tests/benchmarks/pace.py:Overconfident

Plays as ``statistical`` does and says 0.97 of whatever that finds. Its confidence tells right
answers from wrong ones not at all. Not part of the product; nothing here is a test.
"""

from __future__ import annotations

from typing import Any

from aiopslab.agents import DelegatingTrial, TrialHandle, load
from aiopslab.models.observation import Observation

SURE = 0.97


class Overconfident:
    """``statistical``, sure of itself."""

    async def run(self, trial: TrialHandle) -> None:
        """Play, and be sure of what was found."""
        await load("statistical").build().run(_Sure(trial))


class _Sure(DelegatingTrial):
    async def call(self, name: str, /, **arguments: Any) -> Observation:
        if name == "submit":
            arguments = sure(arguments)
        return await self.trial.call(name, **arguments)


def sure(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``submit`` with all probability on what is likeliest."""
    changed = dict(arguments)
    if "confidence" in changed:
        changed["confidence"] = SURE
    for key in ("candidates", "hypotheses"):
        rows = changed.get(key)
        if rows:
            likeliest = sorted(rows, key=lambda row: -row["probability"])
            shares = [SURE, *[(1.0 - SURE) / len(rows)] * (len(rows) - 1)]
            changed[key] = [{**r, "probability": p} for r, p in zip(likeliest, shares, strict=True)]
    return changed
