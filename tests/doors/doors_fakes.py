"""A trial in memory with its doors open on loopback, and a one-shot assistant at a URL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiopslab.errors import LimitExceeded
from aiopslab.models.doors import Doors
from aiopslab.models.observation import Brief, Budget, Observation, ToolInfo
from aiopslab.models.task import Task
from aiopslab.tools import answer_schema, describe_tools
from aiopslab.tools.http import refusal, tool_api
from aiopslab.tools.mcp import mcp_door
from aiopslab.wire.identity import Tokens, administrator
from aiopslab.wire.server import LOOPBACK, listening
from aiopslab.wire.site import Mount, Site, plain

NOW = "2026-03-10T09:00:00Z"
ALERT = {
    "name": "HighErrorRatio", "state": "firing", "severity": "page",
    "labels": {"service": "web"}, "annotations": {"summary": "web fails"},
    "active_at": 1_773_133_200.0, "fired_at": 1_773_133_260.0, "resolved_at": None, "value": 0.5,
}  # fmt: skip


class Trial:
    """Answers every call; takes the answer as a session does: one repair, then the end.

    Args:
        task: The task.
        steps: Calls until the budget is used up.
        slow_s: Seconds a call takes.
    """

    def __init__(self, task: Task = "detection", *, steps: int = 100, slow_s: float = 0.0) -> None:
        self.brief = Brief(
            trial="t-1", task=task, instructions="Find it.", app="Shop", namespace="shop",
            app_summary="A shop.", now=NOW, alert="HighErrorRatio web",
            budget=Budget(steps=steps), answer_schema=answer_schema(task),
        )  # fmt: skip
        self.tools: list[ToolInfo] = describe_tools(task)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answer: dict[str, Any] | None = None
        self.over = asyncio.Event()
        self.kept: dict[str, bytes] = {}
        self.notes: list[str] = []
        self.used: list[tuple[int, int, float | None]] = []
        self.doors: Doors | None = None
        self.opened_at: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self._steps = steps
        self._slow_s = slow_s
        self._violations = 0
        self._turn = asyncio.Lock()

    @property
    def budget(self) -> Budget:
        return Budget(steps=self._steps)

    @property
    def ended(self) -> bool:
        return self.over.is_set()

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        async with self._turn:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
            await asyncio.sleep(self._slow_s)
            self.at_once -= 1
            if self._steps == 0 and name != "submit":
                raise LimitExceeded("steps", "the budget of steps is used up")
            self._steps -= name != "submit"
            self.calls.append((name, arguments))
            ok, text, data = self._said(name, arguments)
            return Observation(
                id=f"obs-{len(self.calls)}", tool=name, arguments=arguments, ok=ok, text=text,
                data=data, time=NOW,
            )  # fmt: skip

    def _said(self, name: str, arguments: dict[str, Any]) -> tuple[bool, str, Any]:
        if name not in {tool.name for tool in self.tools}:
            return False, f"there is no tool {name!r}", None
        if self.ended:
            return False, "the answer is already submitted; nothing follows", None
        if name == "alerts":
            return True, "FIRING HighErrorRatio", [ALERT]
        if name != "submit":
            return True, f"{name} answers", None
        if set(self.brief.answer_schema["required"]) - set(arguments):
            self._violations += 1
            if self._violations > 1:
                self.over.set()
            return False, "missing argument", None
        self.answer = arguments
        self.over.set()
        return True, "submitted", arguments

    def note(self, thought: str) -> None:
        self.notes.append(thought)

    def usage(self, tokens_in: int = 0, tokens_out: int = 0, cost_usd: float | None = None) -> None:
        self.used.append((tokens_in, tokens_out, cost_usd))

    def keep(self, name: str, content: bytes) -> None:
        self.kept[name] = content

    @asynccontextmanager
    async def doors_at(self, host: str) -> AsyncIterator[Doors]:
        assert self.doors is not None
        self.opened_at.append(host)
        yield self.doors


def api_of(trial: Trial) -> Any:
    """Return a trial's tool API, not served."""
    return tool_api(
        trial.brief, trial.tools, trial.call, lambda: trial.budget, reports=trial,
        over=trial.over.is_set,
    )  # fmt: skip


@asynccontextmanager
async def served(trial: Trial, directory: Path) -> AsyncIterator[Doors]:
    """Open a trial's tool API and MCP; the telemetry's URLs lead nowhere."""
    tokens = Tokens()
    token = tokens.issue(administrator())
    kubeconfig, token_file = directory / "kubeconfig", directory / "token"
    kubeconfig.write_text("apiVersion: v1\nkind: Config\n", encoding="utf-8")
    token_file.write_text(token, encoding="utf-8")
    api = api_of(trial)
    async with (
        mcp_door(trial.brief, trial.tools, trial.call) as mcp,
        listening(Site([Mount("/api", api, refusal), Mount("/mcp", mcp, plain)], tokens)) as port,
    ):
        base = f"http://{LOOPBACK}:{port}"
        names = ("prometheus", "loki", "jaeger", "tempo", "alertmanager", "otlp", "api", "mcp")
        trial.doors = Doors(
            kubeconfig=str(kubeconfig), token_file=str(token_file), token=token,
            **{name: f"{base}/{name}" for name in names},
        )  # fmt: skip
        yield trial.doors


Reply = tuple[int, bytes] | Callable[[], Awaitable[tuple[int, bytes]]]


@asynccontextmanager
async def assistant(*replies: Reply) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Serve scripted replies, the last one for good; yields the URL and the requests' bodies."""
    script, requests = list(replies), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request
        from starlette.responses import Response

        request = Request(scope, receive)
        body = await request.json()
        requests.append({"path": request.url.path, "headers": dict(request.headers), **body})
        said = script.pop(0) if len(script) > 1 else script[0]
        status, content = said if isinstance(said, tuple) else await said()
        with contextlib.suppress(OSError):
            await Response(content, status, media_type="application/json")(scope, receive, send)

    async with listening(app) as port:
        yield f"http://{LOOPBACK}:{port}", requests
