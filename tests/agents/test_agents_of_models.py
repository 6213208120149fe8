"""What both agents of chat completions do alike, whatever client they use."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents_fakes import FakeTrial
from agents_server import Script, completions, message, tool_call

from aiopslab.agents import ModelSettings, load
from aiopslab.errors import LimitExceeded

pytest.importorskip("langchain_openai")

DONE = message("", tool_call("submit", {"anomaly": True, "confidence": 0.9}))
LOOK = message("", tool_call("alerts", {}))


@pytest.fixture(params=["openai-tools", "react"])
def agent(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def play(agent: str, trial: FakeTrial, script: Script) -> list[dict[str, Any]]:
    """Let an agent play against a scripted model; return the requests it sent."""
    with completions(script) as (url, requests):
        settings = ModelSettings(model="openai/scripted", base_url=url)
        asyncio.run(load(agent).build({}, settings).run(trial))
    return requests


def names(trial: FakeTrial) -> list[str]:
    return [name for name, _ in trial.calls]


def test_a_model_that_declines_at_the_end_of_its_tokens_is_not_asked_again(agent: str) -> None:
    trial = FakeTrial("detection", tokens=100)
    with completions([message(refusal="I cannot.")]) as (url, requests):
        settings = ModelSettings(model="openai/scripted", base_url=url)
        with pytest.raises(LimitExceeded):
            asyncio.run(load(agent).build({}, settings).run(trial))
    assert len(requests) == 1


def test_no_prompt_says_that_there_is_a_fault(agent: str) -> None:
    declined = play(agent, FakeTrial("detection"), [message(refusal="I cannot."), DONE])
    assert "fault" not in declined[1]["messages"][-1]["content"]


def test_calls_that_share_an_id_are_answered_one_by_one(agent: str) -> None:
    both = message("", tool_call("alerts", {}, "a"), tool_call("services", {}, "a"))
    said, *told = play(agent, FakeTrial("detection"), [both, DONE])[1]["messages"][-3:]
    ids = [c["id"] for c in said["tool_calls"]]
    assert len(set(ids)) == 2
    assert [m["tool_call_id"] for m in told] == ids


def test_half_a_character_does_not_spoil_the_requests_that_follow(agent: str) -> None:
    said = "broken \ud83d"
    calls = [
        tool_call("logs_search", {"service": "\ud83d"}, "a"),
        tool_call("al\ud83d", {}, "b\ud83d"),
        tool_call("alerts", '{"a \ud83d'),
    ]
    trial = FakeTrial("detection")
    script = [message(said, *calls), message(said), LOOK, message(refusal=said), DONE]
    requests = play(agent, trial, script)
    assert names(trial)[-1] == "submit"
    assert trial.calls[0] == ("logs_search", {"service": "\ud83d"})
    assert "broken ?" in [m["content"] for m in requests[-1]["messages"]]


def test_a_name_that_models_make_up_is_repeated_in_the_alphabet_of_names(agent: str) -> None:
    name = "multi_tool_use.parallel"
    trial = FakeTrial("detection", {name: (False, f"there is no tool {name!r}", None)})
    made_up = message("", tool_call(name, {}, "a"), tool_call("", {}, "b"))
    requests = play(agent, trial, [made_up, DONE])
    assert names(trial) == [name, "", "submit"]
    said, told, _ = requests[1]["messages"][-3:]
    repeated = [c["function"]["name"] for c in said["tool_calls"]]
    assert repeated == ["multi_tool_use_parallel", "_"]
    assert name in told["content"]
