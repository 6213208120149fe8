"""The main job on a small app: run, record, regrade, resume; and that a seed decides everything."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path

import pytest
from endtoend_cli import (
    SEED,
    SUITE,
    aiopslab,
    load,
    run_kiosk,
    start,
    trials,
    without_wall,
)

from aiopslab.agents.loading import load as load_agent
from aiopslab.models.run import RunConfig
from aiopslab.orchestrator.run import run
from aiopslab.orchestrator.verdicts import differing

SIGNALS = {"alerts", "changes", "events", "logs", "samples", "spans"}
DOCUMENTS = {"answer.json", "evidence.json", "grade.json", "steps.jsonl", "trial.json"}


def test_a_run_leaves_a_complete_record_of_graded_trials(whole_run: Path) -> None:
    assert {p.name for p in whole_run.iterdir()} >= {
        "run.json", "lock.json", "results.json", "events.jsonl", "trials",
    }  # fmt: skip
    found = trials(whole_run)
    assert len(found) == 8
    for name, directory in found.items():
        assert {p.name for p in directory.iterdir()} >= DOCUMENTS, name
        assert (directory / "truth" / "truth.json").is_file()
        assert {p.stem for p in (directory / "telemetry").iterdir()} == SIGNALS
        assert load(directory / "trial.json")["outcome"] in ("passed", "failed")
    assert load(whole_run / "run.json")["status"] == "success"
    assert load(whole_run / "results.json")["overall"]["n_completed"] == 8


def test_what_the_agent_is_told_is_not_what_people_read(whole_run: Path) -> None:
    for directory in trials(whole_run).values():
        trial = load(directory / "trial.json")
        assert trial["id"].startswith("t-")
        text = (directory / "steps.jsonl").read_text(encoding="utf-8")
        assert trial["incident"] not in text
        assert trial["problem"] not in text


def test_two_processes_with_one_seed_write_the_same_records(
    whole_run: Path, tmp_path: Path
) -> None:
    again = run_kiosk(tmp_path, "again", "-n", "1", salt="77", targets="archive-port")
    assert len(trials(again)) == 4
    for name, directory in trials(again).items():
        assert differing(trials(whole_run)[name], directory) == [], name


def test_another_seed_is_another_world(whole_run: Path, tmp_path: Path) -> None:
    name = "archive-port-mitigation"
    other = run_kiosk(tmp_path, "other", "--seed", "4", targets=name)
    different = differing(trials(whole_run)[f"{name}__1"], trials(other)[f"{name}__1"])
    assert {f"telemetry/{s}.parquet" for s in ("spans", "logs", "samples")} <= set(different)


def test_a_killed_run_resumes_to_the_same_results(whole_run: Path, tmp_path: Path) -> None:
    process = start(
        "run", SUITE, "--name", "cut", "--seed", SEED, "-n", "1", "--display", "plain",
        cwd=tmp_path, salt="5",
    )  # fmt: skip
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if line.startswith("[3/8]"):
                break
        process.send_signal(signal.SIGKILL)
    cut = tmp_path / "runs" / "cut"
    finished = {n: d for n, d in trials(cut).items() if (d / "trial.json").exists()}
    kept = {n: (d / "trial.json").read_bytes() for n, d in finished.items()}
    assert 3 <= len(kept) < 8
    assert not (cut / "results.json").exists()

    aiopslab("resume", str(cut), "--display", "none", cwd=tmp_path, salt="6")

    assert {n: (d / "trial.json").read_bytes() for n, d in finished.items()} == kept
    assert list(trials(cut)) == list(trials(whole_run))
    for name, directory in trials(cut).items():
        # What the killed process had begun is kept beside the record.
        shutil.rmtree(directory / "attempts", ignore_errors=True)
        assert differing(trials(whole_run)[name], directory) == [], name
    assert load(cut / "results.json") == load(whole_run / "results.json")
    assert load(cut / "run.json")["status"] == "success"


def test_a_world_from_cold_gives_the_same_record_as_a_forked_one(
    whole_run: Path, tmp_path: Path, kiosk_content: None
) -> None:
    config = RunConfig(
        targets=["archive-port-mitigation", "archive-port-detection"],
        agent="statistical",
        seed=int(SEED),
        runs_dir=str(tmp_path),
        name="cold",
    )
    # An agent that is an object of this process is never forked: each trial boots its own world.
    agent = load_agent("statistical").build({}, None)
    report = asyncio.run(run(config, agent=agent))
    assert len(trials(report.directory)) == 2
    for name, directory in trials(report.directory).items():
        assert differing(directory, trials(whole_run)[name]) == [], name


def test_regrading_reproduces_every_grade_from_the_record_alone(
    whole_run: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole_run, copy)
    for directory in trials(copy).values():
        (directory / "grade.json").unlink()
        shutil.rmtree(directory / "telemetry")
    (copy / "results.json").unlink()

    aiopslab("regrade", str(copy), cwd=tmp_path, salt="9")

    for name, directory in trials(copy).items():
        grade = directory / "grade.json"
        assert grade.read_bytes() == (trials(whole_run)[name] / "grade.json").read_bytes(), name
        assert without_wall(directory / "trial.json") == without_wall(
            trials(whole_run)[name] / "trial.json"
        )
    assert load(copy / "results.json") == load(whole_run / "results.json")


def test_a_forged_grade_does_not_survive_regrading(whole_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole_run, copy, ignore=shutil.ignore_patterns("telemetry"))
    name = next(n for n in trials(copy) if "mitigation" in n)
    answer = trials(copy)[name] / "answer.json"
    assert load(answer) is not None
    answer.write_text("null\n", encoding="utf-8")
    done = aiopslab("regrade", str(copy), cwd=tmp_path)
    assert not load(trials(copy)[name] / "grade.json")["passed"]
    assert done.stdout


@pytest.mark.parametrize(
    ("agent", "task", "share"),
    [("oracle", None, 1.0), ("noop", "mitigation", 0.0)],
)
def test_the_bounds_of_the_scale_hold(
    tmp_path: Path, agent: str, task: str | None, share: float
) -> None:
    narrowed = ("--task-type", task) if task else ()
    done = run_kiosk(tmp_path, agent, "-a", agent, "-n", "2", "--no-telemetry", *narrowed)
    outcomes = [load(d / "trial.json")["outcome"] for d in trials(done).values()]
    assert outcomes
    assert outcomes.count("passed") / len(outcomes) == share
