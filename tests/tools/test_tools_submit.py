from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tools_fakes import toolbox

from aiopslab.models.observation import Observation
from aiopslab.tools import Toolbox
from aiopslab.tools.vocabulary import causes


def call(tools: Toolbox, name: str = "submit", /, **arguments: Any) -> Observation:
    return asyncio.run(tools.call(name, arguments))


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        ("detection", {"anomaly": True, "confidence": 0.9}),
        ("localization", {"candidates": [{"component": "web", "probability": 0.6}]}),
        ("localization", {"candidates": '[{"component": "web", "probability": 0.6}]'}),
        (
            "diagnosis",
            {"hypotheses": [{"component": "web", "cause": "memory_leak", "probability": 0.6}]},
        ),
        ("diagnosis", {"hypotheses": [], "escalate": True}),
        ("mitigation", {"summary": "undone", "confidence": "0.7"}),
    ],
)
def test_a_legal_answer_is_taken_and_ends_the_task(task: Any, answer: dict[str, Any]) -> None:
    env, tools = toolbox(task)
    before = env.time
    assert call(tools, **answer).ok
    sink = tools.context.sink
    assert sink.closed
    assert sink.answer is not None
    assert sink.answer.task == task
    assert env.time == before
    assert not call(tools, "alerts").ok


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"candidates": [{"component": "web", "probability": 1.2}]},
        {"candidates": [{"component": "a", "probability": 0.8}] * 2},
        {"candidates": "web"},
        {"components": ["web"]},
    ],
)
def test_a_malformed_answer_may_be_repaired_once(answer: dict[str, Any]) -> None:
    _, tools = toolbox("localization")
    first = call(tools, **answer)
    assert not first.ok
    assert "one repair is possible" in first.text
    assert "usage: submit(candidates" in first.text
    assert call(tools, candidates=[]).ok
    assert tools.counts.format_violations == 1


def test_a_second_malformed_answer_ends_the_task_without_an_answer() -> None:
    _, tools = toolbox("detection")
    assert not call(tools, anomaly="perhaps").ok
    assert not call(tools, anomaly="perhaps").ok
    assert tools.context.sink.closed
    assert tools.context.sink.answer is None
    assert tools.counts.format_violations == 2


def test_a_diagnosis_must_name_published_causes() -> None:
    _, tools = toolbox("diagnosis")
    guess = {"component": "web", "cause": "memory_leek", "probability": 0.5}
    seen = call(tools, hypotheses=[guess])
    assert "unknown cause 'memory_leek'; did you mean 'memory_leak'" in seen.text
    assert call(tools, hypotheses=[{**guess, "cause": "none"}]).ok


def test_the_vocabulary_is_published_with_definitions() -> None:
    _, tools = toolbox("diagnosis")
    seen = call(tools, "cause_kinds")
    assert len(seen.data) == len(causes()) >= 30
    pages = [seen]
    while cursor := pages[-1].cursor:
        pages.append(call(tools, "cause_kinds", cursor=cursor))
    text = "".join(page.text for page in pages)
    assert [kind for kind in causes() if kind not in text] == []
    assert {r["family"] for r in call(tools, "cause_kinds", family="cache").data} == {"cache"}
    assert "did you mean 'network'" in call(tools, "cause_kinds", family="netwrk").text
