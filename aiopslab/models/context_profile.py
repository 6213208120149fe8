"""How much an agent is told about the app beside telemetry and cluster: profiles P0 to P5.

Each profile holds those before it:

    P0  the page, telemetry and the cluster
    P1  topology: who depends on whom, outside parties with their status pages
    P2  documents of the services
    P3  changes and configuration history
    P4  monitors and runbooks
    P5  history: a memory of past incidents

Not here: which tool belongs to which (``tools.profiles``), what is pushed (``tools.briefing``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from aiopslab.models.base import Model

Profile = Literal["P0", "P1", "P2", "P3", "P4", "P5"]
Delivery = Literal["pull", "push"]


class ContextChoice(Model):
    """What of it a run offers, and how; the default is everything but history, pulled by tools."""

    profile: Profile = "P4"
    delivery: Delivery = "pull"
    """``pull``: by the tools of the profile. ``push``: a block in the brief, and none of them."""
    tokens: int = Field(default=2000, ge=100)
    """Budget of the pushed block, at four characters a token."""
    embeddings: str | None = None
    """Model that ranks past incidents by meaning; None ranks them by BM25."""
    embeddings_url: str | None = None
    """OpenAI-compatible endpoint of that model; the key comes from the environment."""

    @model_validator(mode="after")
    def _someone_searches(self) -> ContextChoice:
        if self.embeddings and not self.remembers:
            raise ValueError("embeddings rank past incidents, which only profile P5 has")
        if self.embeddings_url and not self.embeddings:
            raise ValueError("an endpoint for embeddings needs the name of a model")
        return self

    @property
    def level(self) -> int:
        """The profile as a number, 0 to 5."""
        return int(self.profile[1:])

    @property
    def remembers(self) -> bool:
        """Whether past incidents are part of it."""
        return self.level >= 5

    @property
    def name(self) -> str:
        """In words for a table: ``P3``, or ``P3 pushed``."""
        return self.profile if self.delivery == "pull" else f"{self.profile} pushed"
