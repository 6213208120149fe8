"""The newcomer's first command, on the real app; minutes, hence apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from endtoend_cli import aiopslab, load, trials

from aiopslab.orchestrator.verdicts import differing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run's directory and what was printed."""
    cwd = tmp_path_factory.mktemp("hotel")
    done = aiopslab("run", "quickstart", "--name", "first", "--display", "plain", cwd=cwd)
    return cwd / "runs" / "first", done.stdout


def test_the_first_command_grades_twelve_problems(quickstart: tuple[Path, str]) -> None:
    directory, printed = quickstart
    found = trials(directory)
    assert len(found) == 12
    assert {load(d / "trial.json")["outcome"] for d in found.values()} <= {"passed", "failed"}
    for task in ("detection", "localization", "diagnosis", "mitigation"):
        assert task in printed
    assert "aiopslab" in printed.splitlines()[-1]


def test_a_problem_alone_gives_the_record_that_it_gave_in_company(
    quickstart: tuple[Path, str], tmp_path: Path
) -> None:
    name = "release-errors-mitigation"
    aiopslab("run", name, "--name", "alone", "-q", cwd=tmp_path, salt="41")
    alone = tmp_path / "runs" / "alone"
    assert differing(trials(quickstart[0])[f"{name}__1"], trials(alone)[f"{name}__1"]) == []
