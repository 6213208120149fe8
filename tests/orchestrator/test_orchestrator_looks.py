"""Of the trials of one draw, the one that ran on untouched for longest says what fired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from aiopslab.models.trial import Trial
from aiopslab.models.truth import Truth
from aiopslab.orchestrator.looks import Look, longest_look
from aiopslab.orchestrator.records import TrialDirectory

BEGUN, HANDED = 1000.0, 1100.0
Fired = list[tuple[str, str, float]]
"""Rows of the alerts: name, state, unix seconds."""


def recorded(
    home: Path, *, fired: Fired, settle: float = 0.0, begun: float | None = BEGUN, **about: Any
) -> TrialDirectory:
    """Write what is read of a trial."""
    trial: dict[str, Any] = {
        "id": "t", "problem": "p", "incident": "i", "task": "diagnosis", "agent": "a",
        "model": None, "attempt": 1, "seed": 0, "environment": "kind", "clock": "wall:1",
        "outcome": "failed", "termination": "submitted", "twin": False,
        "phases": {"agent": 20.0, "settle": settle},
    }  # fmt: skip
    truth = Truth(
        incident="i", twin=False, seed=0, draws={}, root_causes=[], fix=[], injected_at=begun,
        symptom_at=begun, handover_at=HANDED,
    )  # fmt: skip
    (home / "truth").mkdir(parents=True)
    (home / "telemetry").mkdir()
    document = Trial.model_validate({**trial, **about}).model_dump_json(by_alias=True)
    (home / "trial.json").write_text(document)
    (home / "truth" / "truth.json").write_text(truth.model_dump_json())
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE a (name VARCHAR, state VARCHAR, time DOUBLE)")
        for row in fired:
            connection.execute("INSERT INTO a VALUES (?, ?, ?)", row)
        connection.execute(f"COPY a TO '{home / 'telemetry' / 'alerts.parquet'}'")
    return TrialDirectory(home)


def test_the_first_firing_counts_and_nothing_after_the_watch(tmp_path: Path) -> None:
    fired = [
        ("Slow", "pending", 1010.0), ("Slow", "firing", 1070.0), ("Slow", "firing", 1090.0),
        ("Down", "firing", 1120.0), ("Late", "firing", 1120.5), ("Early", "firing", 990.0),
    ]  # fmt: skip
    look = longest_look([recorded(tmp_path / "one", fired=fired)])
    assert look == Look({"Down": 120.0, "Early": -10.0, "Slow": 70.0}, 120.0)


def test_what_was_left_unmended_is_watched_longest(tmp_path: Path) -> None:
    brief = recorded(tmp_path / "brief", fired=[])
    left = recorded(
        tmp_path / "left", fired=[("Slow", "firing", 1150.0)], settle=70.0, task="mitigation"
    )
    assert longest_look([brief, left]) == Look({"Slow": 150.0}, 190.0)


@pytest.mark.parametrize(
    "about",
    [
        {"task": "mitigation", "usage": {"writes": 1}},
        {"outcome": "infra_error"},
        {"twin": True},
        {"twin": None},
    ],
)
def test_what_was_changed_lost_or_without_the_fault_is_passed_over(
    tmp_path: Path, about: dict[str, Any]
) -> None:
    other = recorded(tmp_path / "other", fired=[("Slow", "firing", 1090.0)], settle=900.0, **about)
    plain = recorded(tmp_path / "plain", fired=[])
    assert longest_look([other, plain]) == Look({}, 120.0)


def test_without_a_fault_time_is_told_from_the_hand_over(tmp_path: Path) -> None:
    calm = recorded(tmp_path / "calm", fired=[("Slow", "firing", 1040.0)], begun=None)
    assert longest_look([calm]) == Look({"Slow": -60.0}, 20.0)
