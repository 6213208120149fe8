"""``export``: runs and trials, where the files go, what is never in them, and mistakes."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aiopslab.models.run import PlannedTrial, RunConfig, RunRecord
from aiopslab.models.signal import Change
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.telemetry.export import FORMATS
from aiopslab.telemetry.store import Store

SECRET = "only-the-answer-key-says-this"
TASKS = ("detection", "localization", "diagnosis", "mitigation")
TRIALS = [f"one-{task}__1" for task in TASKS]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The record of a finished run, with as much of it as an export can meet."""
    plans = [PlannedTrial(problem=f"one-{t}", incident="one", task=t, attempt=1) for t in TASKS]
    directory = RunDirectory(Path("runs/done"))
    with contextlib.chdir(tmp_path):
        directory.open()
        directory.write(
            RunRecord(
                label="one", status="success", config=RunConfig(targets=["one"]), trials=plans
            )
        )
        for n, plan in enumerate(plans):
            trial = directory.trial(plan)
            for name in ("trial.json", "evidence.json", "truth/truth.json"):
                path = trial.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"said": SECRET}), encoding="utf-8")
            store = Store()
            for i in range(n + 1):
                store.span(1, i + 1, 0, "web", "web-1", "GET /", "server", i, i + 1, "", {"n": i})
            store.log(1.0, "web", "shop", "web-1", "web", "INFO", "hello")
            target = store.target({"job": "web"})
            target.write(5.0, [target.column("load", ())], [0.5])
            store.change(Change(time=1.0, actor="ci", kind="rollout", component="web", summary="s"))
            store.write_parquet(trial.telemetry)
    return directory.path


def files(directory: Path) -> list[str]:
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_is_exported_with_a_directory_for_each_trial(aiopslab, run, name) -> None:
    done = aiopslab("export", str(run), "-f", name, "-o", "out")
    assert done.code == 0, done.err
    for trial in TRIALS:
        made = {file for signal in FORMATS[name].files.values() for file in signal}
        assert files(Path("out") / trial) == sorted(made)
    assert done.err.splitlines()[-1] == f"[4/4] {TRIALS[-1]}"
    assert done.out.splitlines()[-1] == f"{name} in out"


def test_a_trial_is_exported_into_a_directory_that_bears_its_name(aiopslab, run) -> None:
    done = aiopslab("export", str(run / "trials" / TRIALS[0]), "-f", "csv", "-s", "spans", "-q")
    assert (done.code, done.err) == (0, "")
    assert files(Path(f"{TRIALS[0]}-csv")) == ["spans.csv"]


def test_the_document_counts_files_rows_and_bytes(aiopslab, run) -> None:
    done = aiopslab("export", str(run), "-f", "otlp", "-s", "spans", "-s", "logs", "--json")
    assert done.document["schema"] == "aiopslab/export@1"
    data = done.document["data"]
    assert (data["format"], data["directory"]) == ("otlp", "done-otlp")
    assert [t["trial"] for t in data["trials"]] == TRIALS
    for n, trial in enumerate(data["trials"]):
        rows = {f["path"]: f["rows"] for f in trial["files"]}
        assert rows == {
            f"{trial['trial']}/{file}": count
            for file, count in [
                ("traces.jsonl", n + 1), ("traces.binpb", n + 1), ("logs.jsonl", 1),
                ("logs.binpb", 1),
            ]
        }  # fmt: skip
        for file in trial["files"]:
            assert (Path("done-otlp") / file["path"]).stat().st_size == file["bytes"]


