"""Baselines: what is planned, how rows become scores, which incidents give in unsaid."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import pytest
from orchestrator_fakes import SPECS

from aiopslab.errors import InfraError, UsageError
from aiopslab.grading import SCORING_VERSION
from aiopslab.grading.baselines import by_hops, estimated, quiet, scores, solved, unmeasured
from aiopslab.models.baseline import Baseline
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.run import EnvironmentChoice, PlannedTrial, RunConfig
from aiopslab.models.task import TASKS, Task
from aiopslab.models.trial import Outcome
from aiopslab.models.truth import Truth
from aiopslab.orchestrator import baselines, documents, lock, run
from aiopslab.orchestrator.baselines import planned
from aiopslab.orchestrator.bench import Job
from aiopslab.orchestrator.pool import OnEvent
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.soundness import Target
from aiopslab.orchestrator.trial import Assignment, failed_trial
from aiopslab.orchestrator.wallclock import Stopwatch

TARGETS = [Target(spec=SPECS[name], asked=name) for name in ("one", "calm")]
MEMORY = EnvironmentChoice(kind="orchestrator_fakes:FakeLab")

NOTHING_WRONG = Truth(
    incident="calm",
    twin=False,
    seed=0,
    draws={},
    root_causes=[],
    fix=[],
    injected_at=None,
    symptom_at=None,
    handover_at=1.0,
    symptom="",
)


def row(
    incident: str,
    agent: str,
    passed: dict[Task, bool | None],
    *,
    quiet: Sequence[Task] = (),
    seed: int = 0,
) -> Baseline:
    return Baseline(
        incident=incident,
        agent=agent,
        seed=seed,
        digest="d",
        scoring_version=SCORING_VERSION,
        passed=passed,
        quiet=list(quiet),
    )


def test_an_agent_plays_every_task_of_an_incident() -> None:
    plans = [p for a in ("noop", "prior") for k in (1, 2) for p in planned(TARGETS[0], a, k)]
    assert len({p.directory for p in plans}) == len(plans) == 2 * 2 * len(TASKS)


def test_detection_is_balanced_over_both_answers() -> None:
    rows = [row(name, "always-yes", {"detection": True}) for name in "abc"]
    rows.append(row("d", "always-yes", {"detection": False}, quiet=["detection"]))
    score = scores(rows)["always-yes"]["detection"]
    assert (score.passed, score.n, score.quiet_passed, score.quiet_n) == (3, 3, 0, 1)
    assert score.balanced == 0.5


def test_one_sided_detection_has_no_balance() -> None:
    assert scores([row("a", "noop", {"detection": True})])["noop"]["detection"].balanced is None


def test_doing_nothing_where_nothing_is_wrong_is_no_repair() -> None:
    rows = [
        row("a", "noop", {"mitigation": False}),
        row("calm", "noop", {"mitigation": True}, quiet=["mitigation"]),
    ]
    score = scores(rows)["noop"]["mitigation"]
    assert (score.share, score.quiet_share) == (0.0, 1.0)


def test_scores_are_told_by_declared_hops_and_only_of_incidents_that_have_them() -> None:
    rows = [
        row("near", "prior", {"diagnosis": True}),
        row("far", "prior", {"diagnosis": False}),
        row("far", "noop", {"diagnosis": False}),
        row("calm", "prior", {"diagnosis": True}, quiet=["diagnosis"]),
    ]
    found = by_hops(rows, {"near": 1, "far": 3})
    assert list(found) == [("noop", 3), ("prior", 1), ("prior", 3)]
    assert found["prior", 1]["diagnosis"].share == 1.0
    assert found["prior", 3]["diagnosis"].share == 0.0


def test_a_score_is_told_with_the_interval_of_its_incidents() -> None:
    rows = [row(name, "baro", {"diagnosis": name in "abc", "detection": True}) for name in "abcdef"]
    rows.append(row("calm", "baro", {"diagnosis": True, "detection": True}, quiet=list(TASKS)))
    tasks = scores(rows)["baro"]
    share = estimated(tasks["diagnosis"], "diagnosis")
    assert share.value == 0.5
    assert (share.low, share.high) == pytest.approx((0.188, 0.812), abs=1e-3)
    balanced = estimated(tasks["detection"], "detection")
    assert (balanced.value, balanced.high, balanced.n) == (1.0, 1.0, 7)
    assert balanced.low is not None
    assert 0.5 < balanced.low < 0.9
    assert (quiet(tasks).value, quiet(tasks).n) == (1.0, 1)


def test_what_was_not_measured_is_named_by_agent() -> None:
    rows = [row("a", "baro", {}), row("b", "baro", {}), row("a", "firm", {})]
    lack = unmeasured(rows, ("baro", "firm", "spectrum"), ["b", "a"])
    assert lack == {"firm": ["b"], "spectrum": ["a", "b"]}


def test_what_the_lab_failed_counts_for_nobody() -> None:
    rows = [row("a", "noop", {"diagnosis": None}), row("b", "noop", {"diagnosis": False})]
    assert scores(rows)["noop"]["diagnosis"].n == 1


def test_an_incident_is_solved_if_every_seed_is() -> None:
    agent = "restart-everything"
    rows = [
        row("a", agent, {"mitigation": True}, seed=0),
        row("a", agent, {"mitigation": True}, seed=1),
        row("b", agent, {"mitigation": True}, seed=0),
        row("b", agent, {"mitigation": False}, seed=1),
        row("calm", agent, {"mitigation": True}, quiet=["mitigation"]),
        row("a", "noop", {"mitigation": True}),
    ]
    assert solved(rows, agent) == ["a"]


def test_an_incident_that_gives_in_has_to_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"restart-everything": "a restart is what people do"}
    said = SPECS["two"].model_copy(update={"solved_by": kept})
    targets = [TARGETS[0], Target(spec=said, asked="two")]
    monkeypatch.setattr(baselines, "asked", lambda _: targets)
    rows = [row(name, "restart-everything", {"mitigation": True}) for name in ("one", "two")]
    assert baselines.undeclared(rows, []) == {"restart-everything": ["one"]}


def measured(
    monkeypatch: pytest.MonkeyPatch, out: Path, outcomes: Callable[[PlannedTrial], Outcome]
) -> tuple[list[Baseline], list[str]]:
    """Measure with a pool that records what it is asked for instead of playing it."""
    played: list[str] = []

    class Recording:
        def __init__(self, run: RunDirectory, config: RunConfig, on_event: OnEvent) -> None:
            self.run, self.config, self.on_event = run, config, on_event

        async def work(self, jobs: Sequence[tuple[Hashable, Job]], hosts: int) -> None:
            for plan in (p for _, job in jobs for p in job.trials):
                if plan.directory in played:
                    continue  # one whose lab failed, tried again
                played.append(plan.directory)
                directory = self.run.trial(plan)
                directory.open()
                failure, watch = InfraError("symptom", "not seen"), Stopwatch()
                trial = failed_trial(Assignment(plan, self.config, directory), failure, watch=watch)
                (directory.path / "truth").mkdir()
                documents.write(directory.path / "truth" / "truth.json", NOTHING_WRONG)
                directory.finish(trial.model_copy(update={"outcome": outcomes(plan)}))
                self.on_event({"event": "trial_finished", "trial": plan.directory})

    monkeypatch.setattr(baselines, "asked", lambda _: TARGETS)
    monkeypatch.setattr(run, "Pool", Recording)
    work = baselines.measure(
        ["one", "calm"], agents=["noop", "prior"], seeds=[0, 3], environment=MEMORY, out=out,
        runs_dir=tempfile.mkdtemp(dir=out.parent), hosts=1,
    )  # fmt: skip
    return asyncio.run(work), played


def test_rows_that_are_known_are_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    first, played = measured(monkeypatch, out, lambda plan: "failed")
    assert len(first) == 2 * 2 * 2
    assert len(played) == len(first) * len(TASKS)
    again, none = measured(monkeypatch, out, lambda plan: "passed")
    assert none == []
    assert again == first


def test_a_row_that_the_lab_failed_or_of_an_older_file_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"

    def fails(plan: PlannedTrial) -> Outcome:
        return "infra_error" if plan.problem == "one:prior:diagnosis" else "failed"

    measured(monkeypatch, out, fails)
    older = documents.read_journal(out, Baseline)
    older = [r.model_copy(update={"digest": "old"}) if r.incident == "calm" else r for r in older]
    documents.write_journal(out, older)
    rows, played = measured(monkeypatch, out, lambda plan: "failed")
    assert all(row.complete for row in rows)
    assert {name.rpartition(":")[0] for name in played} == {"one:prior", "calm:noop", "calm:prior"}


def test_rows_survive_a_crash_of_the_measurement(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"

    def crashes(plan: PlannedTrial) -> Outcome:
        if plan.problem == "calm:noop:mitigation":
            raise KeyboardInterrupt
        return "failed"

    with pytest.raises(KeyboardInterrupt):
        measured(monkeypatch, out, crashes)
    kept = documents.read_journal(out, Baseline)
    assert {row.incident for row in kept} == {"one"}
    assert len(kept) == 4


def test_only_agents_that_exist_and_repair_can_be_declared() -> None:
    raw = SPECS["one"].model_dump(by_alias=True) | {"solved_by": {"noop": "why not"}}
    with pytest.raises(ValueError, match="solved_by"):
        IncidentSpec.model_validate(raw)


def test_the_digest_of_an_incident_changes_with_its_file() -> None:
    changed = SPECS["one"].model_copy(update={"settle": 30.0})
    assert lock.of_incident(SPECS["one"]) != lock.of_incident(changed)


def test_saying_who_solves_an_incident_does_not_make_its_rows_old() -> None:
    said = SPECS["one"].model_copy(update={"solved_by": {"restart-everything": "as people do"}})
    assert lock.of_incident(SPECS["one"]) == lock.of_incident(said)


def test_an_agent_that_does_not_exist_is_refused_before_anything_boots() -> None:
    with pytest.raises(UsageError, match="nobody"):
        asyncio.run(baselines.measure(["quickstart"], agents=["nobody"], seeds=[0], hosts=1))
