"""From cold: one world a trial, or one until somebody writes, where the lab is patient."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import orchestrator_fakes as fakes
import pytest

from aiopslab.errors import InfraError
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.models.trial import Trial
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.run import run, run_sync

PATIENT = {"cold": "1", "patient": "1"}


class Reader(fakes.Repairer):
    """Waits a minute before it answers; repairs where it is asked to."""

    async def run(self, trial: Any) -> None:
        await trial.call("wait", seconds=60)
        await super().run(trial)


class Healing(Reader):
    """The incident ends by itself while somebody looks."""

    def __init__(self, worlds: list[fakes.FakeEnvironment]) -> None:
        self.worlds = worlds

    async def run(self, trial: Any) -> None:
        await super().run(trial)
        if trial.brief.task == "localization":
            env = self.worlds[-1]
            await env.kube.patch("Deployment", "web", {"spec": {"replicas": 2}})


class Hesitant(Reader):
    """Only looks the first time it is asked to repair something."""

    looked = False

    async def run(self, trial: Any) -> None:
        if trial.brief.task == "mitigation" and not self.looked:
            self.looked = True
            await trial.call("submit", summary="nothing was done", confidence=0.5)
            return
        await super().run(trial)


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> list[fakes.FakeEnvironment]:
    """The worlds that were made, in order."""
    made: list[fakes.FakeEnvironment] = []
    boot = fakes.FakeLab.boot

    def booted(self: fakes.FakeLab, drawn: Any) -> fakes.FakeEnvironment:
        made.append(boot(self, drawn))
        return made[-1]

    monkeypatch.setattr(fakes.FakeLab, "boot", booted)
    return made


def played(tmp_path: Path, agent: Any, *, twin: bool = False, **options: str) -> dict[str, Trial]:
    """Play every task of the shop's first incident; return trials by task.

    Args:
        tmp_path: Where the record goes.
        agent: Who plays.
        twin: Whether detection is asked of the incident's twin.
        options: Of the lab.
    """
    config = RunConfig.model_validate(
        {
            "targets": ["one"],
            "agent": "orchestrator_fakes:Repairer",
            "environment": {"kind": "orchestrator_fakes:FakeLab", "options": options},
            "runs_dir": str(tmp_path),
            "retry_infra": 0,
            "seed": _seed(twin=twin),
        }
    )
    report = run_sync(config, agent=agent)
    run = RunDirectory(report.directory)
    return {plan.task: run.trial(plan).trial() for plan in report.record.trials}


def mitigated(tmp_path: Path, agent: Any, times: int) -> list[Trial]:
    """Mitigate the shop's first incident several times in one run; return the trials."""
    plans = [
        PlannedTrial(problem=f"one:{n}", incident="one", task="mitigation", attempt=1)
        for n in range(times)
    ]
    config = RunConfig.model_validate(
        {
            "targets": ["one"],
            "environment": {"kind": "orchestrator_fakes:FakeLab", "options": PATIENT},
            "runs_dir": str(tmp_path),
        }
    )
    report = asyncio.run(run(config, trials=plans, agent=agent))
    return [RunDirectory(report.directory).trial(plan).trial() for plan in plans]


def handovers(tmp_path: Path) -> dict[str, float]:
    """Return when each task was handed over, of the only run there is."""
    [root] = [path for path in tmp_path.iterdir() if path.is_dir()]
    run = RunDirectory(root)
    return {plan.task: run.trial(plan).truth().handover_at for plan in run.record().trials}


def _seed(*, twin: bool) -> int:
    lab = fakes.FakeLab({})
    return next(s for s in range(100) if lab.draw("one", s).is_twin("detection") == twin)


def test_each_trial_has_a_world_of_its_own(
    tmp_path: Path, worlds: list[fakes.FakeEnvironment]
) -> None:
    trials = played(tmp_path, Reader(), cold="1")
    assert {t.outcome for t in trials.values()} == {"passed"}
    assert len(worlds) == 4
    assert len(set(handovers(tmp_path).values())) == 1


def test_tasks_of_one_incident_follow_one_another_and_the_one_that_writes_is_last(
    tmp_path: Path, worlds: list[fakes.FakeEnvironment]
) -> None:
    trials = played(tmp_path, Reader(), **PATIENT)
    assert {t.outcome for t in trials.values()} == {"passed"}
    assert len(worlds) == 1
    assert worlds[0].closed
    at = handovers(tmp_path)
    tasks = ["detection", "localization", "diagnosis", "mitigation"]
    assert all(at[b] - at[a] >= 60.0 for a, b in itertools.pairwise(tasks))


def test_a_trial_that_only_looked_leaves_the_world_to_the_next(
    tmp_path: Path, worlds: list[fakes.FakeEnvironment]
) -> None:
    trials = mitigated(tmp_path, Hesitant(), 2)
    assert [t.outcome for t in trials] == ["failed", "passed"]
    assert len(worlds) == 1


def test_a_trial_that_wrote_leaves_no_world_to_the_next(
    tmp_path: Path, worlds: list[fakes.FakeEnvironment]
) -> None:
    trials = mitigated(tmp_path, Hesitant(), 3)
    assert [t.outcome for t in trials] == ["failed", "passed", "passed"]
    assert len(worlds) == 2


def test_how_long_an_incident_lasted_is_told_of_each_hand_over(
    tmp_path: Path, worlds: list[fakes.FakeEnvironment]
) -> None:
    trials, at = played(tmp_path, Reader(), **PATIENT), handovers(tmp_path)
    later = trials["mitigation"].phases["incident"] - trials["detection"].phases["incident"]
    assert later == pytest.approx(at["mitigation"] - at["detection"])


def test_an_incident_that_hurts_no_more_is_staged_anew(
    tmp_path: Path, worlds: list[fakes.FakeEnvironment]
) -> None:
    trials = played(tmp_path, Healing(worlds), **PATIENT)
    assert {t.outcome for t in trials.values()} == {"passed"}
    assert len(worlds) == 2
    assert all(world.closed for world in worlds)


def test_a_trial_that_the_lab_failed_ends_the_sitting(
    tmp_path: Path, worlds: list[fakes.FakeEnvironment], monkeypatch: pytest.MonkeyPatch
) -> None:
    for_agent = fakes.FakeEnvironment.for_agent

    async def refused(self: fakes.FakeEnvironment, task: Any) -> fakes.FakeEnvironment:
        if task == "detection":
            raise InfraError("access", "no token")
        return await for_agent(self, task)

    monkeypatch.setattr(fakes.FakeEnvironment, "for_agent", refused)
    trials = played(tmp_path, Reader(), **PATIENT)
    assert [t.outcome for t in trials.values()] == ["infra_error", "passed", "passed", "passed"]
    assert len(worlds) == 2


def test_an_incident_that_cannot_be_staged_fails_for_all_who_waited_for_it(
    tmp_path: Path, worlds: list[fakes.FakeEnvironment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes.FakeTelemetry, "alerts", _silent)
    trials = played(tmp_path, Reader(), **PATIENT)
    assert {t.outcome for t in trials.values()} == {"infra_error"}
    assert len(worlds) == 1


async def _silent(self: fakes.FakeTelemetry, *, include_resolved: bool = False) -> list[Any]:
    return []


def test_a_twin_and_its_incident_have_worlds_of_their_own(
    tmp_path: Path, worlds: list[fakes.FakeEnvironment]
) -> None:
    trials = played(tmp_path, Reader(), twin=True, **PATIENT)
    assert trials["detection"].twin
    assert not trials["diagnosis"].twin
    assert len(worlds) == 2
