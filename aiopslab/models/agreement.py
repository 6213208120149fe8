"""What an incident showed in the simulated world and on a real cluster, side by side.

``Showing`` is one environment's, ``Agreement`` one line of ``docs/fidelity.jsonl``. Not here: how
it is measured (``orchestrator.agreement``), how many agree (``report.fidelity``).
"""

from __future__ import annotations

from collections.abc import Collection

from pydantic import Field

from aiopslab.models.base import Model


class Showing(Model):
    """One incident on one environment, at the hand-over and after the reference fix."""

    broken: list[str] = Field(default_factory=list)
    """Journeys that missed their promise in the minute before hand-over, sorted."""
    alerts: list[str] = Field(default_factory=list)
    """Alerts that had fired by then, sorted."""
    restored: bool | None = None
    """Whether the reference fix was judged a mitigation; None: it could not be tried."""
    answer: tuple[str, str] | None = None
    """First (component, cause) that the agent named; None: nothing is wrong, or no answer."""
    opened_s: float | None = None
    """Seconds from the incident's start until the symptom was seen."""
    error: str | None = None
    """Why the lab could not bring it that far."""


class Agreement(Model):
    """One incident, drawn with one seed, on both."""

    incident: str
    seed: int
    digest: str
    """Of the incident's file when this was measured."""
    environment: str
    """``kind`` or ``kubeconfig``."""
    agent: str
    """Whose answers are compared."""
    simulated: Showing
    real: Showing

    @property
    def staged(self) -> bool:
        """Whether both came to the hand-over."""
        return self.simulated.error is None and self.real.error is None

    @property
    def slis(self) -> float | None:
        """How alike the broken journeys are: common ones over all; None if not staged."""
        return alike(self.simulated.broken, self.real.broken) if self.staged else None

    @property
    def alerts(self) -> float | None:
        """How alike the alerts are, likewise."""
        return alike(self.simulated.alerts, self.real.alerts) if self.staged else None

    @property
    def restored(self) -> bool | None:
        """Whether the reference fix restored both; None if it was not tried on both."""
        both = (self.simulated.restored, self.real.restored)
        return None if None in both else all(both)

    @property
    def same_answer(self) -> bool | None:
        """Whether the agent named the same first hypothesis; None if not staged."""
        return self.simulated.answer == self.real.answer if self.staged else None


def alike(first: Collection[str], second: Collection[str]) -> float:
    """Return the Jaccard index of two sets; 1 where both are empty."""
    one, other = set(first), set(second)
    return len(one & other) / len(one | other) if one | other else 1.0
