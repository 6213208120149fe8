from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from agents_fakes import FakeTrial
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.agents import Noop, Oracle, UpstreamAgent
from aiopslab.agents.human import Human
from aiopslab.agents.replay import Replay
from aiopslab.agents.upstream import CallError, parse_call
from aiopslab.errors import AgentError, UsageError
from aiopslab.models.answer import Detection, Mitigation
from aiopslab.models.task import TASKS, Task
from aiopslab.models.truth import FixStep
from aiopslab.tools import describe_tools
from aiopslab.tools.schema import validate
from aiopslab.tools.submit import _ANSWERS as ANSWERS


@pytest.mark.parametrize("task", TASKS)
def test_noop_submits_a_legal_answer_and_nothing_else(task: Task) -> None:
    trial = FakeTrial(task)
    asyncio.run(Noop().run(trial))
    assert [name for name, _ in trial.calls] == ["submit"]
    validate(ANSWERS[task], trial.submitted)


PLAN = [FixStep(tool="k8s_scale", arguments={"name": "web", "replicas": 2})]
FIXED = Mitigation(summary="scaled", confidence=0.9)


def test_the_oracle_repairs_waits_for_silence_and_submits() -> None:
    firing, quiet = (True, "", [{"state": "firing"}]), (True, "", [])
    trial = FakeTrial("mitigation", {"alerts": [firing, firing, quiet]})
    asyncio.run(Oracle(PLAN, FIXED).run(trial))
    assert [name for name, _ in trial.calls] == [
        "k8s_scale", "wait", "alerts", "wait", "alerts", "wait", "alerts", "submit",
    ]  # fmt: skip
    assert trial.submitted == {"summary": "scaled", "confidence": 0.9, "escalate": False}


def test_the_oracle_acts_in_mitigation_alone() -> None:
    trial = FakeTrial("detection")
    asyncio.run(Oracle(PLAN, Detection(anomaly=True, confidence=1.0)).run(trial))
    assert [name for name, _ in trial.calls] == ["submit"]


def test_a_plan_that_the_tools_refuse_is_the_oracles_failure() -> None:
    trial = FakeTrial("mitigation", {"k8s_scale": (False, "NotFound", None)})
    with pytest.raises(AgentError, match="k8s_scale refused a step of the plan: NotFound"):
        asyncio.run(Oracle(PLAN, FIXED).run(trial))


def test_replay_issues_the_recorded_calls_again(tmp_path: Path) -> None:
    steps = [
        {"tool": "alerts", "arguments": {}, "thought": "look\u2028up"},
        {"tool": "submit", "arguments": {"anomaly": True, "confidence": 1}, "thought": ""},
    ]
    text = "\n".join(json.dumps(s, ensure_ascii=False) for s in steps)
    (tmp_path / "steps.jsonl").write_text(text, encoding="utf-8")
    trial = FakeTrial("detection")
    asyncio.run(Replay(str(tmp_path)).run(trial))
    assert trial.calls == [("alerts", {}), ("submit", {"anomaly": True, "confidence": 1})]
    assert trial.notes == ["look\u2028up"]


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Replay(str(tmp_path / "none"))
    path = tmp_path / "steps.jsonl"
    path.write_text('{"tool": "x"}', encoding="utf-8")
    with pytest.raises(UsageError, match=r"steps.jsonl:1 is not a recorded step"):
        Replay(str(path))
    path.write_bytes(b"PAR1\xff\xfe")
    with pytest.raises(UsageError, match="is no record of steps"):
        Replay(str(path))