def test_nothing_but_telemetry_is_exported(aiopslab, run) -> None:
    for name in FORMATS:
        assert aiopslab("export", str(run), "-f", name, "-o", name).code == 0
        for path in Path(name).rglob("*"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes()


def test_a_second_export_to_the_same_place_needs_force(aiopslab, run) -> None:
    command = ("export", str(run), "-f", "csv", "-s", "changes", "-o", "out")
    assert aiopslab(*command).code == 0
    before = (Path("out") / TRIALS[0] / "changes.csv").read_bytes()
    again = aiopslab(*command)
    assert again.code == 2
    assert "not empty" in again.err
    assert "--force" in again.err
    assert aiopslab(*command, "--force").code == 0
    assert (Path("out") / TRIALS[0] / "changes.csv").read_bytes() == before


def test_trials_without_telemetry_are_named(aiopslab, run) -> None:
    shutil.rmtree(run / "trials" / TRIALS[1] / "telemetry")
    done = aiopslab("export", str(run), "-f", "parquet", "--json")
    assert done.document["data"]["without_telemetry"] == [TRIALS[1]]
    assert not (Path("done-parquet") / TRIALS[1]).exists()
    said = aiopslab("export", str(run), "-f", "parquet", "--force").out
    assert f"1 trials kept no telemetry: {TRIALS[1]}" in said


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["runs/none", "-f", "csv"], "'runs/none' does not exist", "aiopslab list runs"),
        (["runs", "-f", "csv"], "neither a run nor a finished trial", "aiopslab list runs"),
        (["{run}", "-f", "cvs"], "format 'cvs' is unknown", "did you mean 'csv'"),
        (["{run}", "-f", "csv", "-s", "metrics"], "signal 'metrics' is unknown", "samples"),
        (["{run}", "-f", "openmetrics", "-s", "logs"], "no form for 'logs'", "parquet, csv, otlp"),
        (["{run}"], "--format", ""),
    ],
)
def test_mistakes_are_answered_in_one_line_with_what_to_type(
    aiopslab, run, arguments, said, hint
) -> None:
    done = aiopslab("export", *(a.format(run=run) for a in arguments))
    assert done.code == 2
    assert said in done.err
    assert hint in done.err
    assert "Traceback" not in done.err
    assert not [p for p in Path().iterdir() if p.name != "runs"]


def test_a_trial_that_is_under_way_is_left_out(aiopslab, run) -> None:
    (run / "trials" / TRIALS[2] / "trial.json").unlink()
    done = aiopslab("export", str(run), "-f", "parquet", "--json")
    assert done.document["data"]["without_telemetry"] == [TRIALS[2]]
    refused = aiopslab("export", str(run / "trials" / TRIALS[2]), "-f", "parquet")
    assert "neither a run nor a finished trial" in refused.err


def test_what_an_agent_sent_is_exported_where_it_is_asked_for(aiopslab, run) -> None:
    command = ("export", str(run), "-f", "csv", "-s", "spans", "-q", "--agent", "-o", "mine")
    refused = aiopslab(*command)
    assert refused.code == 2
    assert "no telemetry of an agent" in refused.err
    shutil.copytree(
        run / "trials" / TRIALS[3] / "telemetry", run / "trials" / TRIALS[0] / "agent_telemetry"
    )
    assert aiopslab(*command).code == 0
    assert files(Path("mine")) == [f"{TRIALS[0]}/spans.csv"]
    assert (Path("mine") / TRIALS[0] / "spans.csv").read_text("utf-8").count("\n") == 1 + 4


def test_a_run_that_kept_no_telemetry_says_why(aiopslab, run) -> None:
    for trial in TRIALS:
        shutil.rmtree(run / "trials" / trial / "telemetry")
    for record in (run, run / "trials" / TRIALS[0]):
        done = aiopslab("export", str(record), "-f", "csv", "--json")
        assert done.code == 2
        assert "kept no telemetry" in done.document["error"]["message"]
        assert "--no-telemetry" in done.document["error"]["hint"]


def test_the_command_explains_itself_without_loading_what_it_needs(tmp_path) -> None:
    listing = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    done = subprocess.run(
        [sys.executable, "-c", f"{listing}; from aiopslab.cli import main; main(['export', '-h'])"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "$ aiopslab export" in done.stdout
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert not loaded & {"duckdb", "pandas", "opentelemetry", "google", "numpy"}
