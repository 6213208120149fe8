from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tools_fakes import START, add_pod, deployment, toolbox

from aiopslab.models.observation import Observation
from aiopslab.models.task import TASKS
from aiopslab.models.trial import Step
from aiopslab.tools import TOOLS, Toolbox, describe_tools
from aiopslab.tools.openai import functions
from aiopslab.tools.pages import Pages


def call(tools: Toolbox, name: str, /, **arguments: Any) -> Observation:
    return asyncio.run(tools.call(name, arguments))


@pytest.mark.parametrize("task", TASKS)
def test_schemas_are_flat_objects_without_references_and_with_types(task: Any) -> None:
    for info in describe_tools(task):
        text = json.dumps(info.parameters)
        assert "$ref" not in text
        assert "anyOf" not in text
        for prop in info.parameters["properties"].values():
            assert "type" in prop, (info.name, prop)


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda t: t.name)
def test_every_tool_and_argument_is_described(tool: Any) -> None:
    assert len(tool.description) > 20
    if tool.effect != "submit":
        for name, field in tool.args.model_fields.items():
            assert field.description, name


def test_tools_that_only_write_are_offered_for_mitigation_alone() -> None:
    effects = {t.effect for task in ("detection", "diagnosis") for t in describe_tools(task)}
    assert effects == {"read", "submit"}
    assert "write" in {t.effect for t in describe_tools("mitigation")}


def test_a_call_costs_its_declared_seconds_before_it_looks() -> None:
    env, tools = toolbox()
    seen = call(tools, "alerts")
    assert env.time == START + 2.0
    assert seen.text.startswith("at: 2026-03-10T09:00:02Z")
    call(tools, "wait", seconds=90)
    assert env.time == START + 92.0


def test_a_clock_of_ones_own_is_charged_instead_of_the_environment() -> None:
    spent: list[float] = []

    async def spend(seconds: float) -> None:
        spent.append(seconds)

    env, tools = toolbox(spend=spend)
    call(tools, "logs_search")
    assert spent == [3.0]
    assert env.time == START


def test_numbers_may_come_as_text_and_text_as_numbers() -> None:
    env, tools = toolbox()
    assert call(tools, "logs_search", limit="5", start=-900).ok
    assert env.telemetry.asked["limit"] == 5
    assert env.telemetry.asked["start"] == env.time - 900


def test_an_unknown_argument_is_answered_with_the_nearest_name_and_the_usage() -> None:
    _, tools = toolbox()
    seen = call(tools, "logs_search", servce="web")
    assert not seen.ok
    assert "unknown argument 'servce'; did you mean 'service'" in seen.text
    assert "usage: logs_search(service: string" in seen.text
    assert tools.counts.format_violations == 1


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), object(), {(1, 2): 3}])
def test_what_json_cannot_carry_is_refused_and_never_the_labs_failure(value: Any) -> None:
    _, tools = toolbox()
    seen = call(tools, "logs_search", service=value)
    assert not seen.ok
    assert "must be JSON" in seen.text
    assert seen.arguments == {}


def test_arguments_that_contain_themselves_are_refused() -> None:
    _, tools = toolbox()
    loop: list[Any] = []
    loop.append(loop)
    assert not call(tools, "logs_search", service=loop).ok


def test_missing_and_malformed_arguments_are_named() -> None:
    _, tools = toolbox()
    assert "missing argument 'query'" in call(tools, "metrics_query").text
    assert "argument 'limit'" in call(tools, "logs_search", limit="many").text


def test_an_unknown_tool_is_answered_with_a_near_one() -> None:
    _, tools = toolbox()
    seen = call(tools, "log_search")
    assert not seen.ok
    assert "logs_search" in seen.text


def test_a_read_only_task_refuses_writes_and_says_so() -> None:
    env, tools = toolbox("diagnosis")
    for name, arguments in (
        ("k8s_scale", {"name": "web", "replicas": 0}),
        ("sql_query", {"store": "web-postgres", "sql": "DROP TABLE orders"}),
        ("cache_command", {"store": "web-valkey", "command": "FLUSHALL"}),
        ("k8s_exec", {"pod": "web-1", "command": "kill 1"}),
        ("k8s_rollout", {"action": "restart", "name": "web"}),
    ):
        seen = call(tools, name, **arguments)
        assert not seen.ok
        assert "Forbidden" in seen.text
        assert "read-only" in seen.text
    assert env.kube.commands == []
    assert env.time == START
    assert tools.counts.writes == 0


