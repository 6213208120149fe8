"""The agent of the OpenAI SDK against a scripted endpoint, whole replies and streams."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from agents_fakes import FakeTrial, LastWordTrial
from agents_server import Said, Script, completions, failure, message, tool_call

from aiopslab.agents import ModelSettings, load
from aiopslab.errors import AgentError, LimitExceeded, PreflightError

pytest.importorskip("openai")

ANSWER = {"anomaly": True, "confidence": 0.9}
DONE = message("", tool_call("submit", ANSWER))
LOOK = message("", tool_call("alerts", {}))
TEXT = message("It is broken.")


def play(trial: FakeTrial, script: Script, **arguments: str) -> list[dict[str, Any]]:
    """Let the agent play against a scripted model; return the requests it sent."""
    with completions(script) as (url, requests):
        settings = ModelSettings(model="openai/scripted", base_url=url)
        asyncio.run(load("openai-tools").build(arguments, settings).run(trial))
    return requests


def names(trial: FakeTrial) -> list[str]:
    return [name for name, _ in trial.calls]


STREAMED = pytest.mark.parametrize("stream", ["false", "true"])


@STREAMED
def test_parallel_calls_are_carried_out_in_order_and_answered_by_id(stream: str) -> None:
    trial = FakeTrial("detection", {"logs_search": (True, "42 lines of anger", None)})
    both = message(
        "Errors and alerts first.",
        tool_call("logs_search", {"service": "web"}, "a"),
        tool_call("alerts", {}, "b"),
    )
    requests = play(trial, [both, DONE], stream=stream)
    assert trial.calls == [("logs_search", {"service": "web"}), ("alerts", {}), ("submit", ANSWER)]
    assert trial.notes == ["Errors and alerts first."]
    assert trial.tokens == [200, 14]
    said, first, second = requests[1]["messages"][-3:]
    assert [c["id"] for c in said["tool_calls"]] == ["a", "b"]
    assert (first["tool_call_id"], first["content"]) == ("a", "[obs-1]\n42 lines of anger")
    assert second["tool_call_id"] == "b"


def test_submit_is_offered_as_a_strict_function() -> None:
    trial = FakeTrial("diagnosis")
    requests = play(trial, [DONE])
    offered = {f["function"]["name"]: f["function"] for f in requests[0]["tools"]}
    assert set(offered) == {t.name for t in trial.tools}
    assert [n for n, f in offered.items() if f.get("strict")] == ["submit"]
    schema = offered["submit"]["parameters"]
    hypothesis = schema["properties"]["hypotheses"]["items"]
    assert schema["required"] == ["hypotheses", "evidence", "escalate"]
    assert hypothesis["required"] == ["component", "cause", "mechanism", "probability"]
    assert hypothesis["additionalProperties"] is False
    assert "default" not in json.dumps(schema)
    assert "maxLength" not in json.dumps(schema)


def test_an_endpoint_without_strict_functions_can_be_spared_them() -> None:
    requests = play(FakeTrial("detection"), [DONE], strict="false")
    assert not any("strict" in f["function"] for f in requests[0]["tools"])


def test_malformed_arguments_are_told_to_the_model_and_not_repeated_to_the_endpoint() -> None:
    trial = FakeTrial("detection")
    broken = message("", tool_call("alerts", '{"a": tr', "a"), tool_call("services", "[1]", "b"))
    requests = play(trial, [broken, DONE])
    assert names(trial) == ["malformed", "malformed", "submit"]
    said, first, second = requests[1]["messages"][-3:]
    assert [c["function"]["arguments"] for c in said["tool_calls"]] == ["{}", "{}"]
    assert "no JSON object" in first["content"]
    assert "it is list" in second["content"]


def test_unknown_tools_are_told_to_the_model() -> None:
    trial = FakeTrial("detection", {"kubectl2": (False, "there is no tool 'kubectl2'", None)})
    requests = play(trial, [message("", tool_call("kubectl2", {})), DONE])
    assert requests[1]["messages"][-1]["content"] == "[obs-1 failed]\nthere is no tool 'kubectl2'"


def test_calls_without_ids_get_some() -> None:
    both = message("", tool_call("alerts", {}, ""), tool_call("alerts", {}, ""))
    requests = play(FakeTrial("detection"), [both, DONE])
    said, *told = requests[1]["messages"][-3:]
    ids = [c["id"] for c in said["tool_calls"]]
    assert len({*ids, ""}) == 3
    assert [m["tool_call_id"] for m in told] == ids


def test_nothing_follows_an_answer_that_is_taken() -> None:
    trial = FakeTrial("detection")
    play(trial, [message("", tool_call("submit", ANSWER), tool_call("alerts", {}))])
    assert names(trial) == ["submit"]


def test_a_refused_answer_is_repaired() -> None:
    trial = FakeTrial("detection", {"submit": [(False, "missing", None), (True, "ok", None)]})
    requests = play(trial, [DONE, DONE])
    assert names(trial) == ["submit", "submit"]
    assert requests[1]["messages"][-1]["content"] == "[obs-1 failed]\nmissing"


@STREAMED
def test_a_model_that_stops_calling_tools_gives_a_structured_answer(stream: str) -> None:
    trial = FakeTrial("detection")
    requests = play(trial, [TEXT, TEXT, message(json.dumps(ANSWER))], stream=stream)
    assert names(trial) == ["malformed", "submit"]
    assert trial.submitted == ANSWER
    form = requests[-1]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"]["required"] == ["anomaly", "confidence", "escalate"]
    assert "tools" not in requests[-1]


def test_a_structured_answer_is_repaired_once() -> None:
    trial = FakeTrial("detection")
    requests = play(trial, [TEXT, TEXT, TEXT, message(json.dumps(ANSWER))])
    assert names(trial) == ["malformed", "malformed", "submit"]
    assert "no JSON object" in requests[-1]["messages"][-1]["content"]
    trial = FakeTrial("detection")
    assert len(play(trial, [TEXT])) == 4
    assert "submit" not in names(trial)


def test_a_model_that_declines_is_asked_once_more() -> None:
    declined = message(refusal="I cannot help with that.")
    trial = FakeTrial("detection")
    requests = play(trial, [declined, DONE])
    assert names(trial) == ["submit"]
    assert trial.notes == ["the model declines: I cannot help with that."]
    assert requests[1]["messages"][-2]["content"] == "I cannot help with that."
    assert "This is a benchmark" in requests[1]["messages"][-1]["content"]
    trial = FakeTrial("detection")
    assert len(play(trial, [declined])) == 2
    assert trial.calls == []


@STREAMED
def test_a_filter_before_the_model_is_a_refusal(stream: str) -> None:
    trial = FakeTrial("detection")
    play(trial, [Said(message(), finish="content_filter"), DONE], stream=stream)
    assert trial.notes == ["the model declines: content filter"]
    assert names(trial) == ["submit"]


def test_the_last_turn_offers_nothing_but_submit() -> None:
    trial = FakeTrial("detection")
    requests = play(trial, [LOOK, LOOK, DONE], steps="3")
    assert [f["function"]["name"] for f in requests[2]["tools"]] == ["submit"]
    assert "turn 3 of 3" in requests[2]["messages"][-1]["content"]


def test_turns_that_are_used_up_leave_the_structured_answer() -> None:
    trial = FakeTrial("detection")
    requests = play(trial, [LOOK, LOOK, message(json.dumps(ANSWER))], steps="2")
    assert names(trial) == ["alerts", "alerts", "submit"]
    assert len(requests) == 3


@STREAMED
def test_failures_that_pass_are_waited_for(stream: str) -> None:
    trial = FakeTrial("detection")
    script = [failure(429, "slow down"), failure(503, "busy"), failure(500), DONE]
    assert len(play(trial, script, stream=stream)) == 4
    assert trial.submitted == ANSWER


def test_an_endpoint_that_asks_for_more_patience_than_there_is_is_not_asked_again() -> None:
    script = [LOOK, Said(status=429, headers={"Retry-After": "3600"}, body="{}")]
    with pytest.raises(PreflightError, match="429"):
        play(FakeTrial("detection"), script)


def test_a_storm_of_refusals_is_no_failure_of_the_agent() -> None:
    with pytest.raises(PreflightError, match=r"does not answer.*slow down"):
        play(FakeTrial("detection"), [LOOK, failure(429, "slow down")], retries="2")


def test_a_conversation_that_grew_too_long_is_the_agents_failure() -> None:
    with pytest.raises(AgentError, match="context length"):
        play(FakeTrial("detection"), [LOOK, failure(400, "context length exceeded")])


@pytest.mark.parametrize(
    ("cut", "length"),
    [(2, None), (6, None), (3, "100000")],
    ids=["in its beginning", "in a call", "below the length that was announced"],
)
def test_a_stream_that_breaks_off_is_asked_for_again(cut: int, length: str | None) -> None:
    trial = FakeTrial("detection")
    call = message("Look.", tool_call("alerts", {"include_resolved": True}))
    headers = {"Content-Length": length} if length else {}
    play(trial, [Said(call, cut=cut, headers=headers), call, DONE], stream="true")
    assert names(trial) == ["alerts", "submit"]
    assert trial.tokens == [200, 14]


def test_streams_that_always_break_off_are_no_failure_of_the_agent() -> None:
    with pytest.raises(PreflightError, match=r"broken replies: .*in the middle of the reply"):
        play(FakeTrial("detection"), [Said(DONE, cut=3)], stream="true")


@pytest.mark.parametrize(
    "reply",
    [
        Said(DONE, cut=40, headers=dict[str, str]()),
        Said(body='{"id": "x", "choices": [{"index'),
        Said(body='{"id": "x", "object": "chat.completion", "choices": []}'),
        Said(body='{"id": "x", "object": "chat.completion", "choices": [{"message": null}]}'),
    ],
    ids=["cut", "half of its JSON", "no choice", "no message"],
)
def test_a_whole_reply_that_arrives_broken_is_asked_for_again(reply: Said) -> None:
    trial = FakeTrial("detection")
    play(trial, [reply, DONE])
    assert names(trial) == ["submit"]


def test_an_endpoint_that_says_nothing_is_given_up() -> None:
    with pytest.raises(PreflightError, match="timed out"):
        play(FakeTrial("detection"), [Said(hold=True)], timeout_s="0.05", retries="0")


def test_a_budget_of_tokens_ends_the_trial() -> None:
    trial = FakeTrial("detection", tokens=300)
    with pytest.raises(LimitExceeded):
        play(trial, [LOOK])
    assert names(trial) == ["alerts", "alerts"]


def test_the_endpoint_is_told_no_temperature_on_request() -> None:
    assert play(FakeTrial("detection"), [DONE])[0]["temperature"] == 0.0
    assert "temperature" not in play(FakeTrial("detection"), [DONE], temperature="-1")[0]


def test_a_model_that_takes_no_temperature_is_asked_without_one() -> None:
    refusal = failure(400, "only the default is supported", param="temperature")
    requests = play(FakeTrial("detection"), [refusal, LOOK, DONE])
    assert ["temperature" in request for request in requests] == [True, False, False]


def test_old_observations_are_shortened_and_keep_their_ids() -> None:
    lines = "\n".join([*(f"svc{n} is well" for n in range(400)), "svc7 refused the connection"])
    trial = FakeTrial("detection", {"alerts": (True, lines, None)})
    requests = play(trial, [LOOK, LOOK, LOOK, DONE], keep="1", extract="300")
    told = [m["content"] for m in requests[-1]["messages"] if m["role"] == "tool"]
    assert [len(text) <= 300 for text in told] == [True, True, False]
    assert told[0].startswith("[obs-1]\n")
    assert "svc7 refused the connection" in told[0]


@STREAMED
def test_a_content_of_parts_is_read_as_its_text(stream: str) -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Look."}]
    trial = FakeTrial("detection")
    if stream == "true":
        pieces = [{"delta": {"content": [part]}, "index": 0} for part in parts]
        play(trial, [Said(body=streamed(*pieces)), DONE], stream=stream)
    else:
        play(trial, [{**LOOK, "content": parts}, DONE])
    assert trial.notes == ["Look."]


def test_streamed_calls_of_one_index_are_told_apart_by_their_ids() -> None:
    trial = FakeTrial("detection")
    calls = [tool_call("alerts", {}, "a"), tool_call("logs_search", {"service": "web"}, "b")]
    pieces = [{"delta": {"tool_calls": [{**c, "index": 0}]}, "index": 0} for c in calls]
    play(trial, [Said(body=streamed(*pieces)), DONE], stream="true")
    assert trial.calls[:2] == [("alerts", {}), ("logs_search", {"service": "web"})]


def streamed(*choices: dict[str, Any]) -> str:
    """Write a stream of choices, ended."""
    end = {"delta": {}, "index": 0, "finish_reason": "stop"}
    texts = [*(json.dumps({"id": "x", "choices": [c]}) for c in (*choices, end)), "[DONE]"]
    return "".join(f"data: {text}\n\n" for text in texts)


def test_calls_without_a_type_and_arguments_that_are_no_text_are_carried_out() -> None:
    function = {"name": "logs_search", "arguments": {"service": "web"}}
    trial = FakeTrial("detection")
    requests = play(trial, [message("", {"id": "a", "function": function}), DONE])
    assert trial.calls[0] == ("logs_search", {"service": "web"})
    [call] = requests[1]["messages"][-2]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"service": "web"}


@pytest.mark.parametrize("usage", [{"total_tokens": 107}, {"prompt_tokens": None}])
def test_an_endpoint_that_counts_but_half_does_not_count(usage: dict[str, Any]) -> None:
    play(FakeTrial("detection"), [Said(DONE, usage=usage)])
    with pytest.raises(PreflightError, match="reports no token usage"):
        play(FakeTrial("detection", tokens=1000), [Said(DONE, usage=usage)])


def test_a_message_that_holds_nothing_is_repeated_with_a_word_in_its_place() -> None:
    requests = play(FakeTrial("detection"), [message(), DONE])
    assert requests[1]["messages"][-2]["content"] == "(no text)"


@STREAMED
def test_a_message_that_was_cut_off_is_said_to_be(stream: str) -> None:
    trial = FakeTrial("detection")
    half = Said(message("", tool_call("alerts", '{"include_')), finish="length")
    none = Said(message("", tool_call("alerts", "")), finish="length")
    text = Said(message("First of all"), finish="length")
    requests = play(trial, [half, none, text, DONE], stream=stream)
    assert names(trial) == ["malformed", "malformed", "malformed", "submit"]
    for request in requests[1:]:
        assert "was cut off" in request["messages"][-1]["content"]


def test_a_structured_answer_may_come_as_a_call_that_was_not_offered() -> None:
    trial = FakeTrial("detection", {"submit": [(False, "missing", None), (True, "ok", None)]})
    requests = play(trial, [TEXT, TEXT, DONE, LOOK])
    assert names(trial) == ["malformed", "submit", "malformed"]
    assert not any(m.get("tool_calls") for m in requests[-1]["messages"])


def test_a_model_that_declines_to_give_a_structured_answer_is_asked_for_it_once_more() -> None:
    trial = FakeTrial("detection")
    filtered = Said(message(), finish="content_filter")
    requests = play(trial, [TEXT, TEXT, filtered, message(json.dumps(ANSWER))])
    assert names(trial) == ["malformed", "submit"]
    assert trial.notes[-2] == "the model declines: content filter"
    assert "JSON object" in requests[-1]["messages"][-1]["content"]
    assert "tool call" not in requests[-1]["messages"][-1]["content"]


def test_once_the_calls_are_used_up_nothing_but_submit_is_offered() -> None:
    trial = LastWordTrial("detection", steps=2)
    requests = play(trial, [LOOK, LOOK, DONE])
    assert [f["function"]["name"] for f in requests[2]["tools"]] == ["submit"]
    assert "steps 0" in requests[2]["messages"][-1]["content"]
    assert names(trial) == ["alerts", "alerts", "submit"]
