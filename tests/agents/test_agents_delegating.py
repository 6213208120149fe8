"""Agents around agents: the handle that passes everything on, and what their folder may say."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from agents_fakes import FakeTrial

from aiopslab.agents import DelegatingTrial, ModelSettings, TrialHandle, load
from aiopslab.errors import UsageError

CODE = """
class Agent:
    def __init__(self, model, other, seen=[]):
        seen.append(other)
        self.model, self.other, self.seen = model, other, seen
        if other == "bad":
            from aiopslab.errors import UsageError
            raise UsageError("no such thing")

    async def run(self, trial):
        pass
"""


class Recording(FakeTrial):
    """A trial with the members that the fake lacks."""

    doors = None
    ended = True

    def keep(self, name: str, content: bytes) -> None:
        self.kept = (name, content)

    def doors_at(self, host: str) -> Any:
        return f"doors at {host}"


def test_everything_of_a_handle_is_passed_on() -> None:
    trial = Recording("detection")
    inner = DelegatingTrial(trial)  # type: ignore[arg-type]
    members = {n for n, _ in inspect.getmembers(TrialHandle) if not n.startswith("_")}
    own = {n for n in vars(DelegatingTrial) if not n.startswith("_")}
    assert own == members
    assert inner.brief is trial.brief
    assert inner.tools is trial.tools
    assert inner.budget == trial.budget
    assert inner.doors is None
    assert inner.ended is True
    assert inner.doors_at("h") == "doors at h"
    inner.keep("a", b"b")
    inner.note("thought")
    inner.usage(3, 4)
    seen = asyncio.run(inner.call("alerts", include_resolved=True))
    assert seen.tool == "alerts"
    assert trial.calls == [("alerts", {"include_resolved": True})]
    assert (trial.kept, trial.notes, trial.tokens) == (("a", b"b"), ["thought"], [3, 4])


def folder(path: Path, extra: str) -> str:
    path.mkdir()
    told = "schema: aiopslab/agent@1\nname: mine\nsummary: Mine.\n"
    args = "args: {other: {type: agent, default: noop}}\n"
    (path / "agent.yaml").write_text(told + args + extra, encoding="utf-8")
    (path / "agent.py").write_text(CODE, encoding="utf-8")
    return str(path)


def test_an_agent_may_take_a_model_or_none(tmp_path: Path) -> None:
    loader = load(folder(tmp_path / "taking", "takes_model: true\n"))
    model = ModelSettings(model="m", base_url="http://localhost:1")
    assert loader.build({}).model is None  # type: ignore[attr-defined]
    assert loader.build({}, model).model == model  # type: ignore[attr-defined]


def test_a_rehearsed_agent_is_made_before_anything_boots(tmp_path: Path) -> None:
    loader = load(folder(tmp_path / "rehearsed", "takes_model: true\nrehearsed: true\n"))
    with pytest.raises(UsageError, match="no such thing"):
        loader.preflight({"other": "bad"})
    other = load(folder(tmp_path / "surprising", "takes_model: true\n"))
    other.preflight({"other": "bad"})
