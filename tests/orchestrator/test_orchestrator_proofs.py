"""The proofs of an incident: what is planned, what undoing it must show, what records say."""

from __future__ import annotations

import asyncio
import types
from pathlib import Path
from typing import Any

import orchestrator_fakes as fakes
import pytest

from aiopslab.agents.protocol import TrialHandle
from aiopslab.errors import AgentError, InfraError
from aiopslab.models.grade import Check, Grade
from aiopslab.models.run import PlannedTrial
from aiopslab.orchestrator import proofs, staging, verdicts
from aiopslab.orchestrator.records import RunDirectory

LAB = fakes.FakeLab({})


def names(incident: str) -> list[list[str]]:
    return [[proofs.proof_of(p) for p in side] for side in proofs.planned(fakes.SPECS[incident])]


def test_two_processes_share_the_proofs_and_both_play_the_trial_that_is_compared() -> None:
    first, second = names("one")
    assert set(first) & set(second) == {"repeat"}
    assert set(first) | set(second) == {
        "twin", "leak", "recovery", "idle", "fix", "repeat", "cheat-delete", "cheat-scale-away",
        "cheat-restart-all", "cheat-not-ready", "cheat-starve",
    }  # fmt: skip


def test_without_a_fault_there_is_nothing_to_repair_or_to_cheat() -> None:
    assert names("calm") == [["repeat"], ["twin", "repeat"]]


def test_where_a_restart_repairs_it_is_no_cheat() -> None:
    spec = fakes.SPECS["one"].model_copy(update={"restart_is_fix": True})
    planned = [proofs.proof_of(p) for side in proofs.planned(spec) for p in side]
    assert "cheat-restart-all" not in planned


def of_two(*, joint: bool) -> set[str]:
    one = fakes.SPECS["one"]
    spec = one.model_copy(update={"faults": one.faults * 2, "joint": joint})
    return {proofs.proof_of(p) for side in proofs.planned(spec) for p in side}


def test_of_independent_faults_each_is_repaired_alone_and_of_joint_ones_each_acts_alone() -> None:
    parts = set(proofs.PARTS)
    assert of_two(joint=False) & parts == {"fix-only-1", "fix-only-2"}
    assert of_two(joint=True) & parts == {"alone-1", "alone-2"}


def test_a_fault_that_acts_alone_is_planned_as_such() -> None:
    one = fakes.SPECS["one"]
    spec = one.model_copy(update={"faults": one.faults * 2, "joint": True})
    _, second = proofs.planned(spec, only=["alone-2"])
    assert [(p.alone, p.task, p.twin) for p in second] == [(2, "mitigation", False)]


def test_a_cheat_strikes_every_place_of_a_root_cause_once() -> None:
    staged = asyncio.run(at_handover())
    (cause,) = staged.truth.root_causes
    calls = proofs.cheat("delete", staged.env.app, [cause, cause])
    assert [c.arguments["name"] for c in calls] == [cause.component]


def test_single_proofs_can_be_asked_for() -> None:
    found = proofs.planned(fakes.SPECS["one"], attempt=3, only=["fix", "repeat"])
    assert [[p.directory for p in side] for side in found] == [
        ["one:fix__3", "one:repeat__3"],
        ["one:repeat__3"],
    ]


def test_telemetry_is_kept_where_it_is_looked_at() -> None:
    kept = {
        proofs.proof_of(p)
        for side in proofs.planned(fakes.SPECS["one"])
        for p in side
        if not p.verdict_only
    }
    assert kept == {"twin", "repeat"}


async def at_handover() -> staging.Staged:
    env: Any = fakes.FakeEnvironment(7)
    await env.advance(300.0)
    return await staging.strike(await staging.lead(env, LAB.draw("one", 7)), twin=False)


class Handle:
    """As much of a trial as the players need; ``wait`` lets time pass."""

    def __init__(self, env: Any, *, refused: str = "") -> None:
        self._env = env
        self._refused = refused
        self.called: list[str] = []

    async def call(self, name: str, /, **arguments: Any) -> Any:
        self.called.append(name)
        if name == "wait":
            await self._env.advance(arguments["seconds"])
        if name == "k8s_scale":
            await self._env.kube.patch("Deployment", "web", {"spec": {"replicas": 2}})
        return types.SimpleNamespace(ok=name != self._refused, tool=name, text="no")


def recovered(staged: staging.Staged) -> list[str]:
    trial: Any = Handle(staged.env)
    handle: TrialHandle = trial
    asyncio.run(proofs.Recovery(staged).run(handle))
    called: list[str] = trial.called
    return called


def test_an_incident_that_can_be_undone_is_clean() -> None:
    assert recovered(asyncio.run(at_handover())) == ["submit"]


def test_what_is_left_after_undoing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    staged = asyncio.run(at_handover())
    (fault,) = staged.drawn.live_faults(twin=False)

    async def forget(env: Any) -> None:
        pass

    monkeypatch.setattr(fault, "recover", forget)
    with pytest.raises(proofs.NotClean, match=r"not clean after 300 s: .*web"):
        recovered(staged)


def test_an_object_that_is_gone_after_undoing_is_named() -> None:
    staged = asyncio.run(at_handover())
    env: Any = staged.env
    del env.kube.objects["Service", "web"]
    with pytest.raises(InfraError, match="nothing-lost: Service/shop/web"):
        asyncio.run(staging.recover(staged))


def repaired(staged: staging.Staged, **how: Any) -> list[str]:
    trial: Any = Handle(staged.env, **how)
    asyncio.run(proofs.Repair(staged, staged.truth.fix).run(trial))
    called: list[str] = trial.called
    return called


def test_the_reference_fix_is_submitted_once_users_are_well() -> None:
    # The window that began before the repair is still broken; the second is not.
    assert repaired(asyncio.run(at_handover())) == ["k8s_scale", "wait", "submit"]


def test_a_fix_that_does_not_help_is_submitted_all_the_same() -> None:
    staged = asyncio.run(at_handover())
    del staged.truth.fix[:]
    assert repaired(staged) == [*["wait"] * proofs.PATIENCE, "submit"]


def test_a_fix_that_the_tools_refuse_is_no_fix() -> None:
    with pytest.raises(AgentError, match="k8s_scale refused a step of the plan: no"):
        repaired(asyncio.run(at_handover()), refused="k8s_scale")


def test_a_joint_fault_is_harmless_only_if_users_were_well_in_both_windows(
    tmp_path: Path,
) -> None:
    plan = PlannedTrial(problem="one:alone-1", incident="one", task="mitigation", attempt=1)
    run = RunDirectory(tmp_path)
    run.open()
    directory = run.trial(plan)
    directory.open()
    for met in (True, False):
        checks = [
            Check(id="settle_1", passed=True, gating=True, reason="well", evidence=""),
            Check(id="settle_2", passed=met, gating=True, reason="browse: slow", evidence=""),
            Check(id="postcondition:value", passed=False, gating=True, reason="", evidence=""),
        ]
        grade = Grade(scoring_version="2", task="mitigation", passed=False, checks=checks)
        truth = asyncio.run(at_handover()).truth
        directory.write_parts(answer=None, truth=truth, evidence=None, grade=grade)
        found = verdicts._harmless("alone-1", directory)
        assert (found.holds, found.detail) == (
            (True, "users are well") if met else (False, "settle_2: browse: slow")
        )
