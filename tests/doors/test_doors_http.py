"""The tool API over HTTP, its document, and the client of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from doors_fakes import Trial, api_of, served
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aiopslab.errors import InfraError, LimitExceeded, PreflightError, UsageError
from aiopslab.models.observation import Brief, Budget, Observation
from aiopslab.models.task import TASKS, Task
from aiopslab.tools import describe_tools
from aiopslab.tools.openapi import document
from aiopslab.tools.remote import open_trial

Ask = Callable[..., Awaitable[httpx2.Response]]
ANSWER = {"anomaly": True, "confidence": 0.9}


def asked(work: Callable[[Ask, Trial], Awaitable[Any]], trial: Trial | None = None) -> Any:
    """Run a conversation with the API, without a socket."""
    trial = trial or Trial()

    async def main() -> Any:
        transport = httpx2.ASGITransport(api_of(trial))
        async with httpx2.AsyncClient(transport=transport, base_url="http://lab") as client:
            return await work(client.request, trial)

    return asyncio.run(main())


def test_brief_tools_budget_and_an_index_can_be_read() -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        assert Brief.model_validate((await ask("GET", "/brief")).json()) == trial.brief
        assert Budget.model_validate((await ask("GET", "/budget")).json()) == trial.budget
        listed = (await ask("GET", "/tools")).json()
        assert [tool["name"] for tool in listed] == [tool.name for tool in trial.tools]
        assert "alerts" in (await ask("GET", "/")).json()["tools"]
        assert trial.calls == []

    asked(work)


def test_a_tool_is_called_with_an_object_of_arguments_and_answers_with_the_observation() -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        answer = await ask("POST", "/tools/logs_search", json={"service": "web", "limit": 5})
        seen = Observation.model_validate(answer.json())
        assert (seen.id, seen.ok, seen.text) == ("obs-1", True, "logs_search answers")
        assert (await ask("POST", "/tools/alerts")).status_code == 200
        assert trial.calls == [("logs_search", {"service": "web", "limit": 5}), ("alerts", {})]

    asked(work)


def test_arguments_may_be_called_anything() -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        strange = {"name": 1, "self": 2, "": 3, "a b": 4}
        assert (await ask("POST", "/tools/alerts", json=strange)).status_code == 200
        assert trial.calls == [("alerts", strange)]

    asked(work)


def test_submitting_ends_the_trial_and_nothing_follows() -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        refused = (await ask("POST", "/submit", json={})).json()
        assert not refused["ok"]
        assert (await ask("POST", "/submit", json=ANSWER)).json()["ok"]
        after = await ask("POST", "/tools/alerts")
        assert after.status_code == 410
        assert after.json()["error"]["kind"] == "over"
        assert (await ask("GET", "/budget")).status_code == 200
        assert trial.answer == ANSWER

    asked(work)


def test_an_unknown_tool_is_answered_with_a_near_one_and_recorded() -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        answer = await ask("POST", "/tools/log_search", json={})
        assert answer.status_code == 404
        assert "logs_search" in answer.json()["error"]["hint"]
        assert trial.calls == [("log_search", {})]

    asked(work)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 10_000,
        b"nul",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"a": 1} {}',
    ],
)
def test_a_body_that_is_no_object_is_refused_without_a_call(body: bytes) -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        answer = await ask("POST", "/tools/alerts", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["kind"] == "malformed"
        assert trial.calls == []

    asked(work)


@settings(max_examples=60)
@given(st.binary(max_size=80))
def test_no_body_breaks_the_api(body: bytes) -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        assert (await ask("POST", "/tools/alerts", content=body)).status_code in (200, 400)

    asked(work)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404), ("GET", "/tools/alerts", 405), ("DELETE", "/brief", 405),
        ("POST", "/tools/../brief", 405), ("GET", "/..%2f..%2fetc/passwd", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused_in_one_form(method: str, path: str, status: int) -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        answer = await ask(method, path)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"kind", "message", "hint"}

    asked(work)


def test_a_used_up_budget_is_a_429_and_submitting_still_works() -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        assert (await ask("POST", "/tools/alerts")).status_code == 200
        answer = await ask("POST", "/tools/alerts")
        assert answer.status_code == 429
        assert answer.json()["error"] == {
            "kind": "limit",
            "message": "the budget of steps is used up",
            "hint": "submit what you have, if time is left",
        }
        assert (await ask("POST", "/submit", json=ANSWER)).json()["ok"]

    asked(work, Trial(steps=1))


def test_a_failure_of_the_lab_tells_the_agent_nothing() -> None:
    trial = Trial()

    async def fails(name: str, /, **arguments: Any) -> Observation:
        raise InfraError("tools", "inner secret")

    trial.call = fails  # type: ignore[method-assign]

    async def work(ask: Ask, trial: Trial) -> None:
        answer = await ask("POST", "/tools/alerts")
        assert answer.status_code == 503
        assert "secret" not in answer.text

    asked(work, trial)


def test_thoughts_and_usage_may_be_reported() -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        assert (await ask("POST", "/note", json={"thought": "web?"})).status_code == 204
        usage = {"tokens_in": 900, "tokens_out": 40, "cost_usd": 0.01}
        assert (await ask("POST", "/usage", json=usage)).status_code == 204
        for path, body in (
            ("/note", {"thought": 1}), ("/note", {}), ("/usage", {"tokens_in": -1}),
            ("/usage", {"tokens": 1}), ("/usage", [1]),
        ):  # fmt: skip
            answer = await ask("POST", path, json=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["kind"] == "malformed"
        assert (await ask("POST", "/usage", content=b'{"cost_usd": NaN}')).status_code == 400
        assert trial.notes == ["web?"]
        assert trial.used == [(900, 40, 0.01)]

    asked(work)


def test_calls_at_once_are_made_one_after_another() -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(ask("POST", "/tools/alerts")) for _ in range(200)]
        assert {call.result().status_code for call in calls} == {200}
        assert trial.most_at_once == 1
        assert len({call.result().json()["id"] for call in calls}) == 200

    asked(work, Trial(steps=1000))


@pytest.mark.parametrize("task", TASKS)
def test_the_document_is_sound_openapi(task: Task) -> None:
    tools = describe_tools(task)
    found = document(tools, server="/e/x/api")
    Draft202012Validator(_OPENAPI).validate(found)
    operations = [op for item in found["paths"].values() for op in item.values()]
    ids = [op["operationId"] for op in operations]
    assert len(ids) == len(set(ids))
    assert {f"/tools/{tool.name}" for tool in tools} <= set(found["paths"])
    for tool in tools:
        body = found["paths"][f"/tools/{tool.name}"]["post"]["requestBody"]
        schema = body["content"]["application/json"]["schema"]
        Draft202012Validator.check_schema(schema)
        assert schema == tool.parameters
    schemas = found["components"]["schemas"]
    assert {ref.removeprefix("#/components/schemas/") for ref in _refs(found)} <= set(schemas)
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def _refs(node: Any) -> list[str]:
    match node:
        case dict():
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [ref for value in node.values() for ref in _refs(value)]
        case list():
            return [ref for value in node for ref in _refs(value)]
        case _:
            return []


def _media(required: bool) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["content"] + (["description"] if required else []),
        "properties": {
            "description": {"type": "string"},
            "content": {
                "type": "object",
                "additionalProperties": {"type": "object", "required": ["schema"]},
            },
        },
    }


_OPENAPI: dict[str, Any] = {
    "type": "object",
    "required": ["openapi", "info", "paths"],
    "additionalProperties": False,
    "properties": {
        "openapi": {"pattern": r"^3\.1\.\d+$"},
        "info": {"type": "object", "required": ["title", "version"]},
        "servers": {"type": "array", "items": {"type": "object", "required": ["url"]}},
        "security": {"type": "array", "items": {"type": "object"}},
        "components": {
            "type": "object",
            "properties": {
                "securitySchemes": {
                    "additionalProperties": {"required": ["type", "scheme"], "type": "object"}
                }
            },
        },
        "paths": {
            "type": "object",
            "propertyNames": {"pattern": "^/"},
            "additionalProperties": {
                "type": "object",
                "propertyNames": {"enum": ["get", "post"]},
                "additionalProperties": {
                    "type": "object",
                    "required": ["operationId", "responses"],
                    "properties": {
                        "requestBody": _media(required=False),
                        "responses": {
                            "type": "object",
                            "minProperties": 1,
                            "propertyNames": {"pattern": r"^[1-5]\d\d$"},
                            "additionalProperties": _media(required=True),
                        },
                    },
                },
            },
        },
    },
}
"""What OpenAPI 3.1 demands of the parts that are used here."""


def test_what_the_api_answers_fits_its_document() -> None:
    async def work(ask: Ask, trial: Trial) -> None:
        schemas = (await ask("GET", "/openapi.json")).json()["components"]["schemas"]
        for name, path in (("Brief", "/brief"), ("Budget", "/budget")):
            _fits(schemas, name, (await ask("GET", path)).json())
        _fits(schemas, "Observation", (await ask("POST", "/tools/alerts")).json())
        _fits(schemas, "Error", (await ask("GET", "/nowhere")).json())
        for tool in (await ask("GET", "/tools")).json():
            _fits(schemas, "ToolInfo", tool)

    asked(work)


def _fits(schemas: dict[str, Any], name: str, value: Any) -> None:
    whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    Draft202012Validator(whole).validate(value)


def test_a_trial_elsewhere_is_called_as_one_in_process(tmp_path: Path) -> None:
    trial = Trial(steps=2)

    async def main() -> None:
        async with served(trial, tmp_path) as doors:
            assert doors.api is not None
            async with open_trial(doors.api, doors.token) as remote:
                assert remote.brief == trial.brief
                assert list(remote.tools) == trial.tools
                assert (await remote.call("alerts")).text == "FIRING HighErrorRatio"
                unknown = await remote.call("nosuch/../tool?x")
                assert not unknown.ok
                await remote.note("hm")
                await remote.usage(tokens_in=5)
                assert (await remote.budget()).steps == 0
                with pytest.raises(LimitExceeded, match="steps is used up"):
                    await remote.call("alerts")
                assert (await remote.call("submit", **ANSWER)).ok
                with pytest.raises(LimitExceeded, match="the trial is over"):
                    await remote.call("alerts")

    asyncio.run(main())
    assert (trial.notes, trial.used) == (["hm"], [(5, 0, None)])
    assert trial.calls[1] == ("nosuch/../tool?x", {})
    assert trial.answer == ANSWER


def test_the_token_of_another_trial_opens_nothing(tmp_path: Path) -> None:
    one, other = Trial(), Trial()

    async def main() -> None:
        async with (
            served(one, tmp_path) as mine,
            served(other, tmp_path) as doors,
            httpx2.AsyncClient(timeout=60) as client,
        ):
            headers = {"Authorization": f"Bearer {mine.token}"}
            for url in (f"{doors.api}/brief", f"{doors.api}/tools/alerts", f"{doors.mcp}"):
                forged = url.replace(f"{doors.api}", mine.with_token(f"{doors.api}"))
                assert (await client.post(forged, json={}, headers=headers)).status_code == 401
                both = doors.with_token(url)
                assert (await client.post(both, json={}, headers=headers)).status_code == 401

    asyncio.run(main())
    assert other.calls == []


@pytest.mark.parametrize("token", ["-", "forged", "x" * 500])
def test_a_forged_token_opens_nothing(tmp_path: Path, token: str) -> None:
    trial = Trial()

    async def main() -> None:
        async with served(trial, tmp_path) as doors, httpx2.AsyncClient(timeout=60) as client:
            headers = {"Authorization": f"Bearer {token}"}
            for path in (f"{doors.api}/brief", f"{doors.mcp}", f"{doors.api}/tools/alerts"):
                for kind in (headers, {}):
                    answer = await client.post(path, headers=kind, json={})
                    assert answer.status_code == 401
            with_path = doors.with_token(f"{doors.api}/brief").replace(doors.token, "forged")
            assert (await client.get(with_path)).status_code == 401
            with pytest.raises(UsageError, match="valid bearer token"):
                async with open_trial(doors.api, token):
                    pass

    asyncio.run(main())
    assert trial.calls == []


def test_a_url_without_a_trial_is_named() -> None:
    async def connect(url: str) -> None:
        async with open_trial(url):
            pass

    with pytest.raises(PreflightError, match="no trial answers at http"):
        asyncio.run(connect("http://127.0.0.1:1/api"))
    with pytest.raises(UsageError, match="is no URL of a trial"):
        asyncio.run(connect("ftp://x"))


def test_more_requests_at_once_than_may_wait_leave_the_door_open(tmp_path: Path) -> None:
    """More than may wait are turned away; every other one is served, and so is the next."""
    trial = Trial(steps=100_000)

    async def main() -> None:
        async with served(trial, tmp_path) as doors:
            limits = httpx2.Limits(max_connections=500)
            async with (
                httpx2.AsyncClient(limits=limits, timeout=60) as client,
                asyncio.TaskGroup() as group,
            ):
                url = doors.with_token(f"{doors.api}/tools/alerts")
                calls = [group.create_task(client.post(url, json={})) for _ in range(400)]
            statuses = [call.result().status_code for call in calls]
            assert set(statuses) <= {200, 503}
            assert statuses.count(200) == len(trial.calls) > 0
            async with open_trial(doors.api, doors.token) as remote:
                assert (await remote.call("submit", **ANSWER)).ok

    asyncio.run(main())
