"""What was elicited about one answer before it was submitted, and the confidence it was given.

``agent/confidence.json`` of a trial that the agent ``pace`` played; a mapping is fitted on many of
them. Not here: how it is elicited (the agent), the mapping (``models.mapping``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from aiopslab.models.answer import Probability
from aiopslab.models.base import Model
from aiopslab.models.task import Task

FILE = "confidence.json"
"""Its name among what an agent keeps with a trial."""

Ablation = Literal["none", "no-retrieval", "verbalised", "self-consistency"]
"""What is left out of the full method, or takes its place."""
JudgeKind = Literal["scripted", "model"]
Feature = Literal["coe", "rce", "stated", "agreement"]
Source = Literal["mapped", "uncalibrated", "unchanged"]

FEATURES: dict[Ablation, tuple[Feature, ...]] = {
    "none": ("coe", "rce", "stated"),
    "no-retrieval": ("coe", "rce", "stated"),
    "verbalised": ("stated",),
    "self-consistency": ("agreement",),
}
"""What a mapping may look at under each ablation."""


def uncalibrated(seen: Mapping[Feature, float]) -> float:
    """Return the confidence without a mapping: COE times RCE, or the only feature there is."""
    if "coe" in seen and "rce" in seen:
        return seen["coe"] * seen["rce"]
    return seen["agreement"] if "agreement" in seen else seen["stated"]


class Elicited(Model):
    """Of the answer that was submitted."""

    schema_: Literal["aiopslab/confidence@1"] = Field(
        default="aiopslab/confidence@1", alias="schema"
    )
    task: Task
    inner: str
    """The agent whose answer it is."""
    ablation: Ablation
    judge: JudgeKind | None = None
    """None where the ablation asks no judge."""
    prompts: str = ""
    """Version of the prompts of a model judge, ``pace/v1``."""
    stated: Probability
    """What the inner agent said of its first candidate or of its answer."""
    coe: Probability | None = None
    """Confidence of evaluation: is the evidence sufficient to judge the cause?"""
    rce: Probability | None = None
    """Root-cause evaluation: does the evidence support the answer?"""
    agreement: Probability | None = None
    """Share of the samples of the inner agent that gave this answer."""
    samples: int = 1
    """Answers of the inner agent that were taken."""
    source: Source
    """``unchanged``: the confidence of this answer could not be replaced; ``why`` says why."""
    why: str = ""
    confidence: Probability
    """What was submitted as the probability that the answer is right."""
    mapping: str | None = None
    """sha256 of the mapping that was used."""
    references: list[str] = Field(default_factory=list)
    """Ids of the past incidents that the judge was shown."""
    coe_votes: list[bool] = Field(default_factory=list)
    rce_votes: list[float] = Field(default_factory=list)
    """Of a model judge: each rating, from 0 to 1."""
    invalid_votes: int = 0
    """Replies that held no vote; they are not counted."""
    judge_calls: int = 0
    """Calls of the model for the judge; their tokens are in the trial's usage too."""
    judge_tokens_in: int = 0
    judge_tokens_out: int = 0

    def seen(self) -> dict[Feature, float]:
        """Return the features of its ablation that are known."""
        known: dict[Feature, float | None] = {
            "coe": self.coe, "rce": self.rce, "stated": self.stated, "agreement": self.agreement,
        }  # fmt: skip
        wanted = FEATURES[self.ablation]
        return {name: value for name in wanted if (value := known[name]) is not None}

    @property
    def complete(self) -> bool:
        """Whether a mapping can be applied: nothing is missing and the answer took a confidence."""
        return self.source != "unchanged" and len(self.seen()) == len(FEATURES[self.ablation])
