"""What a model's tokens cost: price lists by model name; a model that is in none has no price.

Lists are content: ``agents/prices.yaml`` of every content root, the user's first, before them a
file that an agent's argument names. They hold list prices; what a contract or another endpoint
bills may differ. Not here: booking (``chat``), limits (``orchestrator.meter``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from aiopslab.content import load_model, roots
from aiopslab.errors import PreflightError
from aiopslab.models.base import Model

FILE = "agents/prices.yaml"
Usd = Annotated[float, Field(ge=0.0)]
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What one model call consumed, as the endpoint counts it."""

    tokens_in: int
    """All input tokens, cached ones included."""
    tokens_out: int
    """All output tokens, those of hidden reasoning included."""
    tokens_cached: int = 0
    """Input tokens that the endpoint had in its cache."""


class Price(Model):
    """US dollars per million tokens."""

    input: Usd
    cached_input: Usd | None = None
    """None: cached tokens cost what others do."""
    output: Usd

    def cost_usd(self, usage: TokenUsage) -> float:
        """Return the dollars that a model call cost."""
        cached = min(usage.tokens_cached, usage.tokens_in)
        cached_price = self.input if self.cached_input is None else self.cached_input
        dollars = (usage.tokens_in - cached) * self.input + cached * cached_price
        return (dollars + usage.tokens_out * self.output) / _MILLION


class PriceList(Model):
    """One file of prices."""

    schema_: Literal["aiopslab/prices@1"] = Field(default="aiopslab/prices@1", alias="schema")
    version: str
    """The month the prices were read: ``2026-11``."""
    source: str
    """Where they were read."""
    models: dict[str, Price]
    """By the name that a request carries; nothing is derived from similar names."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Price lists, the first that knows a model decides."""

    lists: tuple[PriceList, ...]

    def of(self, model: str) -> Price | None:
        """Return the price of a model, None where no list has it."""
        found = self.list_of(model)
        return None if found is None else found.models[model]

    def list_of(self, model: str) -> PriceList | None:
        """Return the list that decides a model's price, None where no list has it."""
        return next((p for p in self.lists if model in p.models), None)

    def require(self, model: str) -> Price:
        """Return the price of a model that a cost limit needs.

        Raises:
            PreflightError: No list has it; the hint says what to type.
        """
        price = self.of(model)
        if price is None:
            raise PreflightError(
                f"the price of model {model!r} is unknown, so a cost limit cannot hold",
                hint="-A prices=FILE with its price (docs/agents.md), or --token-limit N instead",
            )
        return price


def load_prices(path: str = "") -> Prices:
    """Read the price lists.

    Args:
        path: A file that goes before those of the content rooms; empty: none.

    Raises:
        ContentError: A file is missing or malformed.
    """
    found = [root / FILE for root in roots()]
    named = [Path(path)] if path else []
    paths = [*named, *(p for p in found if p.is_file())]
    return Prices(tuple(load_model(p, PriceList) for p in paths))
