"""A terminal for tests: commands run in this process, on the in-memory lab of the orchestrator."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aiopslab.cli import main

LAB = ("-e", "orchestrator_fakes:FakeLab")


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as one JSON document."""
        found: dict[str, Any] = json.loads(self.out)
        return found


Command = Callable[..., Done]


@pytest.fixture
def aiopslab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command in an empty directory, without keys or content of the user's."""
    monkeypatch.chdir(tmp_path)
    for variable in ("AIOPSLAB_CONTENT", "OPENAI_API_KEY", "AIOPSLAB_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "orchestrator"))
    assert not sys.stdout.isatty()

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, out, err)

    return run


@pytest.fixture
def finished(aiopslab: Command) -> str:
    """The directory of a small finished run."""
    ended = aiopslab(
        "run", "one", *LAB, "-a", "orchestrator_fakes:Repairer", "--name", "done", "-n", "1", "-q"
    )
    assert ended.code == 0, ended.err
    return "runs/done"
