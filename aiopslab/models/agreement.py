"""What an incident showed in the simulated world and on a real cluster, side by side.

``Showing`` is one environment's, ``Agreement`` one line of ``docs/fidelity.jsonl``. Not here: how
it is measured (``orchestrator.agreement``), how many agree (``report.fidelity``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import Field

from aiopslab.models.base import Model

SLACK_S = 60.0
"""How much later than on one side an alert may fire on the other: rules are evaluated every 30 s on
both, over windows that an incident meets at another phase each time."""


class Showing(Model):
    """One incident on one environment, at the hand-over and after the reference fix."""

    broken: list[str] = Field(default_factory=list)
    """Journeys that missed their promise in the minute before hand-over, sorted."""
    alerts: dict[str, float] = Field(default_factory=dict)
    """Alerts that fired while nobody had changed anything: when first, in seconds after the fault;
    of an incident without a fault, after the hand-over."""
    watched_s: float = 0.0
    """Until when that was watched, likewise."""
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
        """How alike the alerts are that can be told of both, likewise."""
        if not self.staged:
            return None
        only, there = self.only_simulated, self.only_real
        common = self.simulated.alerts.keys() & self.real.alerts.keys()
        return alike([*common, *only], [*common, *there])

    @property
    def only_simulated(self) -> list[str]:
        """Alerts of the simulated world that never fired on the cluster, watched long enough."""
        return _missing(self.simulated.alerts, self.real)

    @property
    def only_real(self) -> list[str]:
        """Alerts of the cluster that never fired in the simulated world, likewise."""
        return _missing(self.real.alerts, self.simulated)

    @property
    def restored(self) -> bool | None:
        """Whether the reference fix restored both; None if it was not tried on both."""
        both = (self.simulated.restored, self.real.restored)
        return None if None in both else all(both)

    @property
    def same_answer(self) -> bool | None:
        """Whether the agent named the same first hypothesis; None if not staged."""
        return self.simulated.answer == self.real.answer if self.staged else None


def _missing(fired: Mapping[str, float], other: Showing) -> list[str]:
    """Name what the other side should have shown by the end of its watch, and has not.

    What fired so late that the other was not watched for ``SLACK_S`` longer is told of neither.
    """
    due = (name for name, at in fired.items() if at + SLACK_S <= other.watched_s)
    return sorted(name for name in due if name not in other.alerts)


def alike(first: Collection[str], second: Collection[str]) -> float:
    """Return the Jaccard index of two sets; 1 where both are empty."""
    one, other = set(first), set(second)
    return len(one & other) / len(one | other) if one | other else 1.0
