"""The proofs of an incident: what is planned, what undoing it must show, what records say."""

from __future__ import annotations

import asyncio
from typing import Any

import orchestrator_fakes as fakes
import pytest

from aiopslab.agents.protocol import TrialHandle
from aiopslab.errors import InfraError
from aiopslab.orchestrator import proofs, staging

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
    assert names("calm") == [["twin", "repeat"], ["repeat"]]


def test_where_a_restart_repairs_it_is_no_cheat() -> None:
    spec = fakes.SPECS["one"].model_copy(update={"restart_is_fix": True})
    planned = [proofs.proof_of(p) for side in proofs.planned(spec) for p in side]
    assert "cheat-restart-all" not in planned


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
    """As much of a trial as the player needs."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def call(self, name: str, /, **_: Any) -> None:
        self.called.append(name)


def recovered(staged: staging.Staged) -> list[str]:
    trial: Any = Handle()
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
