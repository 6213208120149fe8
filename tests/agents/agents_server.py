"""A chat completions server that says what a script says: messages, refusals, statuses, fragments.

Requests that ask for a stream are answered in server-sent events, cut into small pieces.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
AT_ONCE = {"retry-after-ms": "1"}
"""Headers of a failure after which a client need not wait."""


@dataclass
class Said:
    """One scripted reply."""

    message: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    usage: dict[str, Any] | None = field(default_factory=lambda: dict(USAGE))
    finish: str = ""
    """Why the message ends; empty: by what it holds."""
    body: str | None = None
    """Sent in place of everything else."""
    cut: int | None = None
    """How much is sent before the connection ends: bytes of a body, events of a stream."""
    hold: bool = False
    """Nothing is sent while the test lasts."""


Script = Sequence[Said | dict[str, Any] | int]


def tool_call(name: str, arguments: dict[str, Any] | str, id: str = "c1") -> dict[str, Any]:
    """Build one tool call of a scripted message."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def message(text: str = "", *calls: dict[str, Any], refusal: str = "") -> dict[str, Any]:
    """Build a scripted message of the model."""
    built: dict[str, Any] = {"role": "assistant", "content": text}
    built |= {"refusal": refusal} if refusal else {}
    return built | ({"tool_calls": list(calls)} if calls else {})


def failure(status: int, text: str = "no such model", param: str | None = None) -> Said:
    """Build a reply that is an error; ``param`` names the field of the request it is about."""
    body = json.dumps({"error": {"message": text, "type": "invalid", "param": param}})
    return Said(status=status, body=body, headers=AT_ONCE)


@contextmanager
def completions(script: Script) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve a script over HTTP on loopback, its last entry for good.

    An integer answers with that status. Yields the base URL and the requests received.
    """
    requests: list[dict[str, Any]] = []
    left, over = list(script), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            requests.append(json.loads(self.rfile.read(length)))
            next_up = left.pop(0) if len(left) > 1 else left[0]
            said = _said(next_up)
            if said.hold:
                over.wait()
                return
            streamed = bool(requests[-1].get("stream")) and said.body is None
            data = _events(said) if streamed else _whole(said)
            whole = sum(map(len, data))
            sent = data[: said.cut] if streamed else [data[0][: said.cut]]
            self.send_response(said.status)
            kind = "text/event-stream" if streamed else "application/json"
            self.send_header("Content-Type", kind)
            if not streamed:
                self.send_header("Content-Length", str(whole))
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):
                for piece in sent:
                    self.wfile.write(piece)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _said(entry: Said | dict[str, Any] | int) -> Said:
    if isinstance(entry, Said):
        return entry
    return failure(entry) if isinstance(entry, int) else Said(entry)


def _finish(said: Said) -> str:
    return said.finish or ("tool_calls" if "tool_calls" in said.message else "stop")


def _whole(said: Said) -> list[bytes]:
    if said.body is not None:
        return [said.body.encode()]
    choice = {"index": 0, "message": said.message, "finish_reason": _finish(said)}
    body = {
        "id": "x", "object": "chat.completion", "created": 1, "model": "scripted",
        "choices": [choice], **({"usage": said.usage} if said.usage else {}),
    }  # fmt: skip
    return [json.dumps(body).encode()]


def _events(said: Said) -> list[bytes]:
    """Cut a message into deltas as endpoints do: text in pieces, arguments in pieces by index."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for key in ("content", "refusal"):
        text = said.message.get(key, "")
        deltas += [{key: text[i : i + 5]} for i in range(0, len(text), 5)]
    for index, call in enumerate(said.message.get("tool_calls", [])):
        function = {"name": call["function"]["name"], "arguments": ""}
        deltas.append({"tool_calls": [{**call, "index": index, "function": function}]})
        text = call["function"]["arguments"]
        for i in range(0, len(text), 9):
            piece = {"index": index, "function": {"arguments": text[i : i + 9]}}
            deltas.append({"tool_calls": [piece]})
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": _finish(said)})
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
    chunks: list[dict[str, Any]] = [{**head, "choices": [choice]} for choice in choices]
    if said.usage:
        chunks.append({**head, "choices": [], "usage": said.usage})
    texts = [*map(json.dumps, chunks), "[DONE]"]
    return [f"data: {text}\n\n".encode() for text in texts]
