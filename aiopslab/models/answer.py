"""What an agent submits: one typed answer per task, every one with stated confidence.

Probabilities left over mean "something else". Escalating (abstaining) is a legal answer.
Not here: whether an answer is right (``grading``).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from aiopslab.models.base import Model

A = TypeVar("A", bound=Model)
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Candidate(Model):
    """One suspected component."""

    component: str
    """Service, store, node or external party, as ``services`` and ``topology`` name them."""
    probability: Probability


class Hypothesis(Model):
    """One suspected root cause."""

    component: str
    cause: str
    """A cause kind of the published catalogue (tool ``cause_kinds``), or ``none``."""
    mechanism: str = Field(default="", max_length=2000)
    """Free text: how the cause leads to the symptoms. Recorded, never scored by a judge."""
    probability: Probability


class Detection(Model):
    """Is something wrong?"""

    task: Literal["detection"] = "detection"
    anomaly: bool
    confidence: Probability
    """Probability that ``anomaly`` is right."""
    escalate: bool = False


class Localization(Model):
    """Where is the cause? An empty list says: nothing is wrong."""

    task: Literal["localization"] = "localization"
    candidates: list[Candidate] = Field(max_length=5)
    escalate: bool = False

    @model_validator(mode="after")
    def _at_most_one(self) -> Localization:
        return _bounded(self, [c.probability for c in self.candidates])


class Diagnosis(Model):
    """What is the cause, and what shows it?"""

    task: Literal["diagnosis"] = "diagnosis"
    hypotheses: list[Hypothesis] = Field(max_length=5)
    evidence: list[str] = Field(default_factory=list, max_length=20)
    """Observation ids (``obs-N``) that support the first hypothesis."""
    escalate: bool = False

    @model_validator(mode="after")
    def _at_most_one(self) -> Diagnosis:
        return _bounded(self, [h.probability for h in self.hypotheses])


class Mitigation(Model):
    """The repair is done, or nothing needed repair. Judged by the state of the system."""

    task: Literal["mitigation"] = "mitigation"
    summary: str = Field(max_length=4000)
    confidence: Probability
    """Probability that the system is healthy and stays so."""
    escalate: bool = False


Answer = Annotated[Detection | Localization | Diagnosis | Mitigation, Field(discriminator="task")]


def _bounded(answer: A, probabilities: list[float]) -> A:
    if sum(probabilities) > 1.0 + 1e-6:
        raise ValueError(f"probabilities sum to {sum(probabilities):.3f}; at most 1 is allowed")
    return answer
