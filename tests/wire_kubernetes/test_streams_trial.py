"""Streams in a trial: what they cost, what is recorded, and that no refusal ends the trial."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from api_served import hotel
from streams_served import Served
from streams_world import a_pod

from aiopslab.environments.sim import Sim
from aiopslab.models.observation import Brief
from aiopslab.models.run import RunConfig
from aiopslab.models.trial import Step
from aiopslab.orchestrator.session import Session
from aiopslab.orchestrator.trial_gate import TrialGate
from aiopslab.wire.identity import on_call
from aiopslab.wire.kubernetes.cluster import Cluster


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    sim = hotel(seconds=20.0)
    yield sim
    asyncio.run(sim.aclose())


class Trial(Served):
    """The stream handlers behind the gate of a diagnosis."""

    def __init__(self, sim: Sim, **config: Any) -> None:
        super().__init__(sim, who=on_call("oncall", "diagnosis", "hotel"))
        brief = Brief(
            trial="t-1", task="diagnosis", instructions="", app="hotel", namespace="hotel",
            app_summary="", now="", answer_schema={},
        )  # fmt: skip
        self.steps: list[Step] = []
        given = RunConfig.model_validate({"targets": ["one"], **config})
        self.session = Session(brief, sim, given, self.steps.append)
        self.serve_with(Cluster(sim.world, sim, TrialGate(self.session)))


async def enter(trial: Trial, pod: str, *command: str, **query: Any) -> Any:
    async with trial.exec(pod, *command, **query) as socket:
        return socket.refused or await socket.rest()


def test_commands_cost_what_tool_calls_cost_and_refusals_end_nothing(sim: Sim) -> None:
    geo = a_pod(sim, "geo")

    async def scenario() -> Trial:
        trial = Trial(sim)
        before = sim.now()
        seen = await enter(trial, geo, "touch", "/tmp/x")
        assert seen[0] == 403
        seen = await enter(trial, geo, "hostname")
        assert seen[1] == f"{geo}\n"
        assert sim.now() - before >= 8.0
        assert (await enter(trial, geo, "kill", "1"))[0] == 403
        assert (await enter(trial, geo, "env", container="nope"))[0] == 400
        fed = await enter(trial, geo, "sh", stdin="1", tty="maybe")
        assert fed[0] == 400
        for query in ({"container": "nope"}, {"previous": "true"}):
            assert (await trial.log(geo, follow="true", **query)).status_code == 400
        return trial

    trial = asyncio.run(scenario())
    assert trial.session.failure is None
    assert not trial.session.over.is_set()
    assert [step.tool for step in trial.steps] == ["kubernetes"] * 7
    assert [step.ok for step in trial.steps] == [False, True, *[False] * 5]
    assert trial.steps[1].arguments["command"] == ["hostname"]


def test_a_followed_log_lets_time_pass_until_the_budget_ends(sim: Sim) -> None:
    async def scenario() -> tuple[Trial, float]:
        trial, before = Trial(sim, limits={"virtual_s": 30.0}), sim.now()
        answer = await trial.log(a_pod(sim, "frontend"), follow="true")
        assert answer.is_success
        return trial, sim.now() - before

    trial, passed = asyncio.run(scenario())
    assert 30.0 <= passed < 40.0
    assert len(trial.steps) == 1


def test_a_stream_of_a_trial_that_is_over_says_so(sim: Sim) -> None:
    async def scenario() -> Any:
        trial = Trial(sim, limits={"virtual_s": 30.0})
        await sim.advance(60.0)
        seen = await enter(trial, a_pod(sim, "geo"), "hostname")
        return json.loads(seen[3])

    assert asyncio.run(scenario())["code"] == 429
