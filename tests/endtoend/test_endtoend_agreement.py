"""Two labs that are one and the same agree in everything, played now or before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from endtoend_cli import CONTENT

from aiopslab.errors import UsageError
from aiopslab.models.agreement import Agreement
from aiopslab.models.run import EnvironmentChoice
from aiopslab.orchestrator.agreement import Question, agree, agree_with
from aiopslab.orchestrator.baselines import measure
from aiopslab.orchestrator.documents import read_journal
from aiopslab.problems import catalogue
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


@pytest.fixture
def kiosk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An app that is quicker to play than the hotel, for this process and the hosts it starts."""
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(CONTENT))
    catalogue.incidents.cache_clear()
    yield
    catalogue.incidents.cache_clear()


@pytest.mark.usefixtures("kiosk")
def test_a_run_of_several_agents_is_compared_without_being_played_again(tmp_path: Path) -> None:
    targets, agents = ["archive-port", "calm-partner-degraded"], ["statistical", "oracle"]
    kept, simulated = str(tmp_path / "kept"), str(tmp_path / "simulated")
    work = measure(targets, agents=agents, seeds=[0], environment=SAME, runs_dir=kept, hosts=None)
    scored = asyncio.run(work)
    assert {row.environment for row in scored} == {SAME.kind}
    [played] = (tmp_path / "kept").iterdir()
    question = Question([], SAME, runs_dir=simulated)
    row, calm = asyncio.run(agree_with(played, question))
    assert row.real == row.simulated
    assert row.simulated.restored
    assert calm.real == calm.simulated
    assert calm.staged
    with pytest.raises(UsageError, match="no incident of which, with seed 1"):
        asyncio.run(agree_with(played, replace(question, seed=1)))
    [other] = (tmp_path / "simulated").iterdir()
    with pytest.raises(UsageError, match="simulated world"):
        asyncio.run(agree_with(other, question))
