"""What the monitoring APIs have in common: routes, errors in their own form, JSON, the clock.

An API is routes whose handlers look at one environment and raise when they cannot answer. Not
here: any API's own paths and shapes (``prometheus``, ``loki``, ``jaeger``, ``tempo``,
``alertmanager``, ``otlp``), turns on the world (``metered``).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from aiopslab.wire.gate import Gate
from aiopslab.wire.guard import Refuse
from aiopslab.wire.metered import Metered

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Response]]
Words = Callable[[Exception], Response]
"""Words a failure in the API's form."""


class Json(Response):
    """JSON without spaces; text that is not Unicode (lone surrogates in input) becomes ``?``."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


class Text(Response):
    """Plain text, which Starlette's own would refuse to encode where input held surrogates."""

    media_type = "text/plain"

    def render(self, content: Any) -> bytes:
        return str(content).encode("utf-8", "replace")


def stamp(seconds: float) -> int | float:
    """Return a time as Prometheus' JSON has it: seconds, at most three digits after the point."""
    rounded = round(seconds, 3)
    return int(rounded) if rounded.is_integer() else rounded


def constant(text: str) -> Handler:
    """Return a handler that always answers the same text."""

    async def answer(_: Request) -> Response:
        return Text(text)

    return answer


def build_info(version: str) -> dict[str, str]:
    """Return what the servers of Go tell of their build; only the version means something here."""
    empty = ("revision", "branch", "buildUser", "buildDate", "goVersion")
    return {"version": version, **dict.fromkeys(empty, "")}


@dataclass(frozen=True, slots=True)
class Api:
    """An API's name and manners."""

    name: str
    """Its name in the record."""
    refuse: Refuse
    """Words refusals: no such path, wrong method, no budget left."""
    failures: Mapping[type[Exception], Words] = field(default_factory=dict)
    """How the exceptions are worded that handlers raise."""
    free: frozenset[str] = frozenset()
    """Paths that say nothing about the world: no turn, no cost."""


def assembled(
    api: Api, routes: Sequence[BaseRoute], gate: Gate, *, now: Callable[[], float] | None = None
) -> ASGIApp:
    """Make an API of its routes.

    Args:
        api: How it behaves.
        routes: Paths relative to where the API is mounted.
        gate: The way to the world; each request takes its turn there.
        now: The clock of the ``Date`` header; without it there is none.
    """
    handlers: dict[Any, Any] = {HTTPException: _unrouted(api.refuse)}
    for kind, words in api.failures.items():
        handlers[kind] = _worded(words)
    app = Starlette(routes=routes, exception_handlers=handlers)
    # A redirect would name the path below the mount and lose a token that came in the path.
    app.router.redirect_slashes = False

    def is_free(scope: Scope) -> bool:
        return scope["path"].removeprefix(scope.get("root_path", "")) in api.free

    dated = app if now is None else Dated(app, now)
    return Metered(dated, gate, api.name, api.refuse, free=is_free)


def _unrouted(refuse: Refuse) -> Callable[[Request, HTTPException], Response]:
    def handle(_: Request, error: HTTPException) -> Response:
        answer = refuse(error.status_code, error.detail)
        answer.headers.update(error.headers or {})
        return answer

    return handle


def _worded(words: Words) -> Callable[[Request, Exception], Response]:
    def handle(_: Request, error: Exception) -> Response:
        return words(error)

    return handle


class Dated:
    """Dates every answer by the cluster's clock, which clients should go by."""

    def __init__(self, app: ASGIApp, now: Callable[[], float]) -> None:
        self._app = app
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(self._now(), usegmt=True).encode()
                message["headers"] = [*message["headers"], (b"date", date)]
            await send(message)

        await self._app(scope, receive, dated)
