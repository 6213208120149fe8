"""What alerts an incident set off while nobody had changed anything: read from records of trials.

Trials of one draw show the same incident for different lengths of time; the longest look counts.
Not here: what is compared with it (``agreement``), what on-call people see (``sightings``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from aiopslab.models.truth import Truth
from aiopslab.orchestrator.records import TrialDirectory

_FIRED = (
    "SELECT name, min(time) FROM read_parquet(?) WHERE state = 'firing' AND time <= ?"
    " GROUP BY name ORDER BY name"
)


@dataclass(frozen=True, slots=True)
class Look:
    """How long an incident was watched, and what fired."""

    alerts: dict[str, float]
    """Name -> when it first fired, in seconds after the fault; where there is none, after the
    hand-over (what fired before is negative)."""
    watched_s: float
    """Until when, likewise."""


def longest_look(trials: Iterable[TrialDirectory]) -> Look:
    """Read the trial in which an incident ran on untouched for longest.

    Args:
        trials: Ended trials of one draw, of whatever agent and task; twins, trials that the lab
            lost and mitigations that wrote something are passed over. A mitigation that wrote
            nothing shows most: what an agent claims is looked at for a while.

    Raises:
        ValueError: None of them is left.
    """
    longest = max(filter(_untouched, trials), key=_watched)
    truth, until = longest.truth(), _watched(longest)
    with duckdb.connect() as connection:
        parquet = str(longest.telemetry / "alerts.parquet")
        fired = connection.execute(_FIRED, [parquet, _start(truth) + until]).fetchall()
    return Look({name: round(at - _start(truth), 1) for name, at in fired}, round(until, 1))


def _untouched(directory: TrialDirectory) -> bool:
    trial = directory.trial()
    acted = trial.task == "mitigation" and trial.usage.writes > 0
    return trial.outcome != "infra_error" and trial.twin is False and not acted


def _watched(directory: TrialDirectory) -> float:
    """Return seconds from the start to the end of what was recorded."""
    truth, trial = directory.truth(), directory.trial()
    after = trial.phases.get("agent", 0.0) + trial.phases.get("settle", 0.0)
    return truth.handover_at - _start(truth) + after


def _start(truth: Truth) -> float:
    return truth.handover_at if truth.injected_at is None else truth.injected_at
