"""What an answer says first, how sure it is of it, and the same answer with another confidence.

Works on the arguments of ``submit``. The order of candidates never changes, so neither does whether
the answer is right. Not here: where the confidence comes from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from aiopslab.models.answer import Answer, Detection, Diagnosis, Localization, Mitigation
from aiopslab.models.task import Task
from aiopslab.tools.submit import read_answer

NOTHING = "none"
"""The cause kind that says nothing is wrong."""
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Claim:
    """What an answer claims first."""

    task: Task
    anomaly: bool
    """Whether it says that something is (or was) wrong."""
    component: str = ""
    cause: str = ""
    others: tuple[str, ...] = ()
    """Components that it also thinks possible."""

    @property
    def label(self) -> tuple[str, ...]:
        """By which two answers are the same answer."""
        return (str(self.anomaly), self.component.strip().casefold(), self.cause)

    def text(self) -> str:
        """Return the claim in words."""
        if not self.anomaly:
            return "Nothing is wrong with the application."
        if self.task == "mitigation":
            return "The application is repaired and healthy."
        if not self.component:
            return "Something is wrong with the application."
        why = f", of the kind {self.cause}" if self.cause else ""
        return f"The cause lies in the component {self.component}{why}."


def read(task: Task, arguments: dict[str, Any]) -> Answer | None:
    """Return the answer that ``submit`` would take; None for one that it would refuse."""
    answer = read_answer(task, arguments)
    # `submit` itself explains what is wrong.
    return None if isinstance(answer, str) else answer


def claim(answer: Answer) -> Claim:
    """Return what an answer claims first."""
    match answer:
        case Detection():
            return Claim("detection", answer.anomaly)
        case Mitigation():
            return Claim("mitigation", True)
        case Localization():
            ranked = sorted(answer.candidates, key=lambda c: -c.probability)
            others = tuple(c.component for c in ranked[1:])
            first = ranked[0].component if ranked else ""
            return Claim("localization", bool(ranked), first, "", others)
        case Diagnosis():
            hypotheses = sorted(answer.hypotheses, key=lambda h: -h.probability)
            if not hypotheses or hypotheses[0].cause == NOTHING:
                return Claim("diagnosis", False)
            first_one = hypotheses[0]
            rest = tuple(h.component for h in hypotheses[1:])
            return Claim("diagnosis", True, first_one.component, first_one.cause, rest)


def stated(answer: Answer) -> float:
    """Return how sure the answer says it is; an empty list is certain by its form."""
    match answer:
        case Detection() | Mitigation():
            return answer.confidence
        case Localization():
            return max((c.probability for c in answer.candidates), default=1.0)
        case Diagnosis():
            return max((h.probability for h in answer.hypotheses), default=1.0)


def fixed(answer: Answer) -> str:
    """Say why no other confidence can be put into an answer; empty if it can."""
    if answer.escalate:
        return "it escalates, which states no confidence"
    if isinstance(answer, Localization) and not answer.candidates:
        return "an empty list of candidates is certain by its form"
    return ""


def with_confidence(answer: Answer, confidence: float, *, app: str) -> dict[str, Any]:
    """Return the arguments of ``submit`` with another confidence.

    The first candidate gets it; the others keep their proportions and are made smaller only as far
    as they must, to sum to 1 at most and to stay below the first. A diagnosis that says with an
    empty list that nothing is wrong says so by the cause kind ``none``, which can be doubted.

    Args:
        answer: One that is not ``fixed``.
        confidence: From 0 to 1.
        app: What a hypothesis that nothing is wrong names as its component.
    """
    c = round(confidence, _DIGITS)
    told = answer.model_dump(mode="json", exclude={"task"})
    if isinstance(answer, Detection | Mitigation):
        return {**told, "confidence": c}
    key = "candidates" if isinstance(answer, Localization) else "hypotheses"
    ranked = sorted(told[key], key=lambda row: -row["probability"])
    if not ranked:
        ranked = [{"component": app, "cause": NOTHING, "mechanism": "", "probability": 1.0}]
    rest = [row["probability"] for row in ranked[1:]]
    scale = min(
        1.0,
        (1.0 - c) / sum(rest) if sum(rest) else 1.0,
        c / max(rest) if rest and max(rest) else 1.0,
    )
    shares = [c, *(_cut(scale * p) for p in rest)]
    rows = [{**row, "probability": p} for row, p in zip(ranked, shares, strict=True)]
    return {**told, key: rows}


def _cut(share: float) -> float:
    """Cut digits off, so that the sum of shares stays below 1."""
    return math.floor(share * 10**_DIGITS) / 10**_DIGITS
