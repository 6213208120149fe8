"""For tests of the agent ``pace``: a trial that keeps files, inner agents, a memory."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from agents_fakes import FakeTrial

from aiopslab.agents import load
from aiopslab.models.confidence import FILE, Elicited
from aiopslab.models.observation import Observation
from aiopslab.models.past_incident import PastIncident

DIAGNOSIS = {
    "hypotheses": [
        {"component": "web", "cause": "memory_leak", "mechanism": "", "probability": 0.9},
        {"component": "cart", "cause": "disk_full", "mechanism": "", "probability": 0.1},
    ],
    "evidence": ["obs-1"],
}
LOCALIZATION = {
    "candidates": [
        {"component": "web", "probability": 0.9},
        {"component": "cart", "probability": 0.1},
    ]
}
DETECTION = {"anomaly": True, "confidence": 0.97}
MITIGATION = {"summary": "restarted web", "confidence": 0.97}
ALERTS = "at: now\nFIRING HighErrorRatio [critical] web\n  web answers 40% with 5xx"


def module(name: str) -> ModuleType:
    """Import a module of the agent's folder the way its loader does."""
    load("pace").factory()
    return importlib.import_module(f"_aiopslab_agent_pace.{name}")


class KeepingTrial(FakeTrial):
    """A trial that takes files."""

    doors = None
    ended = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept: dict[str, bytes] = {}

    def keep(self, name: str, content: bytes) -> None:
        self.kept[name] = content

    @property
    def elicited(self) -> Elicited:
        """What was left about the answer."""
        return Elicited.model_validate_json(self.kept[FILE])


class Scripted:
    """An inner agent that makes calls and submits; a list of answers is used up run by run."""

    answers: Sequence[dict[str, Any]] = ()
    looks: Sequence[str] = ("alerts",)
    heard: Sequence[Observation] = ()

    async def run(self, trial: Any) -> None:
        kind = type(self)
        for tool in kind.looks:
            await trial.call(tool)
        told, *left = kind.answers
        kind.answers = left or [told]
        kind.heard = [*kind.heard, await trial.call("submit", **told)]


def plays(*answers: dict[str, Any], looks: Sequence[str] = ("alerts",)) -> type[Scripted]:
    """Set what the inner agent ``pace_fakes:Scripted`` does next."""
    Scripted.answers, Scripted.looks, Scripted.heard = list(answers), looks, ()
    return Scripted


@dataclass(frozen=True)
class Found:
    record: PastIncident


class FakeMemory:
    """A memory that finds everything."""

    def __init__(self, *records: PastIncident) -> None:
        self.records = records
        self.asked: list[tuple[str, str | None]] = []

    def search(self, query: str, *, app: str | None = None, limit: int = 5) -> list[Found]:
        self.asked.append((query, app))
        return [Found(r) for r in self.records[:limit]]


def past(id: str = "INC-1", component: str = "web", cause: str = "memory_leak") -> PastIncident:
    """A write-up."""
    return PastIncident(
        id=id, app="shop", date="2026-01-17", title="web answers with errors",
        summary="Errors rose until web was rolled back.", symptoms=("HighErrorRatio web",),
        services=("web",), component=component, cause=cause, resolution="rolled back",
    )  # fmt: skip


Reply = Callable[[], dict[str, Any]]


def text(said: str) -> dict[str, Any]:
    """A reply of the model without a call."""
    return {"role": "assistant", "content": said}


def lines(content: bytes) -> list[dict[str, Any]]:
    """Read a journal."""
    return [json.loads(line) for line in content.decode().splitlines()]
