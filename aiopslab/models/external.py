"""A party outside the cluster that an app depends on: a partner's API, with its status page.

Services call it like each other, with a client policy of their own; nobody of the app can look
inside. Not here: how it answers in the world (``world.externals``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model, Seconds


class ExternalEndpoint(Model):
    """One route of a partner's API, healthy."""

    ms: float = 60.0
    """Mean milliseconds until the answer, without the way there."""
    cv: float = 0.4
    error_rate: float = 0.0
    """Share of requests answered with 500 on a good day."""


class RateLimit(Model):
    """What the partner admits of this customer; beyond it 429 is answered."""

    per_s: float
    """Requests a second in the long run."""
    burst: int = 20
    """Requests at once."""


Trouble = Literal["latency", "errors", "outage", "rate_limit", "address"]
"""Kinds of disturbance of a partner."""


class Disturbance(Model):
    """How a partner behaves other than on a good day; neutral by default."""

    latency_factor: float = 1.0
    """Answers take this many times as long."""
    error_rate: float = 0.0
    """Share of requests answered with 503."""
    per_s: float | None = None
    """A lower rate limit."""
    silent: bool = False
    """Connections are accepted, requests never answered."""
    moved: bool = False
    """The name leads to another address; nobody is at the old one any more."""

    def troubles(self) -> list[Trouble]:
        """Name what is wrong."""
        found: list[tuple[Trouble, bool]] = [
            ("latency", self.latency_factor > 1.0),
            ("errors", self.error_rate > 0.0),
            ("outage", self.silent),
            ("rate_limit", self.per_s is not None),
            ("address", self.moved),
        ]
        return [trouble for trouble, is_so in found if is_so]


def _unmentioned() -> list[Trouble]:
    return ["rate_limit", "address"]


class StatusPage(Model):
    """How a partner tells its customers that something is wrong: late, and not everything."""

    lag_s: Seconds = 240.0
    """From the beginning (and from the end) of a disturbance to the post that says so."""
    omits: list[Trouble] = Field(default_factory=_unmentioned)
    """Kinds of disturbance it never mentions."""


class External(Model):
    """One party outside the cluster."""

    summary: str
    owner: str
    """Team of the app that holds the contract."""
    provider: str
    """Name of the company."""
    host: str
    """DNS name, for instance ``api.payments.example``."""
    address: str
    """Where the name leads; within 198.18.252.0/22, so that an egress policy can name it."""
    moved_to: str = ""
    """Another address the party owns; empty if it never moves."""
    port: int = 443
    tls: bool = True
    round_trip_ms: float = 12.0
    """The way there and back over the internet."""
    endpoints: dict[str, ExternalEndpoint] = Field(min_length=1)
    """``METHOD /path`` to behaviour."""
    tokens: bool = False
    """Requests must bring ``token``, ``<subject>.<unix seconds of its end>``, that holds."""
    rate_limit: RateLimit | None = None
    status_page: StatusPage | None = None
    without: str = ""
    """Flag that, when it is off, does without this party; empty if there is none."""
    replaces: str | None = None
    """Name of the party whose requests this one can take over: a secondary provider."""
