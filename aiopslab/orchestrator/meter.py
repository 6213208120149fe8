"""What a trial has used of its budgets. Not here: what happens when one is used up (``trial``)."""

from __future__ import annotations

from aiopslab.errors import LimitExceeded
from aiopslab.models.observation import Budget
from aiopslab.models.run import Limits
from aiopslab.orchestrator import wallclock


class Meter:
    """Counts steps, virtual and wall time, tokens and cost from hand-over on.

    Args:
        limits: The budgets.
        start: The world's clock at hand-over.
    """

    def __init__(self, limits: Limits, start: float) -> None:
        self.limits = limits
        self.steps = 0
        self.tokens_in: int | None = None
        self.tokens_out: int | None = None
        self.cost_usd: float | None = None
        self.hit: str | None = None
        """Name of the budget that was used up first."""
        self._start = start
        self._wall = wallclock.seconds()

    def book(self, tokens_in: int, tokens_out: int, cost_usd: float | None) -> None:
        """Add what a model call consumed; cost stays unknown until somebody states it.

        A budget that this uses up has ended the trial, whether a call follows or not.
        """
        self.tokens_in = (self.tokens_in or 0) + tokens_in
        self.tokens_out = (self.tokens_out or 0) + tokens_out
        if cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + cost_usd
        limits, used = self.limits, self.tokens_in + self.tokens_out
        if limits.tokens is not None and used >= limits.tokens:
            self.hit = self.hit or "tokens"
        if limits.cost_usd is not None and (self.cost_usd or 0.0) >= limits.cost_usd:
            self.hit = self.hit or "cost"

    def virtual_left(self, now: float) -> float | None:
        """Return the seconds of world time left; None without a limit."""
        allowed = self.limits.virtual_s
        return None if allowed is None else max(0.0, allowed - (now - self._start))

    def left(self, now: float) -> Budget:
        """Return what is left of every budget."""
        limits = self.limits
        used_tokens = (self.tokens_in or 0) + (self.tokens_out or 0)
        return Budget(
            steps=None if limits.steps is None else max(0, limits.steps - self.steps),
            virtual_s=self.virtual_left(now),
            wall_s=None if limits.wall_s is None else max(0.0, limits.wall_s - self._wall_used()),
            tokens=None if limits.tokens is None else max(0, limits.tokens - used_tokens),
            cost_usd=None
            if limits.cost_usd is None
            else max(0.0, limits.cost_usd - (self.cost_usd or 0.0)),
        )

    def check(self, now: float, *, submitting: bool) -> None:
        """Refuse the next call if a budget is used up.

        Submitting is allowed at the end of the steps: an agent that knows its budget may use its
        last word for the answer. It is not at the end of time, tokens or cost.

        Raises:
            LimitExceeded: Names the budget.
        """
        left = self.left(now)
        limits = self.limits
        spent = {
            "steps": left.steps == 0 and not submitting,
            "virtual_time": left.virtual_s == 0.0,
            "wall_time": left.wall_s == 0.0,
            "tokens": left.tokens == 0,
            "cost": left.cost_usd == 0.0,
        }
        allowed = {
            "steps": limits.steps,
            "virtual_time": limits.virtual_s,
            "wall_time": limits.wall_s,
            "tokens": limits.tokens,
            "cost": limits.cost_usd,
        }
        for name, over in spent.items():
            if over:
                self.exceed(name, f"the budget of {allowed[name]} {name} is used up")

    def exceed(self, name: str, message: str) -> None:
        """Note that a budget is used up and say so.

        Raises:
            LimitExceeded: Always.
        """
        self.hit = self.hit or name
        raise LimitExceeded(name, message)

    def _wall_used(self) -> float:
        return wallclock.seconds() - self._wall
