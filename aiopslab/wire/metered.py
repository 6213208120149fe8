"""Metering: one plain request, one turn on the world, one line in the record.

Wraps an API whose handlers may then look at the world freely. The body is read before the turn is
taken and the answer is sent after it ended, so neither a slow sender nor a slow reader keeps the
world from others. A handler that writes states the objects before and after in ``scope["turn"]``.
Not here: streams (watches, followed logs, exec), whose handlers take turns themselves through
``scope["gate"]``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiopslab.errors import LimitExceeded
from aiopslab.models.observation import Effect
from aiopslab.wire.gate import Call, Gate
from aiopslab.wire.guard import Refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OBSERVATION_HEADER = b"x-observation-id"
"""Names the observation that a request became, so that an answer can cite it."""
BODY_S = 30.0
"""Seconds a request's body may take to arrive."""
RECORDED = 4000
"""Characters of a body, and of an answer, that the record keeps."""


def all_reads(scope: Scope) -> Effect:
    """Judge every request a read: for APIs that change nothing."""
    return "read"


def never(scope: Scope) -> bool:
    """Answer no: nothing is free, nothing is a stream."""
    return False


class Metered:
    """Gives each request of an API its turn.

    Args:
        app: The API; its handlers run while the world stands still.
        gate: The way to the world; also in ``scope["gate"]``.
        door: The API's name in the record.
        refuse: Answers in the form of the API.
        effect: What a request does, judged by its scope.
        free: Requests that say nothing about the world (schemas, versions): no turn, no cost.
        streams: Requests whose handlers take their own turns.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        door: str,
        refuse: Refuse,
        *,
        effect: Callable[[Scope], Effect] = all_reads,
        free: Callable[[Scope], bool] = never,
        streams: Callable[[Scope], bool] = never,
    ) -> None:
        self._app = app
        self._gate = gate
        self._door = door
        self._refuse = refuse
        self._effect = effect
        self._free = free
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        scope["gate"] = self._gate
        if scope["type"] == "websocket" or self._streams(scope) or self._free(scope):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_S):
                body = await _body(receive)
        except TimeoutError:
            await self._refuse(408, "the body took too long to arrive")(scope, receive, send)
            return
        answer: list[Message] = []
        try:
            async with self._gate.turn(self._call(scope, body)) as turn:
                scope["turn"] = turn
                await self._app(scope, _replayed(body), _collector(answer))
                turn.text, turn.ok = _text(answer), _status(answer) < 400
        except LimitExceeded as error:
            await self._refuse(429, str(error))(scope, receive, send)
            return
        if turn.id:
            answer[0]["headers"] = [
                *answer[0]["headers"],
                (OBSERVATION_HEADER, turn.id.encode()),
            ]
        for message in answer:
            await send(message)

    def _call(self, scope: Scope, body: bytes) -> Call:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        arguments: dict[str, Any] = {"method": scope["method"], "path": path}
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if query:
            arguments["query"] = [list(pair) for pair in query]
        if body:
            arguments["body"] = body[:RECORDED].decode("utf-8", "replace")
        return Call(self._door, arguments, self._effect(scope))


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(body: bytes) -> Receive:
    rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return rest.pop() if rest else {"type": "http.disconnect"}

    return receive


def _collector(answer: list[Message]) -> Send:
    async def send(message: Message) -> None:
        answer.append(message)

    return send


def _status(answer: Sequence[Message]) -> int:
    status: int = answer[0]["status"] if answer else 500
    return status


def _text(answer: Sequence[Message]) -> str:
    """Return what the record keeps of an answer."""
    text, left = [], RECORDED
    for message in answer[1:]:
        piece = message.get("body", b"")[:left]
        left -= len(piece)
        text.append(piece)
    return b"".join(text).decode("utf-8", "replace")
