"""What an agent outside may say of itself: thoughts, and what its model calls consumed.

An agent in process says so to its ``TrialHandle``; these are the same two in JSON. Not here: what a
budget of tokens or dollars does with them (``orchestrator.meter``).
"""

from __future__ import annotations

from typing import Protocol

from pydantic import Field

from aiopslab.models.base import Model


class Reports(Protocol):
    """Takes what an agent says of itself."""

    def note(self, thought: str) -> None:
        """Keep a thought; it is recorded with the next call."""
        ...

    def usage(self, tokens_in: int = 0, tokens_out: int = 0, cost_usd: float | None = None) -> None:
        """Book what a model call consumed."""
        ...


class Note(Model):
    """A thought."""

    thought: str = Field(max_length=20_000)


class ModelUsage(Model):
    """What one model call consumed."""

    tokens_in: int = Field(default=0, ge=0, le=10**12)
    tokens_out: int = Field(default=0, ge=0, le=10**12)
    cost_usd: float | None = Field(default=None, ge=0.0, le=1e9)
