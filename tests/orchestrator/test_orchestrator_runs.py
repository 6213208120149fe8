"""Runs on an in-memory lab: processes, records, retries, resuming, grading again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orchestrator_fakes as fakes
import pytest

from aiopslab.errors import InfraError, UsageError
from aiopslab.models.run import RunConfig
from aiopslab.orchestrator.progress import Progress
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.results import regrade
from aiopslab.orchestrator.run import RunReport, resume, run_sync

LAB = "orchestrator_fakes:FakeLab"


def config(tmp_path: Path, agent: str = "Repairer", **fields: Any) -> RunConfig:
    options = fields.pop("options", {})
    return RunConfig.model_validate(
        {
            "targets": ["all"],
            "agent": agent if agent in ("noop", "oracle") else f"orchestrator_fakes:{agent}",
            "environment": {"kind": LAB, "options": options},
            "runs_dir": str(tmp_path),
            "name": "run",
            "concurrency": 2,
            "retry_infra": 0,
            **fields,
        }
    )


def outcomes(report: RunReport) -> dict[str, str]:
    run = RunDirectory(report.directory)
    return {p.directory: run.trial(p).trial().outcome for p in report.record.trials}


def records(root: Path) -> dict[str, bytes]:
    """Every file of the trials and the results, without the wall clock.

    The lock is left out: it digests the checkout's sources, which may be edited meanwhile.
    """
    outside = ("events.jsonl", "hosts.log", "run.json", "lock.json")
    found = {}
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.name in outside:
            continue
        data = path.read_bytes()
        if path.name == "trial.json":
            trial = json.loads(data)
            del trial["wall"]
            data = json.dumps(trial).encode()
        found[path.relative_to(root).as_posix()] = data
    return found


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    return run_sync(config(tmp_path_factory.mktemp("runs"), seed=7))


def test_every_planned_trial_leaves_a_complete_record(repaired: RunReport) -> None:
    run = RunDirectory(repaired.directory)
    assert repaired.record.status == "success"
    assert len(repaired.record.trials) == 12
    for plan in repaired.record.trials:
        names = {p.name for p in run.trial(plan).path.iterdir()}
        expected = {"trial.json", "answer.json", "evidence.json", "grade.json", "steps.jsonl"}
        assert names == expected | {"slis.json", "telemetry", "truth"}
    assert run.results() == repaired.results


def test_a_trial_that_is_decided_is_not_lost_where_that_cannot_be_told(tmp_path: Path) -> None:
    report = run_sync(config(tmp_path, tasks=["mitigation"], options={"fail": "series"}))
    run = RunDirectory(report.directory)
    assert set(outcomes(report).values()) == {"passed"}
    for plan in report.record.trials:
        trial = run.trial(plan)
        assert trial.slis() is None
        said = (trial.path / "error.txt").read_text(encoding="utf-8")
        assert said == "slis.json is missing: traffic: GET slis: away\n"


def test_a_run_whose_lab_leaves_something_is_closed_and_says_what_takes_it_away(
    tmp_path: Path,
) -> None:
    wanted = config(tmp_path, targets=["one"], tasks=["diagnosis"], options={"fail": "sweep"})
    with pytest.raises(InfraError) as failed:
        run_sync(wanted)
    path = tmp_path / "run"
    said = f"clean: here: still there: namespaces/web; aiopslab clean --run {path} removes it"
    assert str(failed.value) == said
    run = RunDirectory(path)
    assert run.record().status == "success"
    assert run.results().headline.strict == 1.0


def test_what_users_experienced_is_kept_from_before_the_incident_to_the_end_of_settling(
    repaired: RunReport,
) -> None:
    run = RunDirectory(repaired.directory)
    plan = next(p for p in repaired.record.trials if p.problem == "one-mitigation")
    series, truth = run.trial(plan).slis(), run.trial(plan).truth()
    assert series is not None
    (journey,) = series.journeys
    assert truth.injected_at is not None
    assert series.start <= truth.injected_at - 300
    handover = (truth.handover_at - series.start) / series.bucket_s
    assert handover == round(handover)
    share = [good / n for good, n in zip(journey.succeeded, journey.offered, strict=True)]
    assert (share[0], share[round(handover) - 1], share[-1]) == (1.0, 0.0, 1.0)
    end = series.start + len(share) * series.bucket_s
    assert run.trial(plan).evidence().settle[-1][0].end == pytest.approx(end, abs=series.bucket_s)


def test_oracle_scores_everything_and_noop_no_mitigation_of_a_fault(tmp_path: Path) -> None:
    oracle = run_sync(config(tmp_path, "oracle", name="oracle"))
    assert set(outcomes(oracle).values()) == {"passed"}
    assert oracle.results.headline.strict == 1.0
    noop = run_sync(config(tmp_path, "noop", name="noop", tasks=["mitigation"]))
    assert outcomes(noop) == {
        "calm-mitigation__1": "passed",
        "one-mitigation__1": "failed",
        "two-mitigation__1": "failed",
    }


def test_trials_of_one_incident_share_their_world_up_to_hand_over(repaired: RunReport) -> None:
    run = RunDirectory(repaired.directory)
    plans = [p for p in repaired.record.trials if p.incident == "one" and p.task != "detection"]
    truths = {run.trial(p).truth().handover_at for p in plans}
    assert len(truths) == 1


def test_two_runs_with_one_seed_leave_identical_bytes(repaired: RunReport, tmp_path: Path) -> None:
    again = run_sync(config(tmp_path, seed=7, concurrency=1))
    assert records(again.directory) == records(repaired.directory)


def test_another_seed_gives_other_telemetry(repaired: RunReport, tmp_path: Path) -> None:
    other = run_sync(config(tmp_path, seed=8, targets=["one"], tasks=["diagnosis"]))
    path = "trials/one-diagnosis__1/telemetry/samples.parquet"
    assert (other.directory / path).read_bytes() != (repaired.directory / path).read_bytes()


def test_from_cold_the_records_are_the_same_as_forked(repaired: RunReport, tmp_path: Path) -> None:
    cold = run_sync(config(tmp_path, seed=7, options={"cold": "1"}))
    assert records(cold.directory) == records(repaired.directory)


def test_an_agent_object_plays_in_this_process(repaired: RunReport, tmp_path: Path) -> None:
    report = run_sync(config(tmp_path, seed=7), agent=fakes.Repairer())
    assert records(report.directory) == records(repaired.directory)


def test_attempts_are_drawn_with_seeds_of_their_own(tmp_path: Path) -> None:
    report = run_sync(config(tmp_path, targets=["one"], tasks=["mitigation"], attempts=3))
    run = RunDirectory(report.directory)
    assert [run.trial(p).trial().seed for p in report.record.trials] == [0, 1, 2]
    assert report.results.tasks[0].pass_hat_k == {"1": 1.0, "2": 1.0, "3": 1.0}


def test_an_agent_that_ends_its_process_has_failed_and_is_not_given_another_try(
    tmp_path: Path,
) -> None:
    report = run_sync(config(tmp_path, "Suicidal", targets=["one"]))
    assert set(outcomes(report).values()) == {"agent_error"}
    directory = RunDirectory(report.directory).trial(report.record.trials[0])
    assert directory.trial().error == "the process ended early with status 3"
    assert directory.retries() == 0
    assert report.results.headline.strict == 0.0
    assert regrade(RunDirectory(report.directory)).up == []


@pytest.mark.parametrize(("how", "status"), [("exit", 4), ("interrupt", 130)])
def test_an_agent_that_ends_the_program_from_a_task_of_its_own_has_failed(
    tmp_path: Path, how: str, status: int
) -> None:
    asked = config(tmp_path, "Divided", targets=["one"], agent_args={"how": how})
    report = run_sync(asked.model_copy(update={"tasks": ["localization"]}))
    assert set(outcomes(report).values()) == {"agent_error"}
    directory = RunDirectory(report.directory).trial(report.record.trials[0])
    assert directory.trial().error == f"the process ended early with status {status}"


def test_an_agent_whose_constructor_raises_has_failed_and_is_not_given_another_try(
    tmp_path: Path,
) -> None:
    report = run_sync(config(tmp_path, "Unbuilt", targets=["one"], retry_infra=1))
    assert set(outcomes(report).values()) == {"agent_error"}
    directory = RunDirectory(report.directory).trial(report.record.trials[0])
    assert directory.trial().error == "ValueError: no settings"
    assert directory.retries() == 0
    assert "no settings" in (directory.path / "error.txt").read_text("utf-8")
    said = (report.directory / "hosts.log").read_text("utf-8")
    assert said == "", "nothing but what agents print"


def test_a_failed_lab_is_recorded_with_its_stage_and_has_no_headline(tmp_path: Path) -> None:
    report = run_sync(config(tmp_path, targets=["one"], options={"fail": "boot"}))
    trials = [RunDirectory(report.directory).trial(p).trial() for p in report.record.trials]
    assert {t.outcome for t in trials} == {"infra_error"}
    assert {t.error for t in trials} == {"ready: pod web-0 is not ready"}
    assert report.results.overall.n_infra == 4
    assert report.results.overall.strict.value == 0.0
    assert report.results.overall.completed.value is None
    assert report.results.headline.strict is None


def test_an_infra_failure_is_retried_and_the_superseded_try_is_kept(tmp_path: Path) -> None:
    options = {"fail_once": str(tmp_path / "marker")}
    asked = config(tmp_path, targets=["one"], options=options, retry_infra=1, concurrency=1)
    report = run_sync(asked)
    assert "infra_error" not in outcomes(report).values()
    first = RunDirectory(report.directory).trial(report.record.trials[0])
    assert first.retries() == 1
    kept = json.loads((first.path / "attempts" / "1" / "trial.json").read_text("utf-8"))
    assert kept["outcome"] == "infra_error"


def test_a_host_that_dies_is_replaced(tmp_path: Path) -> None:
    options = {"die": str(tmp_path / "marker")}
    report = run_sync(config(tmp_path, targets=["one", "two"], options=options, concurrency=1))
    found = outcomes(report)
    assert {v for k, v in found.items() if k.startswith("one")} == {"infra_error"}
    assert "infra_error" not in {v for k, v in found.items() if k.startswith("two")}


def test_hosts_are_spread_over_the_clusters_of_a_run(tmp_path: Path) -> None:
    options = {"cold": "1", "clusters": "a,b"}
    report = run_sync(config(tmp_path, targets=["one"], options=options, concurrency=4))
    run = RunDirectory(report.directory)
    where = [str(run.trial(p).trial().wall["cluster"]) for p in report.record.trials]
    assert Counter(where) == {"a": 2, "b": 2}
    lines = (run.path / "events.jsonl").read_text("utf-8").splitlines()
    started = [e for e in map(json.loads, lines) if e["event"] == "trial_started"]
    assert Counter(e["cluster"] for e in started) == {"a": 2, "b": 2}


def test_a_host_that_dies_is_replaced_on_its_cluster(tmp_path: Path) -> None:
    options = {"cold": "1", "clusters": "a,b", "die": str(tmp_path / "marker")}
    asked = config(tmp_path, targets=["one", "two"], options=options, concurrency=1)
    report = run_sync(asked)
    run = RunDirectory(report.directory)
    trials = [run.trial(p).trial() for p in report.record.trials]
    assert {t.wall.get("cluster") for t in trials if t.incident == "two"} == {"a"}


def test_each_cluster_has_a_host_unless_the_run_says_otherwise(tmp_path: Path) -> None:
    options = {"cold": "1", "clusters": "a,b,c"}
    report = run_sync(config(tmp_path, targets=["one"], options=options, concurrency=None))
    run = RunDirectory(report.directory)
    where = {run.trial(p).trial().wall["cluster"] for p in report.record.trials}
    assert where == {"a", "b", "c"}


def test_a_cluster_that_must_not_be_used_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="'prod' must not be used"):
        run_sync(config(tmp_path, options={"clusters": "a,prod"}))
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_up_to_all_trials(tmp_path: Path) -> None:
    seen: list[Progress] = []
    run_sync(config(tmp_path, targets=["one"]), progress=seen.append)
    assert seen[0].kind == "run_started"
    assert (seen[-1].kind, seen[-1].done, seen[-1].planned) == ("run_finished", 4, 4)
    assert [p.tool for p in seen if p.trial == "one-detection__1" and p.tool] == [
        "alerts",
        "submit",
    ]


def start_gated(tmp_path: Path, gate: Path) -> subprocess.Popen[bytes]:
    """Start a run in a process of its own that stops for good inside its third trial."""
    os.mkfifo(gate)
    asked = config(tmp_path, "Gated", seed=7, agent_args={"gate": str(gate)}, concurrency=1)
    script = (
        # A shell's background job, and so its children, would ignore interrupts.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import sys; from aiopslab.models.run import RunConfig;"
        "from aiopslab.orchestrator.run import run_sync;"
        "run_sync(RunConfig.model_validate_json(sys.argv[1]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, asked.model_dump_json(by_alias=True)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stderr=subprocess.DEVNULL,
    )


def stop_at_gate(process: subprocess.Popen[bytes], gate: Path, with_signal: signal.Signals) -> None:
    """Signal the run once its trial is at the gate; returns when the whole tree is gone."""
    with gate.open(encoding="utf-8") as fifo:
        assert fifo.readline() == "here\n"
        process.send_signal(with_signal)
        # The FIFO ends when the trial's process does: nothing outlives the run.
        assert fifo.read() == ""
    process.wait()
    gate.unlink()


def test_a_killed_run_resumes_to_the_results_of_an_uninterrupted_one(
    repaired: RunReport, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    stop_at_gate(start_gated(tmp_path, gate), gate, signal.SIGKILL)
    directory = RunDirectory(tmp_path / "run")
    assert directory.record().status == "started"
    plans = directory.record().trials
    done = [p for p in plans if directory.trial(p).complete]
    assert 0 < len(done) < len(plans)
    finished = {p: directory.trial(p).trial().wall["finished"] for p in done}

    report = asyncio.run(resume(tmp_path / "run", force=True))

    assert {p: directory.trial(p).trial().wall["finished"] for p in done} == finished
    assert report.results == repaired.results.model_copy(update={"agent": report.results.agent})
    assert report.record.status == "success"


def test_a_run_under_way_is_not_resumed_beside_itself(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    process = start_gated(tmp_path, gate)
    directory = RunDirectory(tmp_path / "run")
    with gate.open(encoding="utf-8") as fifo:
        assert fifo.readline() == "here\n"
        with pytest.raises(UsageError, match="is under way"):
            asyncio.run(resume(directory.path, force=True))
        process.kill()
        fifo.read()
    process.wait()
    gate.unlink()
    assert not any(directory.trial(p).retries() for p in directory.record().trials)


def test_an_agent_that_lacks_something_is_refused_before_a_run_is_resumed(tmp_path: Path) -> None:
    report = run_sync(config(tmp_path, targets=["calm"], tasks=["detection"]))
    plan = report.record.trials[0]
    trial = RunDirectory(report.directory).trial(plan)
    (trial.path / "trial.json").unlink()
    record = report.record.config.model_copy(update={"agent": "gone"})
    RunDirectory(report.directory).write(report.record.model_copy(update={"config": record}))
    with pytest.raises(UsageError, match="gone"):
        asyncio.run(resume(report.directory, force=True))
    assert not trial.complete


def test_an_interrupted_run_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    process = start_gated(tmp_path, gate)
    stop_at_gate(process, gate, signal.SIGINT)
    assert process.returncode != 0
    directory = RunDirectory(tmp_path / "run")
    assert directory.record().status == "cancelled"
    assert directory.results().headline.strict is None


def test_resume_refuses_a_changed_lock_and_names_what_differs(tmp_path: Path) -> None:
    report = run_sync(config(tmp_path, targets=["calm"], tasks=["detection"]))
    lock_file = report.directory / "lock.json"
    lock = json.loads(lock_file.read_text("utf-8"))
    lock["incidents"]["calm"] = "0" * 64
    lock_file.write_text(json.dumps(lock), encoding="utf-8")
    with pytest.raises(UsageError, match=r"incidents\.calm: 000000000000 -> "):
        asyncio.run(resume(report.directory))
    assert asyncio.run(resume(report.directory, force=True)).results == report.results


def test_regrading_reproduces_every_grade_from_the_records_alone(tmp_path: Path) -> None:
    report = run_sync(config(tmp_path, seed=7))
    before = records(report.directory)
    for grade in report.directory.glob("trials/*/grade.json"):
        grade.unlink()
    found = regrade(RunDirectory(report.directory))
    assert (found.up, found.down, found.n_graded) == ([], [], 12)
    assert records(report.directory) == before


def test_regrading_reports_a_verdict_that_changes(tmp_path: Path) -> None:
    report = run_sync(config(tmp_path, targets=["one"], tasks=["localization"]))
    answer = report.directory / "trials" / "one-localization__1" / "answer.json"
    answer.write_text(answer.read_text("utf-8").replace("deployment/web", "node-a"), "utf-8")
    found = regrade(RunDirectory(report.directory))
    assert found.down == ["one-localization__1"]
    assert found.after.headline.strict == 0.0
    (change,) = found.changes
    assert (change.before, change.after) == ("passed", "failed")
    assert [(c.before, c.after) for c in change.checks if c.gates] == [(True, False)]
    assert {s.score for s in change.scores} >= {"ac_at_1", "brier", "mrr"}
    assert regrade(RunDirectory(report.directory)).changes == []


def test_an_existing_run_is_never_written_over(tmp_path: Path) -> None:
    run_sync(config(tmp_path, targets=["calm"], tasks=["detection"]))
    with pytest.raises(UsageError, match="exists"):
        run_sync(config(tmp_path, targets=["calm"], tasks=["detection"]))


def test_nothing_left_to_run_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is left"):
        run_sync(config(tmp_path, exclude=["*"]))
