"""A trial in memory: answers from a table, records of calls; and a chat completions server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiopslab.errors import LimitExceeded
from aiopslab.models.observation import Brief, Budget, Observation, ToolInfo
from aiopslab.models.task import Task
from aiopslab.tools import answer_schema, describe_tools

Answer = tuple[bool, str, Any]


class FakeTrial:
    """Keeps what an agent calls, notes and books.

    Args:
        task: The task.
        answers: Tool to (ok, text, data), or a list of them, one a call, the last for good.
        steps: Calls until the budget is used up.
    """

    def __init__(
        self, task: Task, answers: dict[str, Answer | list[Answer]] | None = None, steps: int = 100
    ) -> None:
        self.brief = Brief(
            trial="t-1", task=task, instructions="Find it.", app="Shop", namespace="shop",
            app_summary="A shop.", now="2026-03-10T09:00:00Z", alert="HighErrorRatio web",
            budget=Budget(steps=steps), answer_schema=answer_schema(task),
        )  # fmt: skip
        self.tools: list[ToolInfo] = describe_tools(task)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.notes: list[str] = []
        self.tokens = [0, 0]
        self._answers = answers or {}

    @property
    def budget(self) -> Budget:
        assert self.brief.budget.steps is not None
        return Budget(steps=self.brief.budget.steps - len(self.calls))

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        if self.budget.steps == 0:
            raise LimitExceeded("steps", "the budget of steps is used up")
        self.calls.append((name, arguments))
        given = self._answers.get(name, (True, f"{name} answers", None))
        if isinstance(given, list):
            given = given.pop(0) if len(given) > 1 else given[0]
        ok, text, data = given
        return Observation(
            id=f"obs-{len(self.calls)}", tool=name, arguments=arguments, ok=ok, text=text,
            data=data, time="2026-03-10T09:00:00Z",
        )  # fmt: skip

    def note(self, thought: str) -> None:
        self.notes.append(thought)

    def usage(self, tokens_in: int = 0, tokens_out: int = 0, cost_usd: float | None = None) -> None:
        self.tokens[0] += tokens_in
        self.tokens[1] += tokens_out

    @property
    def submitted(self) -> dict[str, Any]:
        """The arguments of the last submit."""
        return next(a for name, a in reversed(self.calls) if name == "submit")


def tool_call(name: str, arguments: dict[str, Any] | str, id: str = "c1") -> dict[str, Any]:
    """Build one tool call of a scripted message."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def message(text: str = "", *calls: dict[str, Any]) -> dict[str, Any]:
    """Build a scripted message of the model."""
    built: dict[str, Any] = {"role": "assistant", "content": text}
    return built | ({"tool_calls": list(calls)} if calls else {})


@contextmanager
def completions(script: list[dict[str, Any] | int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve scripted messages over HTTP on loopback, the last one for good.

    An integer answers with that status. Yields the base URL and the requests received.
    """
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            requests.append(json.loads(self.rfile.read(length)))
            said = script.pop(0) if len(script) > 1 else script[0]
            status = said if isinstance(said, int) else 200
            body: dict[str, Any] = {"error": {"message": "no such model", "type": "invalid"}}
            if not isinstance(said, int):
                reason = "tool_calls" if "tool_calls" in said else "stop"
                body = {
                    "id": "x", "object": "chat.completion", "created": 1, "model": "scripted",
                    "choices": [{"index": 0, "message": said, "finish_reason": reason}],
                    "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
                }  # fmt: skip
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
