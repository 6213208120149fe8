"""Context profiles in a run: what the brief, the trial's record and the lock say of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orchestrator_fakes as fakes
import pytest

from aiopslab.errors import PreflightError
from aiopslab.models.lock import Lock
from aiopslab.models.observation import Brief
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.models.trial import Trial
from aiopslab.orchestrator import lock, players, staging
from aiopslab.orchestrator.records import TrialDirectory
from aiopslab.orchestrator.trial import Assignment, conduct
from aiopslab.tools import briefing

LAB = fakes.FakeLab({})
PLAN = PlannedTrial(problem="one-diagnosis", incident="one", task="diagnosis", attempt=1)


def config(**context: Any) -> RunConfig:
    return RunConfig.model_validate({"targets": ["one"], "agent": "noop", "context": context})


def taken(**context: Any) -> Lock:
    lab: Any = LAB
    return lock.take(lab, config(**context), [PLAN])


class Reader:
    """Looks at its brief and at the tools it is offered."""

    def __init__(self) -> None:
        self.brief: Brief | None = None
        self.tools: set[str] = set()

    async def run(self, trial: Any) -> None:
        self.brief = trial.brief
        self.tools = {tool.name for tool in trial.tools}
        await trial.call("submit", hypotheses=[])


def play(tmp_path: Path, **context: Any) -> tuple[Reader, Trial]:
    directory = TrialDirectory(tmp_path / "trial")
    directory.open()
    reader = Reader()

    async def go() -> Trial:
        drawn, env = LAB.draw("one", 7), fakes.FakeEnvironment(7)
        world: Any = env
        await env.advance(300.0)
        led = await staging.lead(world, drawn)
        staged = (await staging.strike(led, twin=False)).for_task("diagnosis")
        assignment = Assignment(PLAN, config(**context), directory)
        return await conduct(staged, assignment, lambda *_: reader, lambda _: None)

    return reader, asyncio.run(go())


def test_by_default_context_is_pulled_and_the_brief_holds_none(tmp_path: Path) -> None:
    reader, trial = play(tmp_path)
    assert reader.brief is not None
    assert reader.brief.context is None
    assert "Context" not in reader.brief.text()
    assert {"topology", "changes", "runbooks"} <= reader.tools
    assert "search_incidents" not in reader.tools
    assert (trial.context_profile, trial.context_delivery) == ("P4", "pull")
    assert trial.context_tokens is None


def test_what_is_pushed_is_in_the_brief_and_counted_in_the_record(tmp_path: Path) -> None:
    reader, trial = play(tmp_path, profile="P2", delivery="push")
    assert trial.outcome in ("passed", "failed"), trial.error
    assert reader.brief is not None
    assert reader.brief.context is not None
    assert "web (web-team): Serves pages." in reader.brief.context
    assert reader.brief.text().endswith(reader.brief.context)
    assert not {"topology", "docs", "changes"} & reader.tools
    assert (trial.context_profile, trial.context_delivery) == ("P2", "push")
    assert trial.context_tokens == briefing.tokens(reader.brief.context)


def test_the_past_is_offered_with_the_last_profile_only(tmp_path: Path) -> None:
    reader, trial = play(tmp_path, profile="P5")
    assert "search_incidents" in reader.tools
    assert trial.context_profile == "P5"


def test_the_lock_names_the_context_unless_it_is_the_default() -> None:
    assert taken().context == {}
    assert taken(profile="P0").context == {"profile": "P0", "delivery": "pull"}
    past = taken(profile="P5", delivery="push").context
    assert (past["profile"], past["delivery"], len(past["memory"])) == ("P5", "push", 64)
    assert taken().differences(taken(profile="P0")) == [
        "context.delivery: (absent) -> pull",
        "context.profile: (absent) -> P0",
    ]


def test_embeddings_without_a_key_are_refused_before_anything_boots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    wanted = config(profile="P5", embeddings="some-model")
    with pytest.raises(PreflightError, match="embeddings"):
        players.preflight(wanted, ["noop"])
