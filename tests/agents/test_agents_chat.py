"""Whose failure it is when a model does not answer; what is booked; budgets in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from agents_fakes import FakeTrial

from aiopslab.agents import ModelSettings
from aiopslab.agents.chat import (
    BrokenReply,
    ModelLine,
    Prompts,
    in_words,
    nearly_over,
    text_of,
)
from aiopslab.agents.prices import PriceList, TokenUsage, load_prices
from aiopslab.errors import AgentError, LimitExceeded, PreflightError
from aiopslab.models.observation import Budget

openai = pytest.importorskip("openai")
httpx2 = pytest.importorskip("httpx2")

GPT = ModelSettings(model="openai/gpt-4o")
OWN = ModelSettings(model="own", base_url="http://localhost/v1")


def status(code: int) -> Exception:
    request = httpx2.Request("POST", "http://localhost/v1/chat/completions")
    response = httpx2.Response(code, request=request)
    return openai.APIStatusError(f"status {code}", response=response, body=None)


def scripted(*entries: object) -> Callable[[], object]:
    """Raise or return one entry a call."""
    left = list(entries)

    async def ask() -> object:
        entry = left.pop(0)
        if isinstance(entry, Exception):
            raise entry
        return entry

    return ask


def line(trial: FakeTrial, model: ModelSettings = OWN) -> ModelLine:
    return ModelLine(trial, model, load_prices())


HELLO = ("hello", TokenUsage(1000, 100, 200))


def test_tokens_are_booked_with_their_price() -> None:
    trial = FakeTrial("detection")
    assert asyncio.run(line(trial, GPT).reply(scripted(HELLO))) == "hello"
    assert trial.tokens == [1000, 100]
    assert trial.costs == [pytest.approx((800 * 2.5 + 200 * 1.25 + 100 * 10) / 1e6)]
    kept = PriceList.model_validate_json(trial.kept["prices.json"])
    assert list(kept.models) == ["gpt-4o"]
    assert kept.version


def test_the_cost_of_a_model_without_a_price_is_unknown() -> None:
    trial = FakeTrial("detection")
    asyncio.run(line(trial).reply(scripted(HELLO)))
    assert trial.costs == [None]
    assert trial.kept == {}


def test_a_budget_of_dollars_needs_a_price() -> None:
    with pytest.raises(PreflightError, match="a cost limit cannot hold"):
        line(FakeTrial("detection", cost_usd=1.0))


@pytest.mark.parametrize("budget", [{"tokens": 1000}, {"cost_usd": 1.0}])
def test_a_budget_needs_an_endpoint_that_counts(budget: dict[str, int]) -> None:
    asyncio.run(line(FakeTrial("detection"), GPT).reply(scripted(("hello", None))))
    with pytest.raises(PreflightError, match="reports no token usage"):
        asyncio.run(line(FakeTrial("detection", **budget), GPT).reply(scripted(("hello", None))))


def test_broken_replies_are_asked_for_again() -> None:
    ask = scripted(BrokenReply("cut"), ValueError("no JSON"), HELLO)
    assert asyncio.run(line(FakeTrial("detection")).reply(ask)) == "hello"


def test_an_endpoint_whose_replies_stay_broken_does_not_answer() -> None:
    with pytest.raises(PreflightError, match=r"does not answer: broken replies: .*cut"):
        asyncio.run(line(FakeTrial("detection")).reply(scripted(*[BrokenReply("cut")] * 3)))


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_conversation_that_is_refused_is_the_agents_failure_once_it_has_begun(code: int) -> None:
    trial = FakeTrial("detection")
    begun = line(trial)
    asyncio.run(begun.reply(scripted(HELLO)))
    with pytest.raises(AgentError, match="refuses the conversation"):
        asyncio.run(begun.reply(scripted(status(code))))
    with pytest.raises(PreflightError, match="does not answer"):
        asyncio.run(line(trial).reply(scripted(status(code))))


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500, 503])
def test_an_endpoint_that_fails_is_never_the_agents_failure(code: int) -> None:
    begun = line(FakeTrial("detection"))
    asyncio.run(begun.reply(scripted(HELLO)))
    with pytest.raises(PreflightError, match=f"status {code}"):
        asyncio.run(begun.reply(scripted(status(code))))


def test_a_budget_is_told_in_words_when_little_is_left() -> None:
    trial = FakeTrial("detection", tokens=1000)
    assert nearly_over(trial) == ""
    trial.usage(900, 50)
    assert nearly_over(trial) == "steps 100, tokens 50"
    assert in_words(Budget()) == "unlimited"


def test_prompts_are_files_with_places_to_fill_in(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text('Do {what}: {{"a": 1}}\n', encoding="utf-8")
    (tmp_path / "b.md").write_text('Say {"a": 1}\n', encoding="utf-8")
    prompt = Prompts(tmp_path)
    assert prompt("a", what="it") == 'Do it: {"a": 1}'
    assert prompt("b") == 'Say {"a": 1}'


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        (None, ""),
        ([{"type": "text", "text": "a"}, {"type": "thinking", "text": "b"}, "c"], "ac"),
        ([{"type": "text", "text": None}, 3], ""),
    ],
)
def test_the_text_of_a_message_is_that_of_its_parts(content: object, text: str) -> None:
    assert text_of(content) == text


@pytest.mark.parametrize("budget", [{"tokens": 1100}, {"cost_usd": 0.001}])
def test_at_the_end_of_a_budget_nobody_is_asked(budget: dict[str, int]) -> None:
    begun = line(FakeTrial("detection", **budget), GPT)
    ask = scripted(HELLO, HELLO)
    asyncio.run(begun.reply(ask))
    with pytest.raises(LimitExceeded):
        asyncio.run(begun.reply(ask))
    assert asyncio.run(ask()) == HELLO


def test_the_price_is_kept_with_the_first_tokens_that_are_counted() -> None:
    trial = FakeTrial("detection")
    begun = line(trial, GPT)
    asyncio.run(begun.reply(scripted(("hello", None))))
    asyncio.run(begun.reply(scripted(HELLO)))
    assert "prices.json" in trial.kept
