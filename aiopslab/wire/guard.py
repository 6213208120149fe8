"""The guard before every API: who asks, from where, how much, and how many at once.

Pure ASGI, before any handler runs. A token comes as ``Authorization: Bearer``, as the password of
``Basic``, or in the path (``/e/<token>/...``) for clients that can only be given a URL. Whatever is
refused is refused in the API's own form. Not here: rights on objects (``kubernetes.access``), turns
on the world (``gate``).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import Response

from aiopslab.wire.identity import Identity, Tokens

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Refuse = Callable[[int, str], Response]
"""Makes the answer for a status and a message, in the form of the API."""

BODY_LIMIT = 8 * 2**20
"""Bytes of a request's body."""
DRAIN_LIMIT = 256 * 2**20
DRAIN_S = 10.0
"""Bytes and seconds after which the rest of a refused request is not listened to any longer."""
IN_FLIGHT = 256
"""Requests that may be under way or waiting for their turn; streams count while they are open."""
PATH_PREFIX = "/e/"
_LOCAL = ("127.0.0.1", "localhost", "[::1]")


class BodyTooLarge(Exception):
    """More came than ``BODY_LIMIT``."""


@dataclass(slots=True)
class Load:
    """How many requests are under way; shared by the APIs of one server."""

    limit: int = IN_FLIGHT
    now: int = 0


class Guard:
    """Lets requests of known identities through; ``scope["identity"]`` is then set.

    Args:
        app: The API behind.
        tokens: Who is known; None: whoever reaches the server may ask.
        load: The server's load.
        refuse: Answers in the form of the API.
        hosts: Names the server may be called by beside loopback's; ``*`` is any.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Tokens | None,
        load: Load,
        refuse: Refuse,
        hosts: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._load = load
        self._refuse = refuse
        self._hosts = (*_LOCAL, *hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge the request; pass it on or refuse it."""
        refused = self._judge(scope)
        if refused is not None:
            await self._answer(refused, scope, receive, send)
            return
        self._load.now += 1
        try:
            await self._app(scope, _bounded(receive), send)
        except BodyTooLarge:
            await self._answer(self._too_large(), scope, receive, send)
        finally:
            self._load.now -= 1

    def _judge(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._tokens is not None:
            refused = self._stranger(scope, headers, self._tokens)
            if refused is not None:
                return refused
        if _length(headers) > BODY_LIMIT:
            return self._too_large()
        if self._load.now >= self._load.limit:
            refusal = self._refuse(503, f"{self._load.limit} requests are under way; try again")
            refusal.headers["retry-after"] = "1"
            return refusal
        return None

    def _stranger(self, scope: Scope, headers: Headers, tokens: Tokens) -> Response | None:
        """Refuse who is not known; note in the scope who is."""
        if not self._is_local(headers.get("host", "")) or not self._same_origin(headers):
            return self._refuse(403, "requests come from this machine, addressed by its loopback")
        identity = _identity(scope, headers, tokens)
        if identity is None:
            refusal = self._refuse(401, "a valid bearer token is needed: Authorization: Bearer ...")
            refusal.headers["www-authenticate"] = 'Bearer realm="aiopslab"'
            return refusal
        scope["identity"] = identity
        return None

    def _is_local(self, host: str) -> bool:
        if "*" in self._hosts:
            return True
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        return name in self._hosts

    def _same_origin(self, headers: Headers) -> bool:
        """A page of another site must not reach the lab through somebody's browser."""
        origin = headers.get("origin")
        return origin is None or self._is_local(origin.partition("://")[2])

    def _too_large(self) -> Response:
        return self._refuse(413, f"the body is larger than {BODY_LIMIT} bytes")

    async def _answer(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        # A client that is still sending would take a connection that ends for a failure and never
        # read why: what is left of the body is read and dropped, within bounds.
        await _drain(receive)
        response.headers["connection"] = "close"
        await response(scope, receive, send)


def _identity(scope: Scope, headers: Headers, tokens: Tokens) -> Identity | None:
    """Return whose request it is; a header that is given must be right, whatever the path."""
    given = headers.get("authorization")
    in_path: str | None = scope.get("path_token")
    if given is None:
        return tokens.find(in_path) if in_path is not None else None
    return tokens.find(_token(given))


def _bounded(receive: Receive) -> Receive:
    """Count what a request sends; more than the limit ends it."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > BODY_LIMIT:
                raise BodyTooLarge
        return message

    return bounded


async def _drain(receive: Receive) -> None:
    """Read the rest of a request and drop it; stop where there is too much or it takes too long."""
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while seen < DRAIN_LIMIT:
                message = await receive()
                seen += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return


def _length(headers: Headers) -> int:
    """Return the announced length; what is no number is left to the server."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _token(header: str) -> str:
    """Return the token of an ``Authorization`` header; empty if there is none."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""
