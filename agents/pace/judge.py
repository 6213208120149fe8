"""What a judge is asked and what it says; rules (``scripted``) or a model (``voting``) answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiopslab.agents import TrialHandle
from aiopslab.models.observation import Brief, Observation
from aiopslab.models.past_incident import PastIncident

from .answers import Claim


@dataclass(frozen=True, slots=True)
class Case:
    """Everything a judge may look at: what the agent could see, and what it claims."""

    brief: Brief
    seen: Sequence[Observation]
    references: Sequence[PastIncident]
    searched: str
    """What the references were searched with."""
    claim: Claim


@dataclass(slots=True)
class Judgement:
    """COE and RCE; None where no vote was valid."""

    coe: float | None
    rce: float | None
    coe_votes: list[bool] = field(default_factory=list)
    rce_votes: list[float] = field(default_factory=list)
    invalid_votes: int = 0
    judge_calls: int = 0
    judge_tokens_in: int = 0
    judge_tokens_out: int = 0
    transcript: list[dict[str, Any]] = field(default_factory=list)
    """Every prompt as it was sent, with the reply."""


class Judge(Protocol):
    """Says how far the evidence suffices and supports a claim."""

    async def judge(self, case: Case, trial: TrialHandle) -> Judgement:
        """Judge one claim; what that consumes is booked with the trial."""
        ...
