from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents_fakes import FakeTrial
from agents_server import completions, message, tool_call

from aiopslab.agents import ModelSettings, load
from aiopslab.errors import LimitExceeded, PreflightError

pytest.importorskip("langchain_openai")

DONE = message("", tool_call("submit", {"anomaly": True, "confidence": 0.9}))


def play(trial: FakeTrial, script: list[Any], **arguments: str) -> list[dict[str, Any]]:
    """Let the agent play against a scripted model; return the requests it sent."""
    with completions(script) as (url, requests):
        settings = ModelSettings(model="openai/scripted", base_url=url)
        asyncio.run(load("react").build(arguments, settings).run(trial))
    return requests


def test_the_model_calls_tools_reads_their_text_and_submits() -> None:
    trial = FakeTrial("detection", {"logs_search": (True, "42 lines of anger", None)})
    script = [
        message("Errors first.", tool_call("logs_search", {"service": "web"}, "a")),
        DONE,
    ]
    requests = play(trial, script)
    assert trial.calls == [
        ("logs_search", {"service": "web"}),
        ("submit", {"anomaly": True, "confidence": 0.9}),
    ]
    assert trial.notes[0] == "Errors first."
    assert trial.tokens == [200, 14]
    assert requests[0]["model"] == "scripted"
    assert {t["function"]["name"] for t in requests[0]["tools"]} == {t.name for t in trial.tools}
    assert "HighErrorRatio web" in requests[0]["messages"][1]["content"]
    last = requests[1]["messages"][-1]
    assert (last["role"], last["tool_call_id"]) == ("tool", "a")
    assert last["content"] == "[obs-1]\n42 lines of anger"


def test_several_calls_of_one_message_are_carried_out_in_order() -> None:
    trial = FakeTrial("detection")
    both = message("", tool_call("alerts", {}, "a"), tool_call("services", {}, "b"))
    play(trial, [both, DONE])
    assert [name for name, _ in trial.calls] == ["alerts", "services", "submit"]


def test_an_answer_without_a_call_is_repaired_once() -> None:
    trial = FakeTrial("detection")
    requests = play(trial, [message("It is broken."), DONE])
    assert [name for name, _ in trial.calls] == ["malformed", "submit"]
    assert "held no tool call" in requests[1]["messages"][-1]["content"]


def test_two_answers_without_a_call_end_the_trial_without_an_answer() -> None:
    trial = FakeTrial("detection")
    play(trial, [message("It is broken."), message("I said so.")])
    assert [name for name, _ in trial.calls] == ["malformed"]


def test_unknown_tools_and_broken_arguments_are_told_to_the_model() -> None:
    trial = FakeTrial("detection", {"kubectl": (False, "there is no tool 'kubectl'", None)})
    script = [
        message("", tool_call("kubectl", {"args": "get pods"})),
        message("", tool_call("alerts", '{"include_resolved": tr')),
        DONE,
    ]
    requests = play(trial, script)
    assert [name for name, _ in trial.calls] == ["kubectl", "malformed", "submit"]
    assert "there is no tool" in requests[1]["messages"][-1]["content"]
    assert "not valid JSON" in requests[2]["messages"][-1]["content"]


def test_a_refused_submit_is_tried_again() -> None:
    refusal, taken = (False, "missing argument", None), (True, "submitted", None)
    trial = FakeTrial("detection", {"submit": [refusal, taken]})
    play(trial, [DONE, DONE])
    assert len(trial.calls) == 2


def test_the_model_is_told_when_its_budget_ends() -> None:
    trial = FakeTrial("detection", steps=4)
    look = message("", tool_call("alerts", {}))
    requests = play(trial, [look, look, DONE])
    assert "steps 3" in requests[1]["messages"][-1]["content"]
    assert "Call `submit` now" in requests[1]["messages"][-1]["content"]


def test_a_used_up_budget_ends_the_conversation() -> None:
    trial = FakeTrial("detection", steps=2)
    with pytest.raises(LimitExceeded):
        play(trial, [message("", tool_call("alerts", {}))])


def test_old_observations_are_shortened() -> None:
    trial = FakeTrial("detection", {"alerts": (True, "x" * 5000, None)})
    look = message("", tool_call("alerts", {}))
    requests = play(trial, [look, look, look, DONE], keep="1")
    sizes = [len(m["content"]) for m in requests[-1]["messages"] if m["role"] == "tool"]
    assert sizes[0] < 400
    assert sizes[1] < 400
    assert sizes[2] > 5000


def test_an_endpoint_that_refuses_is_no_fault_of_the_agent() -> None:
    trial = FakeTrial("detection")
    with pytest.raises(PreflightError, match="does not answer"):
        play(trial, [404])
