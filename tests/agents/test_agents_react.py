from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from agents_fakes import FakeTrial, LastWordTrial
from agents_server import Said, Script, completions, failure, message, tool_call

from aiopslab.agents import ModelSettings, load
from aiopslab.errors import AgentError, LimitExceeded, PreflightError, UsageError
from aiopslab.models.observation import ToolInfo

pytest.importorskip("langchain_openai")

DONE = message("", tool_call("submit", {"anomaly": True, "confidence": 0.9}))
LOOK = message("", tool_call("alerts", {}))
SEARCH = ToolInfo(
    name="search_incidents", description="Find past incidents.", effect="read", cost_s=2.0,
    parameters={"type": "object", "properties": {"query": {"type": "string"}}},
)  # fmt: skip


def play(trial: FakeTrial, script: Script, **arguments: str) -> list[dict[str, Any]]:
    """Let the agent play against a scripted model; return the requests it sent."""
    with completions(script) as (url, requests):
        settings = ModelSettings(model="openai/scripted", base_url=url)
        asyncio.run(load("react").build(arguments, settings).run(trial))
    return requests


def offered(request: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in request["tools"]]


def names(trial: FakeTrial) -> list[str]:
    return [name for name, _ in trial.calls]


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


def test_old_observations_are_shortened_to_the_lines_that_say_most() -> None:
    lines = "\n".join([*(f"svc{n} is well" for n in range(400)), "svc7 refused the connection"])
    trial = FakeTrial("detection", {"alerts": (True, lines, None)})
    looks = [message("", tool_call("alerts", {}, f"c{n}")) for n in range(3)]
    requests = play(trial, [*looks, DONE], keep="1", extract="300")
    told = [m["content"] for m in requests[-1]["messages"] if m["role"] == "tool"]
    assert [len(text) <= 300 for text in told] == [True, True, False]
    assert told[0].startswith("[obs-1]\n")
    assert "svc7 refused the connection" in told[0]


def test_what_a_call_asked_for_is_kept_of_its_observation() -> None:
    lines = "\n".join(f"svc{n} is well" for n in range(400))
    trial = FakeTrial("detection", {"services": (True, lines, None)})
    first = message("", tool_call("services", {"name": "svc333"}, "a"))
    requests = play(trial, [first, LOOK, DONE], keep="1", extract="300")
    assert "svc333 is well" in requests[-1]["messages"][3]["content"]


def test_the_last_turn_offers_nothing_but_submit() -> None:
    trial = FakeTrial("detection")
    requests = play(trial, [LOOK, LOOK, DONE], steps="3")
    assert offered(requests[2]) == ["submit"]
    assert "turn 3 of 3" in requests[2]["messages"][-1]["content"]


def test_turns_that_are_used_up_end_the_trial_without_an_answer() -> None:
    trial = FakeTrial("detection")
    assert len(play(trial, [LOOK], steps="3")) == 3
    assert "submit" not in names(trial)


def test_an_answer_refused_on_the_last_turn_may_be_repaired() -> None:
    trial = FakeTrial("detection", {"submit": [(False, "missing", None), (True, "ok", None)]})
    assert len(play(trial, [LOOK, DONE, DONE, DONE], steps="2")) == 3
    assert names(trial) == ["alerts", "submit", "submit"]


def test_a_call_without_name_and_readable_arguments_is_told_to_the_model() -> None:
    nameless = tool_call("", '{"a": tr')
    nameless["function"]["name"] = None
    trial = FakeTrial("detection")
    play(trial, [message("", nameless), DONE])
    assert names(trial) == ["malformed", "submit"]


def test_an_answer_that_cannot_be_read_on_the_last_turn_may_be_repaired() -> None:
    trial = FakeTrial("detection")
    broken = message("", tool_call("submit", '{"anomaly": tr'))
    assert len(play(trial, [LOOK, broken, DONE], steps="2")) == 3
    assert names(trial) == ["alerts", "malformed", "submit"]
    assert len(play(FakeTrial("detection"), [broken], steps="2")) == 3


def test_twenty_turns_are_the_default() -> None:
    assert len(play(FakeTrial("detection"), [LOOK])) == 20


def test_past_incidents_are_mentioned_only_where_they_can_be_searched() -> None:
    trial = FakeTrial("detection")
    assert "search_incidents" not in play(trial, [DONE])[0]["messages"][0]["content"]
    trial = FakeTrial("detection")
    trial.tools.append(SEARCH)
    requests = play(trial, [message("", tool_call("search_incidents", {"query": "5xx"})), DONE])
    assert "`search_incidents` finds past incidents" in requests[0]["messages"][0]["content"]
    assert trial.calls[0] == ("search_incidents", {"query": "5xx"})


