"""MCP: the SDK's own client in memory, over a socket and over standard streams; bare posts."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from doors_fakes import Trial, served
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from aiopslab.errors import InfraError
from aiopslab.models.observation import Observation
from aiopslab.models.task import TASKS, Task
from aiopslab.tools.mcp import mcp_server

ANSWER = {"anomaly": True, "confidence": 0.9}
Post = Callable[..., Awaitable[httpx2.Response]]


def in_memory(work: Callable[[Client], Awaitable[Any]], trial: Trial | None = None) -> Trial:
    trial = trial or Trial()

    async def main() -> None:
        async with Client(mcp_server(trial.brief, trial.tools, trial.call)) as client:
            await work(client)

    asyncio.run(main())
    return trial


def posted(
    work: Callable[[Post], Awaitable[Any]], tmp_path: Path, trial: Trial | None = None
) -> Trial:
    """Post JSON-RPC by hand, over a socket."""
    trial = trial or Trial()

    async def main() -> None:
        async with served(trial, tmp_path) as doors, httpx2.AsyncClient(timeout=60) as client:
            assert doors.mcp is not None
            url = doors.with_token(doors.mcp)

            async def post(method: str, /, headers: Any = None, **params: Any) -> httpx2.Response:
                body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                return await client.post(url, json=body, headers=headers)

            await work(post)

    asyncio.run(main())
    return trial


def test_tools_are_listed_with_their_own_schemas_and_hints() -> None:
    trial = Trial("mitigation")

    async def work(client: Client) -> None:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert [*listed] == [tool.name for tool in trial.tools]
        for info in trial.tools:
            assert listed[info.name].input_schema == info.parameters
        hints = {name: tool.annotations for name, tool in listed.items()}
        assert all(hint is not None for hint in hints.values())
        looks = {name for name, hint in hints.items() if hint and hint.read_only_hint}
        assert {"alerts", "k8s_get", "wait"} <= looks
        assert looks.isdisjoint({"k8s_exec", "sql_query", "k8s_delete", "k8s_rollout", "submit"})
        assert {n for n, h in hints.items() if h and h.destructive_hint} >= {"k8s_delete"}
        repeatable = {n for n, h in hints.items() if h and h.idempotent_hint}
        assert "k8s_scale" in repeatable
        assert "k8s_delete" not in repeatable

    in_memory(work, trial)


@pytest.mark.parametrize("task", TASKS)
def test_where_nothing_may_change_every_tool_but_submit_is_marked_as_looking(task: Task) -> None:
    async def work(client: Client) -> None:
        tools = (await client.list_tools()).tools
        writing = {t.name for t in tools if t.annotations and not t.annotations.read_only_hint}
        assert (writing == {"submit"}) == (task != "mitigation")

    in_memory(work, Trial(task))


def test_schemas_are_flat_enough_for_clients_that_read_only_types() -> None:
    for task in TASKS:
        for tool in Trial(task).tools:
            text = json.dumps(tool.parameters)
            assert '"$ref"' not in text
            assert '"anyOf"' not in text
            assert all("type" in p for p in tool.parameters["properties"].values())


def test_an_answer_is_one_text_part_and_a_structured_copy() -> None:
    async def work(client: Client) -> None:
        result = await client.call_tool("alerts", {"include_resolved": True})
        (part,) = result.content
        assert part.type == "text"
        assert part.text == "[obs-1]\nFIRING HighErrorRatio"
        assert result.structured_content["id"] == "obs-1"
        assert result.structured_content["data"][0]["name"] == "HighErrorRatio"
        assert not result.is_error

    assert in_memory(work).calls == [("alerts", {"include_resolved": True})]


def test_mistakes_are_results_that_a_model_can_read() -> None:
    async def work(client: Client) -> None:
        unknown = await client.call_tool("alert", {})
        assert unknown.is_error
        assert "there is no tool 'alert'" in unknown.content[0].text  # type: ignore[union-attr]
        await client.call_tool("alerts", {})
        late = await client.call_tool("alerts", {})
        assert late.is_error
        assert late.content[0].text.startswith("limit: the budget")  # type: ignore[union-attr]
        assert not (await client.call_tool("submit", ANSWER)).is_error

    assert in_memory(work, Trial(steps=2)).answer == ANSWER


def test_a_failure_of_the_lab_tells_the_model_nothing() -> None:
    trial = Trial()

    async def fails(name: str, /, **arguments: Any) -> Observation:
        raise InfraError("tools", "inner secret")

    trial.call = fails  # type: ignore[method-assign]

    async def work(client: Client) -> None:
        result = await client.call_tool("alerts", {})
        assert result.is_error
        assert "secret" not in str(result)

    in_memory(work, trial)


def test_the_brief_is_instructions_prompt_and_resource() -> None:
    trial = Trial()

    async def work(client: Client) -> None:
        assert client.instructions == trial.brief.text()
        (prompt,) = (await client.list_prompts()).prompts
        (message,) = (await client.get_prompt(prompt.name)).messages
        assert message.content.text == trial.brief.text()  # type: ignore[union-attr]
        (resource,) = (await client.list_resources()).resources
        (content,) = (await client.read_resource(resource.uri)).contents
        assert json.loads(content.text)["answer_schema"] == trial.brief.answer_schema  # type: ignore[union-attr]

    in_memory(work, trial)


def test_the_sdks_client_works_over_a_socket_with_a_fresh_connection_for_every_call(
    tmp_path: Path,
) -> None:
    trial = Trial()

    async def main() -> None:
        async with served(trial, tmp_path) as doors:
            assert doors.mcp is not None
            for name, arguments in (("alerts", {}), ("submit", ANSWER)):
                async with Client(doors.with_token(doors.mcp)) as client:
                    assert not (await client.call_tool(name, arguments)).is_error

    asyncio.run(main())
    assert trial.answer == ANSWER


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_handshakes_of_older_revisions_are_answered(tmp_path: Path, version: str) -> None:
    async def work(post: Post) -> None:
        answer = await post(
            "initialize", protocolVersion=version, capabilities={},
            clientInfo={"name": "old", "version": "1"},
        )  # fmt: skip
        assert answer.status_code == 200
        result = answer.json()["result"]
        assert result["protocolVersion"] == version
        assert "Find it." in result["instructions"]
        headers = {"Mcp-Protocol-Version": version, "Accept": "application/json"}
        called = await post("tools/call", headers, name="alerts", arguments={})
        assert called.json()["result"]["isError"] is False

    posted(work, tmp_path)


def test_a_bare_post_needs_neither_handshake_nor_an_accept_header_for_streams(
    tmp_path: Path,
) -> None:
    async def work(post: Post) -> None:
        for accept in ("application/json", "*/*", "application/json, text/event-stream"):
            listed = await post("tools/list", {"Accept": accept})
            assert listed.headers["content-type"] == "application/json"
            assert len(listed.json()["result"]["tools"]) > 10
        answer = await post("tools/call", name="submit", arguments=ANSWER)
        assert answer.json()["result"]["structuredContent"]["ok"] is True

    assert posted(work, tmp_path).answer == ANSWER


def test_what_is_malformed_is_refused_in_json_rpc(tmp_path: Path) -> None:
    trial = Trial()

    async def main() -> None:
        async with served(trial, tmp_path) as doors, httpx2.AsyncClient(timeout=60) as client:
            url = doors.with_token(doors.mcp or "")
            kind = {"content-type": "application/json"}
            batch = json.dumps([{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}])
            for body in (b"{", b"\xff", b"[" * 50_000, b'{"a": 1}', b"[]", batch.encode()):
                answer = await client.post(url, content=body, headers=kind)
                assert answer.status_code == 400
                assert answer.json()["error"]["code"] in (-32700, -32602)
                assert "Traceback" not in answer.text
            for method in ("GET", "DELETE", "PUT"):
                assert (await client.request(method, url)).status_code == 405
            call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
            for params in ({}, {"name": 3}, {"name": "alerts", "arguments": [1]}):
                answer = await client.post(url, json={**call, "params": params})
                assert answer.json()["error"]["code"] == -32602
            answer = await client.post(url, json={**call, "method": "no/such"})
            assert answer.json()["error"]["code"] == -32601

    asyncio.run(main())
    assert trial.calls == []


def test_calls_at_once_over_many_connections_are_made_one_after_another(tmp_path: Path) -> None:
    async def work(post: Post) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(post("tools/call", name="alerts", arguments={}))

    trial = posted(work, tmp_path)
    assert len(trial.calls) == 50
    assert trial.most_at_once == 1


def test_what_is_raised_while_the_door_is_open_comes_out_as_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(Trial(), tmp_path):
            raise InfraError("doors", "as it is")

    with pytest.raises(InfraError, match="as it is"):
        asyncio.run(main())


def test_a_client_over_standard_streams_reaches_the_trial(tmp_path: Path) -> None:
    trial = Trial()

    async def main() -> None:
        async with served(trial, tmp_path) as doors:
            assert doors.api is not None
            program = StdioServerParameters(
                command=sys.executable,
                args=["-m", "aiopslab", "mcp", "--url", doors.api, "--token", doors.token],
            )
            async with asyncio.timeout(60), Client(stdio_client(program)) as client:
                assert client.instructions == trial.brief.text()
                result = await client.call_tool("alerts", {})
                assert result.content[0].text == "[obs-1]\nFIRING HighErrorRatio"  # type: ignore[union-attr]
                await client.call_tool("submit", ANSWER)

    asyncio.run(main())
    assert trial.answer == ANSWER
