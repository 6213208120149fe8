"""Documents, journals, directories: what survives, what is never deleted; the public names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aiopslab
from aiopslab.errors import UsageError
from aiopslab.models.lock import Lock
from aiopslab.models.run import Limits, PlannedTrial, RunConfig, RunRecord
from aiopslab.models.trial import Step, Trial
from aiopslab.orchestrator import documents
from aiopslab.orchestrator.records import RunDirectory, TrialDirectory

STEP = Step(
    n=1, id="obs-1", tool="alerts", effect="read", arguments={}, ok=True, text="ü", start=0, end=2
)
TRIAL = Trial(
    id="t-1",
    problem="x-detection",
    incident="x",
    task="detection",
    agent="noop",
    model=None,
    attempt=1,
    seed=0,
    environment="sim",
    clock="stepped",
    outcome="infra_error",
    termination="error: ready",
    twin=None,
)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), plain))
def test_equal_values_give_equal_text(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert documents.encode(value) == documents.encode(backwards)


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        documents.encode({"p95": float("nan")})


def test_a_failed_write_leaves_the_document_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    documents.write(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        documents.write(path, {"a": float("nan")})
    assert path.read_text("utf-8") == '{\n  "a": 1\n}\n'


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    directory = TrialDirectory(tmp_path)
    directory.add_step(STEP)
    directory.add_step(STEP.model_copy(update={"n": 2}))
    path = tmp_path / "steps.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    assert directory.steps() == [STEP]


def test_a_line_is_what_ends_with_a_line_feed_whatever_a_text_holds(tmp_path: Path) -> None:
    directory = TrialDirectory(tmp_path)
    odd = STEP.model_copy(update={"text": "\x0b\x0c\x1c\x85\u2028\u2029\r\n"})
    directory.add_step(odd)
    directory.add_step(STEP)
    assert directory.steps() == [odd, STEP]


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    (tmp_path / "steps.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"steps\.jsonl:1"):
        TrialDirectory(tmp_path).steps()


def test_a_trial_is_complete_exactly_if_its_last_file_is_there(tmp_path: Path) -> None:
    directory = TrialDirectory(tmp_path / "x-detection__1")
    directory.open()
    directory.add_step(STEP)
    assert not directory.complete
    directory.finish(TRIAL)
    assert directory.complete
    assert directory.trial() == TRIAL


def test_opening_again_moves_what_is_there_aside_and_deletes_nothing(tmp_path: Path) -> None:
    directory = TrialDirectory(tmp_path / "trial")
    for _ in range(3):
        directory.open()
        directory.add_step(STEP)
        directory.finish(TRIAL)
    directory.open()
    assert not directory.complete
    assert directory.retries() == 3
    kept = sorted(p.relative_to(directory.path).as_posix() for p in directory.path.rglob("*.json*"))
    assert kept == [f"attempts/{n}/{f}" for n in (1, 2, 3) for f in ("steps.jsonl", "trial.json")]


def test_a_directory_without_a_run_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run at"):
        RunDirectory.find(tmp_path)


def test_a_record_that_is_not_one_says_where(tmp_path: Path) -> None:
    (tmp_path / "trial.json").write_text('{"schema": "aiopslab/trial@1"}', encoding="utf-8")
    with pytest.raises(UsageError, match="not a valid record: id: Field required"):
        TrialDirectory(tmp_path).trial()


def test_locks_name_every_difference() -> None:
    lock = Lock(
        version="1",
        harness="h",
        scoring_version="1",
        suite="s",
        incidents={"a": "1", "b": "2"},
        apps={},
        agent="x",
        rules="r",
    )
    other = lock.model_copy(update={"incidents": {"a": "9", "c": "3"}, "agent": "y"})
    assert lock.differences(lock) == []
    assert lock.differences(other) == [
        "agent: x -> y",
        "incidents.a: 1 -> 9",
        "incidents.b: 2 -> (absent)",
        "incidents.c: (absent) -> 3",
    ]


@pytest.mark.parametrize("clock", ["wall", "wall:0", "wall:-1", "fast", "stepped:2"])
def test_unknown_clocks_are_refused(clock: str) -> None:
    with pytest.raises(ValueError, match="is not a clock"):
        RunConfig(targets=["x"], clock=clock)


def test_a_configuration_reads_the_literals_people_write() -> None:
    config = RunConfig.model_validate(
        {
            "targets": ["x"],
            "clock": "wall:10",
            "agent_args": {"temperature": 0, "verbose": True, "style": "short"},
            "limits": {"virtual_s": "15m", "tokens": "200k"},
        }
    )
    assert config.clock_factor() == 10.0
    assert config.agent_args == {"temperature": "0", "verbose": "true", "style": "short"}
    assert config.limits == Limits(virtual_s=900.0, tokens=200_000)


def test_attempts_have_directories_of_their_own() -> None:
    plan = PlannedTrial(problem="x-detection", incident="x", task="detection", attempt=2)
    assert plan.directory == "x-detection__2"


def test_every_public_name_can_be_imported_and_the_list_is_sorted() -> None:
    assert aiopslab.__all__ == sorted(aiopslab.__all__)
    for name in aiopslab.__all__:
        assert getattr(aiopslab, name) is not None
    assert dir(aiopslab) == aiopslab.__all__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = aiopslab.nonsense


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import sys, aiopslab; print(sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = eval(out.stdout)
    banned = {"pydantic", "numpy", "pandas", "yaml", "duckdb", "openai", "langchain", "asyncio"}
    assert banned.isdisjoint(loaded)


def test_runs_of_equal_paths_on_different_hosts_have_different_opaque_names(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "nightly")
    run.open()
    config = RunConfig(targets=["lite"])
    names = []
    for started in ("2026-12-01T04:00:00.000Z", "2026-12-01T04:00:00.001Z"):
        wall: dict[str, float | str] = {"started": started}
        run.write(RunRecord(label="x", status="started", config=config, trials=[], wall=wall))
        names.append(run.token)
        wall["finished"] = "2026-12-01T05:00:00.000Z"
        run.write(RunRecord(label="x", status="success", config=config, trials=[], wall=wall))
        assert run.token == names[-1]
    assert names[0] != names[1]
