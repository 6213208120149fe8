"""A guess and how it becomes the answer of each task: what all trivial agents share.

Not here: what is guessed (this module's neighbours).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from aiopslab.agents.protocol import TrialHandle
from aiopslab.models.truth import FixStep

MOST = 5
"""Candidates and hypotheses an answer may hold."""
PATIENCE_S = 120.0
"""How long a repair is given before the answer."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A component and a cause, with a probability."""

    component: str
    cause: str
    probability: float


@dataclass(frozen=True, slots=True)
class Guess:
    """What an agent believes after its one idea."""

    anomaly: float
    """Probability that something is wrong."""
    suspicions: list[Suspicion] = field(default_factory=list)
    """The likeliest first; probabilities sum to at most 1."""
    repair: list[FixStep] = field(default_factory=list)
    """Calls of the mitigation task; refused ones do not stop it."""
    confidence: float = 0.5
    """How likely the system is healthy after the repair."""
    escalate: bool = False
    """Whether to leave it to somebody else; detection is answered in any case."""


class Guesser(ABC):
    """Makes one guess and answers whatever the task is."""

    @abstractmethod
    async def guess(self, trial: TrialHandle) -> Guess:
        """Look at what the idea needs and make up a mind."""

    async def run(self, trial: TrialHandle) -> None:
        """Guess, repair where the task is to, submit."""
        found = await self.guess(trial)
        answer: dict[str, Any]
        match trial.brief.task:
            case "detection":
                yes = found.anomaly >= 0.5
                confidence = found.anomaly if yes else 1.0 - found.anomaly
                answer = {"anomaly": yes, "confidence": confidence}
            case "localization":
                answer = {"candidates": _candidates(found.suspicions)}
            case "diagnosis":
                answer = {"hypotheses": [_hypothesis(s) for s in found.suspicions[:MOST]]}
            case "mitigation":
                for step in found.repair:
                    await trial.call(step.tool, **step.arguments)
                if found.repair:
                    await trial.call("wait", seconds=PATIENCE_S, reason="the repair takes effect")
                said = "did the usual" if found.repair else "nothing done"
                answer = {"summary": said, "confidence": found.confidence}
        if found.escalate and trial.brief.task != "detection":
            answer["escalate"] = True
        await trial.call("submit", **answer)


async def workloads(trial: TrialHandle) -> list[tuple[str, str]]:
    """Return (kind, component) of every Deployment and StatefulSet, in the tool's order."""
    seen = await trial.call("services")
    kinds = ("Deployment", "StatefulSet")
    return [(r["kind"], r["component"]) for r in seen.data or [] if r["kind"] in kinds]


def restart(kind: str, name: str) -> FixStep:
    """Return the call that replaces the pods of a workload."""
    return FixStep(tool="k8s_rollout", arguments={"action": "restart", "kind": kind, "name": name})


def _candidates(suspicions: list[Suspicion]) -> list[dict[str, Any]]:
    """Sum the probabilities of each component; the order of first mention stays."""
    sums: dict[str, float] = {}
    for suspicion in suspicions:
        sums[suspicion.component] = sums.get(suspicion.component, 0.0) + suspicion.probability
    return [{"component": c, "probability": p} for c, p in list(sums.items())[:MOST]]


def _hypothesis(suspicion: Suspicion) -> dict[str, Any]:
    return {
        "component": suspicion.component,
        "cause": suspicion.cause,
        "probability": suspicion.probability,
    }
