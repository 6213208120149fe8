"""An app on a cluster is used again by the next trial if it is as before, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from aiopslab.errors import InfraError
from aiopslab.models.evidence import CheckResult
from aiopslab.orchestrator import real_lab, staging
from aiopslab.orchestrator.real_lab import KindLab
from aiopslab.problems import stage

INCIDENT = "resources-cpu-limit"


@dataclass
class FakeCluster:
    """A cluster that only counts what it is asked for."""

    app: Any
    seed: int
    log: list[str]
    time: float = 1000.0
    wrong: list[CheckResult] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    async def advance(self, seconds: float) -> None:
        self.time += max(seconds, 0.0)

    async def restore(self) -> list[CheckResult]:
        self.log.append("restore")
        return self.wrong


class Lab(KindLab):
    """A lab whose clusters are fakes."""

    def __init__(self) -> None:
        super().__init__({"first": "200s", "again": "45s"})
        self.log: list[str] = []
        self.wrong: list[CheckResult] = []

    async def _deployed(self, drawn: Any) -> Any:
        self.log.append(f"deploy {drawn.app.name}")
        cluster: Any = FakeCluster(drawn.app, drawn.seed, self.log, wrong=self.wrong)
        return cluster

    async def _drop(self) -> None:
        if self._held is not None:
            self._held = None
            self.log.append("drop")


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab for which faults undo themselves and nothing has to be forgotten."""
    made = Lab()

    async def recover(staged: Any) -> list[CheckResult]:
        made.log.append("recover")
        return []

    async def forget(cluster: Any, options: Any) -> None:
        made.log.append("forget")

    monkeypatch.setattr(staging, "recover", recover)
    monkeypatch.setattr(real_lab, "forget", forget)
    return made


STAGED: Any = object()
"""What a trial staged, of which the lab only asks whether there is one."""


def test_the_first_trial_waits_for_the_whole_baseline_and_the_next_for_none_of_it(lab: Lab) -> None:
    async def twice() -> None:
        drawn = lab.draw(INCIDENT, 0)
        first = await lab.place(drawn)
        assert first.env.now() == 1000.0 + 200.0
        assert first.passed_s == 0.0
        assert await lab.release(first.env, STAGED) == ""
        second = await lab.place(drawn)
        assert second.env is first.env
        assert second.env.now() == 1000.0 + 200.0 + 45.0
        assert second.passed_s == stage.quiet_s(drawn) > 0

    asyncio.run(twice())
    assert lab.log == ["deploy hotel", "recover", "restore", "forget"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lab, patch: lab.wrong.append(CheckResult(id="rows", met=False, detail="3 of 4")),
        lambda lab, patch: patch.setattr(staging, "recover", _failing),
    ],
)
def test_an_app_that_is_not_as_before_is_deployed_anew_and_the_reason_is_told(
    lab: Lab, spoil: Callable[[Lab, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(lab, monkeypatch)

    async def twice() -> str:
        drawn = lab.draw(INCIDENT, 0)
        why = await lab.release((await lab.place(drawn)).env, STAGED)
        await lab.place(drawn)
        return why

    why = asyncio.run(twice())
    assert why in ("rows: 3 of 4", "recover: not clean after 300 s: rate")
    assert lab.log.count("deploy hotel") == 2
    assert "forget" not in lab.log


def test_an_incident_that_could_not_be_staged_leaves_nothing_to_use_again(lab: Lab) -> None:
    async def play() -> None:
        place = await lab.place(lab.draw(INCIDENT, 0))
        assert await lab.release(place.env, None) == ""

    asyncio.run(play())
    assert lab.log == ["deploy hotel", "drop"]


def test_another_app_or_another_seed_takes_the_place_of_the_one_before(lab: Lab) -> None:
    async def play() -> None:
        for incident, seed in ((INCIDENT, 0), (INCIDENT, 1), ("queue-poison-message", 1)):
            place = await lab.place(lab.draw(incident, seed))
            await lab.release(place.env, STAGED)

    asyncio.run(play())
    assert [line for line in lab.log if line.startswith(("deploy", "drop"))] == [
        "deploy hotel", "drop", "deploy hotel", "drop", "deploy shop",
    ]  # fmt: skip


async def _failing(staged: Any) -> list[CheckResult]:
    raise InfraError("recover", "not clean after 300 s: rate")
