"""Which incident stands for which fault family of AIOpsLab (``problems/parity.yaml``)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model


class Counterpart(Model):
    """One distinct fault family there, and what this catalogue has for it."""

    family: str
    """Its name there."""
    application: str
    """Where it is injected there."""
    does: str
    """What it does there."""
    incident: str
    """The incident that stands for it here."""
    differs: str
    """How that differs, for whoever compares results; empty where it does not."""


class Parity(Model):
    """All of them."""

    schema_: Literal["aiopslab/parity@1"] = Field(alias="schema")
    families: list[Counterpart]