def test_cot_answers_once_from_observations_that_are_always_the_same() -> None:
    trial = FakeTrial("localization", {"alerts": (False, "no route to host", None)})
    requests = play(trial, [message("", tool_call("submit", {"candidates": []}))], variant="cot")
    assert names(trial) == [
        "alerts", "services", "topology", "changes", "k8s_get", "k8s_events", "logs_patterns",
        "submit",
    ]  # fmt: skip
    assert offered(requests[0]) == ["submit"]
    seen = requests[0]["messages"][1]["content"]
    assert "alerts: [obs-1 failed]\nno route to host" in seen
    assert "services: [obs-2]\nservices answers" in seen


def test_cot_reads_the_whole_vocabulary_of_a_diagnosis() -> None:
    trial = FakeTrial("diagnosis")
    trial.cursors["cause_kinds"] = "obs-8:6000"
    play(trial, [message("", tool_call("submit", {"hypotheses": []}))], variant="cot")
    assert names(trial)[-3:] == ["cause_kinds", "cause_kinds", "submit"]
    assert trial.calls[-2][1] == {"cursor": "obs-8:6000"}


def test_cot_cannot_look() -> None:
    trial = FakeTrial("detection")
    requests = play(trial, [LOOK, DONE], variant="cot")
    assert names(trial)[-2:] == ["malformed", "submit"]
    told = requests[1]["messages"][-1]["content"]
    assert told == "[obs-8 failed]\nthere is no tool 'alerts' here; tools: submit"


def test_retrieval_only_reads_what_people_wrote_down() -> None:
    trial = FakeTrial("mitigation")
    trial.tools.append(SEARCH)
    requests = play(trial, [message("", tool_call("runbooks", {})), DONE], variant="retrieval-only")
    assert set(offered(requests[0])) == {
        "runbooks", "docs", "search_incidents", "cause_kinds", "submit"
    }  # fmt: skip
    assert names(trial) == ["runbooks", "submit"]


def test_an_unknown_variant_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="no variant 'cott'") as caught:
        play(FakeTrial("detection"), [DONE], variant="cott")
    assert "did you mean 'cot'" in caught.value.hint


def test_a_model_that_declines_is_asked_once_more() -> None:
    declined = message(refusal="I cannot help with that.")
    trial = FakeTrial("detection")
    requests = play(trial, [declined, DONE])
    assert names(trial) == ["submit"]
    assert "This is a benchmark" in requests[1]["messages"][-1]["content"]
    trial = FakeTrial("detection")
    assert len(play(trial, [declined])) == 2
    assert trial.calls == []
    filtered = FakeTrial("detection")
    play(filtered, [Said(message(), finish="content_filter"), DONE])
    assert filtered.notes == ["the model declines: content filter"]