def at_terminal(task: Task, *lines: str, **answers: Any) -> tuple[FakeTrial, str]:
    """Let a person type lines; return the trial and what was printed."""
    typed, printed = iter(lines), []

    def read(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    trial = FakeTrial(task, answers)
    asyncio.run(Human(read, printed.append).run(trial))
    return trial, "\n".join(printed)


def test_a_person_calls_tools_in_short_syntax_or_json() -> None:
    trial, _ = at_terminal(
        "mitigation",
        "alerts",
        'logs_search service=web contains="not found" limit=5',
        "k8s_describe pod web-1",
        'k8s_scale {"name": "web", "replicas": 2}',
        "k8s_set_env web A=1",
        "quit",
    )
    assert trial.calls == [
        ("alerts", {}),
        ("logs_search", {"service": "web", "contains": "not found", "limit": "5"}),
        ("k8s_describe", {"kind": "pod", "name": "web-1"}),
        ("k8s_scale", {"name": "web", "replicas": 2}),
        ("k8s_set_env", {"name": "web", "variables": ["A=1"]}),
    ]


@pytest.mark.parametrize(
    ("task", "line", "expected"),
    [
        ("detection", "anomaly=true confidence=0.8", {"anomaly": "true", "confidence": "0.8"}),
        ("localization", "web:0.7", {"candidates": [{"component": "web", "probability": 0.7}]}),
        (
            "diagnosis",
            "web:memory_leak:0.7 evidence=obs-1,obs-2",
            {
                "hypotheses": [{"component": "web", "cause": "memory_leak", "probability": 0.7}],
                "evidence": ["obs-1", "obs-2"],
            },
        ),
        ("mitigation", "summary=well confidence=1", {"summary": "well", "confidence": "1"}),
    ],
)  # fmt: skip
def test_a_person_submits_in_short_syntax(task: Task, line: str, expected: Any) -> None:
    trial, _ = at_terminal(task, f"submit {line}", "alerts")
    assert trial.calls == [("submit", expected)]
    validate(ANSWERS[task], trial.submitted)


def test_a_persons_mistakes_are_answered_without_a_call() -> None:
    trial, printed = at_terminal(
        "detection", "alert", "k8s_describe pod web-1 extra", "submit web:much", "", "more"
    )
    assert trial.calls == []
    assert "did you mean 'alerts'" in printed
    assert "'extra' fits no argument" in printed
    assert "the last answer was complete" in printed


def test_help_lists_tools_and_explains_one() -> None:
    _, printed = at_terminal("detection", "help", "help logs_search", "brief", "budget")
    assert "logs_search" in printed
    assert "severity (" in printed
    assert "Find it." in printed
    assert "steps 100" in printed


class Scripted:
    """An agent in the style of AIOpsLab."""

    def __init__(self, *actions: str) -> None:
        self.actions = list(actions)
        self.seen: list[str] = []
        self.context: tuple[Any, ...] = ()

    def init_context(self, *context: Any) -> None:
        self.context = context

    async def get_action(self, observation: str) -> str:
        self.seen.append(observation)
        return self.actions.pop(0) if len(self.actions) > 1 else self.actions[0]


def test_an_upstream_agent_reads_text_and_answers_with_fenced_calls() -> None:
    inner = Scripted(
        "Look first.\n```\nalerts()\n```",
        '```python\nlogs_search("web", severity="error")\n```',
        "```\nsubmit(anomaly=True, confidence=0.9)\n```",
    )
    trial = FakeTrial("detection", {"alerts": (True, "two alerts", [])})
    asyncio.run(UpstreamAgent(inner).run(trial))
    assert trial.calls == [
        ("alerts", {}),
        ("logs_search", {"service": "web", "severity": "error"}),
        ("submit", {"anomaly": True, "confidence": 0.9}),
    ]
    assert "Find it." in inner.seen[0]
    assert inner.seen[1] == "[obs-1]\ntwo alerts"
    assert "alerts" in inner.context[2]


def test_actions_without_a_call_are_explained_and_then_given_up() -> None:
    inner = Scripted("I think it is web.")
    trial = FakeTrial("detection")
    with pytest.raises(AgentError, match="5 actions in a row"):
        asyncio.run(UpstreamAgent(inner).run(trial))
    assert inner.seen[1].startswith("Error: the block is not a call")
    assert {name for name, _ in trial.calls} == {"malformed"}


@pytest.mark.parametrize("action", ["```alerts()```", "``` alerts() ```", "```python alerts()```"])
def test_a_call_may_stand_on_the_line_of_its_fence(action: str) -> None:
    assert parse_call(action, []) == ("alerts", {})


def test_an_upstream_agent_is_asked_nothing_once_its_trial_is_over() -> None:
    class Closed(FakeTrial):
        @property
        def ended(self) -> bool:
            return len(self.calls) == 2

    inner = Scripted("```\nsubmit(anomaly=1)\n```")
    trial = Closed("detection", {"submit": (False, "malformed", None)}, steps=9)
    asyncio.run(UpstreamAgent(inner).run(trial))
    assert len(inner.seen) == 2


@pytest.mark.parametrize(
    "action",
    [
        "", "```\na()\n```\n```\nb()\n```", "```\nx = 1\n```", "```\na(b)\n```", "```\na(**b)\n```",
        "```\na.b()\n```", "```\nalerts(1, 2, 3, 4)\n```", "```\na(__import__('os'))\n```",
        f"```\na({'-' * 50_000}1)\n```",
    ],
)  # fmt: skip
def test_anything_but_one_call_with_literals_is_refused(action: str) -> None:
    with pytest.raises(CallError):
        parse_call(action, describe_tools("detection"))


@given(st.text(max_size=60))
def test_no_action_breaks_the_parser(text: str) -> None:
    try:
        name, arguments = parse_call(f"```\n{text}\n```", [])
    except CallError:
        return
    assert name.isidentifier()
    assert isinstance(arguments, dict)
