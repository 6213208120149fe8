"""Two labs that are one and the same agree in everything, and what differs is found."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aiopslab.models.agreement import Agreement
from aiopslab.models.run import EnvironmentChoice
from aiopslab.orchestrator.agreement import Question, agree
from aiopslab.orchestrator.documents import read_journal
from aiopslab.report.fidelity import differences, summary

pytestmark = pytest.mark.slow

SAME = EnvironmentChoice(kind="aiopslab.orchestrator.sim_lab:SimLab")


def test_a_world_agrees_with_itself_in_slis_alerts_fix_and_answer(tmp_path: Path) -> None:
    targets = ["database-rotated-secret", "calm-partner-degraded"]
    question = Question(targets, SAME, runs_dir=str(tmp_path / "runs"))
    journal = tmp_path / "rows.jsonl"
    row, calm = asyncio.run(agree(question, out=journal))
    assert row.simulated.broken
    assert row.simulated.alerts
    assert row.simulated.restored
    assert row.simulated.answer is not None
    assert row.simulated == row.real
    assert differences([row]) == []
    assert all(line.endswith("1 of 1") for line in summary([row])[1:])
    assert summary([row, calm])[3] == "the reference fix restores both: 1 of 1"
    assert calm.simulated == calm.real
    assert calm.staged
    assert calm.restored is None
    assert read_journal(journal, Agreement) == [calm, row]