def test_tokens_cost_what_the_list_says_and_cached_ones_less() -> None:
    usage = {
        "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 400},
    }  # fmt: skip
    trial = FakeTrial("detection", cost_usd=1.0)
    with completions([Said(DONE, usage=usage)]) as (url, _):
        settings = ModelSettings(model="openai/gpt-4o", base_url=url)
        asyncio.run(load("react").build({}, settings).run(trial))
    assert trial.tokens == [1000, 100]
    assert trial.costs == [pytest.approx((600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6)]


def test_a_limit_needs_an_endpoint_that_counts() -> None:
    with pytest.raises(PreflightError, match="reports no token usage"):
        play(FakeTrial("detection", tokens=1000), [Said(DONE, usage=None)])


def test_a_budget_of_dollars_ends_the_trial() -> None:
    trial = FakeTrial("detection", cost_usd=0.0005)
    with completions([LOOK]) as (url, _):
        agent = load("react").build({}, ModelSettings(model="gpt-4o", base_url=url))
        with pytest.raises(LimitExceeded):
            asyncio.run(agent.run(trial))
    assert names(trial) == ["alerts"]


def test_failures_that_pass_are_waited_for() -> None:
    trial = FakeTrial("detection")
    script = [failure(429, "slow down"), failure(503, "busy"), DONE]
    assert len(play(trial, script)) == 3
    assert names(trial) == ["submit"]


def test_a_storm_of_refusals_is_no_failure_of_the_agent() -> None:
    with pytest.raises(PreflightError, match=r"does not answer.*slow down"):
        play(FakeTrial("detection"), [LOOK, failure(429, "slow down")], retries="2")


def test_a_conversation_that_grew_too_long_is_the_agents_failure() -> None:
    with pytest.raises(AgentError, match="context length"):
        play(FakeTrial("detection"), [LOOK, failure(400, "context length exceeded")])


@pytest.mark.parametrize(
    "body",
    [
        '{"id": "x", "choices": [{"index',
        '{"id": "x", "object": "chat.completion", "choices": []}',
        '{"id": "x", "object": "chat.completion", "choices": null}',
        '{"id": "x", "object": "chat.completion", "choices": [{"message": null}]}',
    ],
    ids=["half of its JSON", "no choice", "null", "no message"],
)
def test_a_reply_that_arrives_broken_is_asked_for_again(body: str) -> None:
    trial = FakeTrial("detection")
    play(trial, [Said(body=body), DONE])
    assert names(trial) == ["submit"]


def test_an_endpoint_that_refuses_is_no_fault_of_the_agent() -> None:
    trial = FakeTrial("detection")
    with pytest.raises(PreflightError, match="does not answer"):
        play(trial, [404])


def test_arguments_that_are_no_object_are_the_models_mistake_and_its_tokens_are_booked() -> None:
    trial = FakeTrial("detection")
    broken = message("", tool_call("alerts", "[1]", "a"), tool_call("alerts", '"x"', "b"))
    requests = play(trial, [broken, DONE])
    assert names(trial) == ["malformed", "malformed", "submit"]
    assert trial.tokens == [200, 14]
    said, *told = requests[1]["messages"][-3:]
    assert [c["id"] for c in said["tool_calls"]] == [m["tool_call_id"] for m in told] == ["a", "b"]
    assert "[obs-1 failed]" in told[0]["content"]


def test_malformed_arguments_are_not_repeated_to_the_endpoint() -> None:
    requests = play(FakeTrial("detection"), [message("", tool_call("alerts", '{"a": tr')), DONE])
    [call] = requests[1]["messages"][-2]["tool_calls"]
    assert call["function"]["arguments"] == "{}"


@pytest.mark.parametrize("id", ["", None])
def test_calls_without_ids_get_some(id: str | None) -> None:
    call = {**tool_call("alerts", {}), "id": id}
    trial = FakeTrial("detection", {"submit": [(False, "missing", None), (True, "ok", None)]})
    again = message("", {**tool_call("submit", {}), "id": id})
    requests = play(trial, [message("", call, call), again, DONE])
    said, *told = requests[1]["messages"][-3:]
    ids = [c["id"] for c in said["tool_calls"]]
    assert len({*ids, ""}) == 3
    assert [(m["role"], m["tool_call_id"]) for m in told] == [("tool", i) for i in ids]
    assert names(trial)[-2:] == ["submit", "submit"]


def test_arguments_that_langchain_would_take_for_its_own_reach_the_trial() -> None:
    trial = FakeTrial("detection")
    given = {"self": 1, "config": {}, "run_manager": 2}
    play(trial, [message("", tool_call("alerts", given)), DONE])
    assert trial.calls[0] == ("alerts", given)


def test_an_endpoint_that_counts_but_half_does_not_count() -> None:
    with pytest.raises(PreflightError, match="reports no token usage"):
        play(FakeTrial("detection", tokens=1000), [Said(DONE, usage={"total_tokens": 107})])


def test_cached_tokens_of_another_service_tier_are_cached_tokens() -> None:
    usage = {
        "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 400},
    }  # fmt: skip
    choice = {"index": 0, "message": DONE, "finish_reason": "tool_calls"}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
            "choices": [choice], "service_tier": "priority"}  # fmt: skip
    trial = FakeTrial("detection")
    with completions([Said(body=json.dumps(body))]) as (url, _):
        settings = ModelSettings(model="openai/gpt-4o", base_url=url)
        asyncio.run(load("react").build({}, settings).run(trial))
    assert trial.costs == [pytest.approx((600 * 2.5 + 400 * 1.25 + 100 * 10) / 1e6)]


def test_a_model_that_takes_no_temperature_is_asked_without_one() -> None:
    refusal = failure(400, "only the default is supported", param="temperature")
    requests = play(FakeTrial("detection"), [refusal, LOOK, DONE])
    assert ["temperature" in request for request in requests] == [True, False, False]


def test_an_endpoint_of_ones_own_is_asked_for_chat_completions_whatever_the_models_name() -> None:
    trial = FakeTrial("detection")
    with completions([DONE]) as (url, requests):
        settings = ModelSettings(model="gpt-5-pro", base_url=url)
        asyncio.run(load("react").build({}, settings).run(trial))
    assert "messages" in requests[0]
    assert names(trial) == ["submit"]


def test_a_message_that_holds_nothing_is_repeated_with_a_word_in_its_place() -> None:
    requests = play(FakeTrial("detection"), [message(), DONE])
    assert requests[1]["messages"][-2]["content"] == "(no text)"
    requests = play(FakeTrial("detection"), [message(refusal="I cannot."), DONE])
    assert requests[1]["messages"][-2]["content"] == "I cannot."


def test_a_message_that_was_cut_off_is_said_to_be() -> None:
    trial = FakeTrial("detection")
    half = Said(message("", tool_call("alerts", '{"include_')), finish="length")
    none = Said(message("", tool_call("alerts", "")), finish="length")
    text = Said(message("First of all"), finish="length")
    requests = play(trial, [half, none, text, DONE])
    assert names(trial) == ["malformed", "malformed", "malformed", "submit"]
    for request in requests[1:]:
        assert "was cut off" in request["messages"][-1]["content"]


def test_once_the_calls_are_used_up_nothing_but_submit_is_offered() -> None:
    trial = LastWordTrial("detection", steps=2)
    requests = play(trial, [LOOK, LOOK, DONE])
    assert offered(requests[2]) == ["submit"]
    assert "steps 0" in requests[2]["messages"][-1]["content"]
    assert names(trial) == ["alerts", "alerts", "submit"]
