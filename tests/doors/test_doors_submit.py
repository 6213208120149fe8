"""``aiopslab submit``: the forms an answer may be given in, and how the command ends."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from doors_fakes import Trial, served

from aiopslab.cli import EXIT_BUDGET, EXIT_INVALID, EXIT_PREFLIGHT, EXIT_USAGE, main

ANSWER = {"anomaly": True, "confidence": 0.9}


def submit(trial: Trial, tmp_path: Path, *arguments: str) -> int:
    """Run the command against a trial; return its exit code."""

    def command() -> int:
        with pytest.raises(SystemExit) as ended:
            main(["submit", *arguments])
        return int(ended.value.code or 0)

    async def run() -> int:
        async with served(trial, tmp_path) as doors:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("AIOPSLAB_URL", f"{doors.api}")
                patch.setenv("AIOPSLAB_TOKEN", doors.token)
                return await asyncio.to_thread(command)

    return asyncio.run(run())


def test_an_answer_is_taken_as_json_from_a_file_from_standard_input_or_by_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(ANSWER), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(ANSWER)))
    fields = {"anomaly": "true", "confidence": "0.9"}
    forms: list[tuple[tuple[str, ...], Any]] = [
        ((json.dumps(ANSWER),), ANSWER),
        (("--file", str(file)), ANSWER),
        (("--file", "-"), ANSWER),
        (("--anomaly", "true", "--confidence", "0.9"), fields),
    ]
    for arguments, answer in forms:
        trial = Trial()
        assert submit(trial, tmp_path, *arguments) == 0
        assert trial.answer == answer


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("{",), ("[1]",), ("[" * 100_000,), ("{}", "--anomaly", "true"),
        ("--file", "/no/such/file"), ("{}", "--url", "nowhere"), ("{}", "--token", "forged"),
    ],
)  # fmt: skip
def test_what_is_no_answer_or_no_trial_is_a_mistake_of_use(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    trial = Trial()
    assert submit(trial, tmp_path, *arguments) == EXIT_USAGE
    assert trial.calls == []


def test_a_refused_answer_is_explained_and_may_be_repaired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = Trial()
    assert submit(trial, tmp_path, "{}") == EXIT_INVALID
    assert "missing argument" in capsys.readouterr().err
    assert submit(trial, tmp_path, json.dumps(ANSWER), "--json") == 0
    assert json.loads(capsys.readouterr().out)["data"]["text"] == "submitted"
    assert submit(trial, tmp_path, json.dumps(ANSWER)) == EXIT_BUDGET
    assert "the trial is over" in capsys.readouterr().err


def test_a_trial_that_is_gone_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["submit", "{}", "--url", "http://127.0.0.1:1/api"])
    assert ended.value.code == EXIT_PREFLIGHT
    assert "no trial answers" in capsys.readouterr().err
