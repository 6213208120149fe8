"""The webhook door: what an assistant is told, what it may reply, and what ends it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from doors_fakes import Reply, Trial, assistant, served

from aiopslab.agents import load
from aiopslab.agents.webhook import REPLY_BYTES, Webhook, read_reply
from aiopslab.errors import AgentError, PreflightError, UsageError

ANSWER = {"anomaly": True, "confidence": 0.9}


def ask(tmp_path: Path, *replies: Reply, **how: Any) -> tuple[Trial, list[dict[str, Any]]]:
    """Let an assistant with scripted replies work on a trial."""
    trial = how.pop("trial", None) or Trial()

    async def main() -> list[dict[str, Any]]:
        async with served(trial, tmp_path), assistant(*replies) as (url, requests):
            async with asyncio.timeout(60):
                await Webhook(url, **how).run(trial)
            return requests

    return trial, asyncio.run(main())


def said(value: Any) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()


def test_an_assistant_gets_a_version_4_notification_with_brief_schema_and_doors(
    tmp_path: Path,
) -> None:
    trial, (request,) = ask(tmp_path, said(ANSWER))
    assert request["version"] == "4"
    assert request["status"] == "firing"
    assert request["alerts"][0]["labels"]["alertname"] == "HighErrorRatio"
    assert request["brief"]["task"] == "detection"
    assert request["answerSchema"] == trial.brief.answer_schema
    assert "/e/" in request["doors"]["prometheus"]
    assert "kind: Config" in request["doors"]["kubeconfig"]
    assert trial.answer == ANSWER


def test_a_holmes_server_is_asked_at_its_chat_with_a_response_format(tmp_path: Path) -> None:
    reply = said({"analysis": json.dumps(ANSWER), "tool_calls": []})
    trial, (request,) = ask(tmp_path, reply, style="holmes", model="gpt-5")
    assert request["path"] == "/api/chat"
    assert request["model"] == "gpt-5"
    assert "HighErrorRatio" in request["ask"]
    assert "/e/" in request["ask"]
    schema = request["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["required"] == list(schema["schema"]["properties"])
    assert set(schema["schema"]["properties"]) == set(trial.brief.answer_schema["properties"])
    assert "default" not in json.dumps(schema)
    assert trial.answer == ANSWER


@pytest.mark.parametrize("style", ["alertmanager", "holmes"])
@pytest.mark.parametrize("bad", [(200, b"I think it is web."), said({"analysis": "{}"})])
def test_a_reply_that_is_no_answer_may_be_repaired_once(
    tmp_path: Path, bad: tuple[int, bytes], style: str
) -> None:
    trial, (_, second) = ask(tmp_path, bad, said({"answer": ANSWER}), style=style)
    assert "could not be used" in second["ask"] if style == "holmes" else second["error"]["message"]
    assert trial.answer == ANSWER


async def never() -> tuple[int, bytes]:
    await asyncio.Event().wait()
    return 200, b""


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((200, b"no"), "the reply is no answer: the reply is not JSON"),
        ((200, b"[1]"), "is no JSON object but list"),
        ((200, b"[" * 100_000), "nested too deeply"),
        (said({"analysis": 3}), "'analysis' of the reply is no JSON object"),
        (said({"x": 1}), "the reply is no answer: missing argument"),
        ((500, b"oh"), "answered 500: oh"),
        ((302, b""), "answered 302"),
        ((200, b" " * (REPLY_BYTES + 1)), "longer than"),
        (never, "no reply within 0.2 s"),
    ],
)
def test_a_reply_that_is_none_is_the_assistants_failure(
    tmp_path: Path, reply: Reply, expected: str
) -> None:
    slow = {"timeout_s": 0.2} if reply is never else {}
    trial = Trial()
    with pytest.raises(AgentError, match=expected):
        ask(tmp_path, reply, trial=trial, **slow)
    assert trial.answer is None


def test_an_assistant_that_is_not_there_has_failed(tmp_path: Path) -> None:
    trial = Trial()

    async def main() -> None:
        async with served(trial, tmp_path):
            await Webhook("http://127.0.0.1:1/hook").run(trial)

    with pytest.raises(AgentError, match="the assistant: ConnectError"):
        asyncio.run(main())


def test_an_assistant_may_submit_through_a_door_before_it_replies(tmp_path: Path) -> None:
    trial = Trial()

    async def submits() -> tuple[int, bytes]:
        await trial.call("submit", **ANSWER)
        return said({"analysis": json.dumps({"anomaly": False, "confidence": 1})})

    ask(tmp_path, submits, trial=trial)
    assert trial.answer == ANSWER
    assert [name for name, _ in trial.calls] == ["alerts", "submit"]


def test_a_token_is_sent_from_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "s3cret")
    _, (request,) = ask(tmp_path, said(ANSWER), token_env="HOOK_TOKEN")
    assert request["headers"]["authorization"] == "Bearer s3cret"
    with pytest.raises(PreflightError, match="NO_TOKEN is not set"):
        Webhook("http://127.0.0.1:1", token_env="NO_TOKEN")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ANSWER), json.dumps({"answer": ANSWER}), json.dumps({"analysis": ANSWER}),
        json.dumps({"analysis": f"```json\n{json.dumps(ANSWER)}\n```"}),
        f"```\n{json.dumps(ANSWER)}\n```",
    ],
)  # fmt: skip
def test_an_answer_is_found_in_every_form_a_reply_may_have(text: str) -> None:
    assert read_reply(text) == ANSWER


def test_urls_and_arguments_are_checked_before_anything_boots() -> None:
    for bad in ("webhook:", "webhook:ftp://x", "webhook:nowhere"):
        with pytest.raises(UsageError, match="is no URL to post to"):
            load(bad)
    loader = load("webhook:https://assistant.example/hook")
    with pytest.raises(UsageError, match="has no argument 'stile'"):
        loader.preflight({"stile": "holmes"})
    with pytest.raises(UsageError, match="no style 'x'"):
        loader.preflight({"style": "x"})
    with pytest.raises(PreflightError, match="NO_TOKEN is not set"):
        loader.preflight({"token_env": "NO_TOKEN"})
    assert isinstance(loader.build({"style": "holmes"}), Webhook)
