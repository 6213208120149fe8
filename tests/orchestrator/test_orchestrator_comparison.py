"""Runs on an in-memory lab against each other: what is paired, what is not, and what is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiopslab.errors import UsageError
from aiopslab.grading import SCORING_VERSION
from aiopslab.models.run import SEVERAL, PlannedTrial, RunConfig
from aiopslab.models.task import TASKS
from aiopslab.orchestrator.comparison import compare
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.results import regrade
from aiopslab.orchestrator.run import run

LAB = "orchestrator_fakes:FakeLab"


def made(folder: Path, name: str, agent: str, **fields: Any) -> Path:
    """Make a run of two incidents, eight trials, unless told otherwise."""
    trials = fields.pop("trials", None)
    config = RunConfig.model_validate(
        {
            "targets": ["one", "two"],
            "agent": agent,
            "environment": {"kind": LAB},
            "runs_dir": str(folder),
            "name": name,
            "concurrency": 1,
            **fields,
        }
    )
    return asyncio.run(run(config, trials=trials)).directory


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def noop(folder: Path) -> Path:
    return made(folder, "noop", "noop")


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Path:
    return made(folder, "oracle", "oracle")


@pytest.fixture(scope="module")
def several(folder: Path) -> Path:
    return made(folder, "several", SEVERAL, targets=["one"], trials=shared("noop", "oracle"))


Copy = Callable[..., Path]


@pytest.fixture
def copied(tmp_path: Path) -> Copy:
    """Copy a run, its configuration told otherwise."""

    def copy(run: Path, name: str = "copy", **config: Any) -> Path:
        path = tmp_path / name
        shutil.copytree(run, path)
        was = json.loads((path / "run.json").read_text("utf-8"))["config"]
        edit(path / "run.json", config=was | config)
        return path

    return copy


def edit(path: Path, **fields: Any) -> None:
    document = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(document | fields), encoding="utf-8")


def shared(*agents: str, times: int = 1) -> list[PlannedTrial]:
    """Trials of one incident by several agents, as baselines plan them."""
    return [
        PlannedTrial(
            problem=":".join(["one", agent, *(["again"] * n), "mitigation"]),
            incident="one", task="mitigation", attempt=1, agent=agent, verdict_only=True,
        )
        for agent in agents
        for n in range(times)
    ]  # fmt: skip


def test_a_run_does_not_differ_from_itself(oracle: Path) -> None:
    found = compare(oracle, oracle)
    assert (found.overall.n, found.overall.gained, found.overall.lost) == (8, 0, 0)
    assert found.flips == found.unpaired == found.locks == found.settings == []
    assert (found.worse, found.better, found.undecided) == ([], [], "")
    assert found.coverage == 1.0
    assert all(s.difference.value == 0.0 for s in found.scores)


def test_from_noop_to_oracle_every_problem_flips(noop: Path, oracle: Path) -> None:
    found = compare(noop, oracle)
    assert [f.problem for f in found.flips] == sorted(
        f"{i}-{t}" for i in ("one", "two") for t in TASKS
    )
    assert all(f.gained and (f.a, f.b) == ("failed", "passed") for f in found.flips)
    assert (found.better, found.worse) == (["all"], [])
    assert (found.a.agent, found.b.agent) == ("noop", "oracle")
    assert found.settings == ["agent: noop -> oracle"]
    back = compare(oracle, noop)
    assert (back.better, back.worse) == ([], ["all"])
    assert not any(f.gained for f in back.flips)
    slower = next(s for s in back.scores if s.score == "slo_violation_s")
    assert slower.mean_b > slower.mean_a


def test_attempts_are_paired_by_their_seed(folder: Path, copied: Copy) -> None:
    early = made(folder, "early", "noop", targets=["one"], tasks=["mitigation"], attempts=3)
    found = compare(early, copied(early, seed=2))
    told = {(u.seed, u.reason) for u in found.unpaired}
    assert told == {(0, "only in A"), (1, "only in A"), (3, "only in B"), (4, "only in B")}
    assert found.overall.n == 1


def test_seeds_that_never_meet_are_a_users_mistake(oracle: Path, copied: Copy) -> None:
    with pytest.raises(UsageError, match="nothing to compare: 8 only in A, 8 only in B"):
        compare(oracle, copied(oracle, seed=5))


def test_a_trial_whose_lab_failed_or_that_never_ended_has_no_pair(
    oracle: Path, copied: Copy
) -> None:
    broken = copied(oracle)
    edit(broken / "trials" / "one-detection__1" / "trial.json", outcome="infra_error")
    (broken / "trials" / "two-mitigation__1" / "trial.json").unlink()
    found = compare(oracle, broken)
    assert {(u.problem, u.reason) for u in found.unpaired} == {
        ("one-detection", "lab failed in B"), ("two-mitigation", "unfinished in B"),
    }  # fmt: skip
    assert found.coverage == 0.75
    assert "only 75% of what both were asked could be paired" in found.undecided
    assert {u.reason for u in compare(broken, oracle).unpaired} == {
        "lab failed in A", "unfinished in A",
    }  # fmt: skip


def test_the_fault_and_its_twin_are_no_pair(oracle: Path, copied: Copy) -> None:
    other = copied(oracle)
    path = other / "trials" / "one-detection__1" / "trial.json"
    edit(path, twin=not json.loads(path.read_text("utf-8"))["twin"])
    (alone,) = compare(oracle, other).unpaired
    assert (alone.problem, alone.reason) == ("one-detection", "another draw")


def test_locks_that_differ_are_named_of_what_both_have(oracle: Path, copied: Copy) -> None:
    other = copied(oracle)
    lock = json.loads((other / "lock.json").read_text("utf-8"))
    apps, digests = lock["apps"] | {"more": "2" * 64}, lock["incidents"] | {"one": "0" * 64}
    edit(other / "lock.json", incidents=digests, apps=apps, rules="1" * 64, scoring_version="0")
    lines = compare(oracle, other).locks
    assert [line.partition(":")[0] for line in lines] == ["incidents.one", "rules"]
    assert lines[0].endswith("-> 000000000000")


def test_settings_that_differ_are_named_and_variables_keep_their_values(
    oracle: Path, copied: Copy
) -> None:
    limits = {"steps": 10, "virtual_s": 2700.0, "wall_s": 1800.0}
    other = copied(oracle, limits=limits, agent_env=["TOKEN=secret"], concurrency=7)
    assert compare(oracle, other).settings == [
        "agent_env: [] -> ['TOKEN']", "limits.steps: 60 -> 10",
    ]  # fmt: skip


def test_grades_of_several_scoring_versions_are_refused_with_what_to_type(
    oracle: Path, copied: Copy
) -> None:
    old = copied(oracle)
    for grade in old.glob("trials/*/grade.json"):
        edit(grade, scoring_version="0")
    with pytest.raises(UsageError, match=rf"scoring versions \(0, {SCORING_VERSION}\)") as refused:
        compare(old, oracle)
    assert refused.value.hint == f"aiopslab regrade {old}"
    assert compare(old, old).scoring_version == "0"
    assert regrade(RunDirectory(old)).scoring_versions == ["0"]
    assert compare(old, oracle).scoring_version == SCORING_VERSION


def test_a_simulated_run_is_not_compared_with_one_on_a_cluster(oracle: Path, copied: Copy) -> None:
    simulated = copied(oracle, "simulated", environment={"kind": "sim"})
    real = copied(oracle, "real", environment={"kind": "kind"}, clock="wall:1")
    with pytest.raises(UsageError, match="never mixed") as refused:
        compare(simulated, real)
    assert "aiopslab agree" in refused.value.hint


def test_two_agents_of_one_run_are_compared_by_their_names(several: Path) -> None:
    found = compare(several, several, agent_a="noop", agent_b="oracle")
    assert [(f.problem, f.gained) for f in found.flips] == [("one-mitigation", True)]
    assert found.settings == ["agent: noop -> oracle"]
    # Where only the verdict was measured, the time that promises were broken ends early.
    assert "slo_violation_s" not in {s.score for s in found.scores}


def test_an_agent_of_a_shared_run_meets_one_of_a_run_of_its_own(several: Path, noop: Path) -> None:
    found = compare(several, noop, agent_a="oracle")
    assert [(f.problem, f.gained) for f in found.flips] == [("one-mitigation", False)]


def test_of_several_agents_one_has_to_be_named(several: Path) -> None:
    with pytest.raises(UsageError, match="several agents played") as refused:
        compare(several, several, agent_a="noop")
    assert refused.value.hint == "name one: --agent-b noop"
    with pytest.raises(UsageError, match="--agent-a: 'react' did not play"):
        compare(several, several, agent_a="react", agent_b="noop")


def test_of_two_trials_of_one_draw_neither_is_taken(several: Path, copied: Copy) -> None:
    twice = copied(several)
    trials = [p.model_dump(mode="json") for p in shared("noop", times=2)]
    edit(twice / "run.json", trials=trials)
    with pytest.raises(UsageError, match="nothing to compare: 1 several in A"):
        compare(twice, several, agent_b="noop")


def test_a_profile_that_differs_is_a_setting_and_tokens_are_compared(
    noop: Path, copied: Copy
) -> None:
    few = copied(noop, "few", context={"profile": "P0"})
    many = copied(noop, "many", context={"profile": "P5", "delivery": "push"})
    for run_, tokens in ((few, 100), (many, 250)):
        for path in run_.glob("trials/*/trial.json"):
            usage = json.loads(path.read_text("utf-8"))["usage"]
            edit(path, usage=usage | {"tokens_in": tokens, "tokens_out": 10})
    edit(many / "lock.json", context={"profile": "P5", "delivery": "push", "memory": "a" * 64})
    found = compare(few, many)
    assert found.settings == ["context.delivery: pull -> push", "context.profile: P0 -> P5"]
    assert found.locks == ["context.memory: (absent) -> aaaaaaaaaaaa"]
    assert (found.a.context, found.b.context) == ("P0", "P5 pushed")
    spent = [s for s in found.scores if s.score == "tokens"]
    assert {s.task for s in spent} == set(TASKS)
    assert {(s.mean_a, s.mean_b, s.difference.value) for s in spent} == {(110.0, 260.0, 150.0)}


def test_tokens_that_nobody_counted_are_not_compared(noop: Path) -> None:
    assert "tokens" not in {s.score for s in compare(noop, noop).scores}