def test_long_answers_are_cut_at_a_line_and_continued_by_cursor() -> None:
    _, tools = toolbox(limit=1000)
    first = call(tools, "logs_search", limit=200)
    assert first.truncated
    assert first.cursor is not None
    assert len(first.text) < 1100
    text, page = first.text.rsplit("\n... ", 1)[0], first
    while page.cursor:
        page = call(tools, "logs_search", cursor=page.cursor)
        text += page.text.rsplit("\n... ", 1)[0] if page.cursor else page.text
    assert text.count("request ") == 200
    assert "request 199 failed" in text


def test_an_unknown_cursor_says_what_to_do() -> None:
    _, tools = toolbox()
    seen = call(tools, "logs_search", cursor="obs-9:1")
    assert not seen.ok
    assert "call logs_search without it" in seen.text


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 250, 1000])
def test_pages_together_are_the_whole_text(size: int) -> None:
    text = "".join(f"{n}\n" for n in range(1000))[:size]
    pages = Pages(100)
    page, cursor = pages.first("obs-1", text)
    whole = page.rsplit("\n... ", 1)[0] if cursor else page
    while cursor:
        rest = pages.rest(cursor)
        assert rest is not None
        page, cursor = pages.first("obs-2", rest, again=cursor)
        whole += page.rsplit("\n... ", 1)[0] if cursor else page
    assert whole == text


def test_every_call_is_recorded_with_thought_effect_and_times() -> None:
    steps: list[Step] = []
    env, tools = toolbox(record=steps.append)
    asyncio.run(tools.call("alerts", {}, thought="first look"))
    asyncio.run(tools.call("nonsense", {}))
    assert [(s.n, s.id, s.ok) for s in steps] == [(1, "obs-1", True), (2, "obs-2", False)]
    assert steps[0].thought == "first look"
    assert (steps[0].start, steps[0].end) == (START, env.time)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("k8s_scale", {"name": "web", "replicas": 5}),
        ("k8s_delete", {"kind": "Deployment", "name": "web"}),
        ("kubectl", {"args": ["delete", "deploy", "web"]}),
        ("k8s_exec", {"pod": "web-1", "command": "kill 1"}),
    ],
)
def test_a_change_is_recorded_whole_though_its_caller_was_called_off(
    name: str, arguments: dict[str, Any]
) -> None:
    steps: list[Step] = []
    env, tools = toolbox(record=steps.append)
    env.kube.add(deployment("web"))
    add_pod(env, "web-1", "web")

    async def go() -> None:
        asked = asyncio.Event()

        async def slow(seconds: float) -> None:
            asked.set()
            await asyncio.sleep(0)

        tools._spend = slow
        calling = asyncio.create_task(tools.call(name, arguments))
        await asked.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling

    asyncio.run(go())
    assert [(s.tool, s.effect, s.ok) for s in steps] == [(name, "write", True)]
    assert tools.counts.writes == 1


def test_who_is_called_off_while_looking_is_so_at_once() -> None:
    _, tools = toolbox()

    async def go() -> None:
        asked = asyncio.Event()

        async def forever(seconds: float) -> None:
            asked.set()
            await asyncio.Event().wait()

        tools._spend = forever
        calling = asyncio.create_task(tools.call("wait", {"seconds": 60}))
        await asked.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling

    asyncio.run(go())


def test_repeated_calls_and_errors_are_counted() -> None:
    _, tools = toolbox()
    for _ in range(3):
        call(tools, "alerts")
    call(tools, "traces_get", trace_id="zz")
    assert tools.counts.repeated_calls == 2
    assert tools.counts.tool_errors == 1
    assert tools.counts.reads == 4


def test_function_schemas_carry_name_description_and_parameters() -> None:
    made = functions(describe_tools("detection"))
    assert {f["type"] for f in made} == {"function"}
    submit = next(f["function"] for f in made if f["function"]["name"] == "submit")
    assert submit["parameters"]["required"] == ["anomaly", "confidence"]


def test_langchain_tools_call_through_and_keep_the_observation() -> None:
    langchain = pytest.importorskip("aiopslab.tools.langchain")
    pytest.importorskip("langchain_core")
    _, tools = toolbox()

    async def one(name: str, arguments: dict[str, Any]) -> Observation:
        return await tools.call(name, arguments)

    made = {t.name: t for t in langchain.structured_tools(tools.tools, one)}
    request = {"name": "alerts", "args": {}, "id": "c1", "type": "tool_call"}
    answer = asyncio.run(made["alerts"].ainvoke(request))
    assert "HighErrorRatio" in answer.content
    assert answer.artifact.id == "obs-1"
