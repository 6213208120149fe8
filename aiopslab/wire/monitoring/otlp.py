"""OTLP over HTTP, the receiving side: ``/v1/traces``, ``/v1/metrics``, ``/v1/logs``.

Protobuf or JSON, plain or gzipped; what is not kept is counted in ``partialSuccess``. Not here:
decoding and what becomes of it (``telemetry.otlp``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no stubs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aiopslab.telemetry import otlp
from aiopslab.telemetry.otlp.decoding import JSON, PROTOBUF, media_type
from aiopslab.telemetry.otlp.responses import Signal
from aiopslab.telemetry.store import Store
from aiopslab.wire.gate import Gate
from aiopslab.wire.metered import BODY_S
from aiopslab.wire.monitoring.assembly import Api, Handler, Json, Words, assembled

if TYPE_CHECKING:
    from starlette.types import ASGIApp

Take = Callable[[Signal, Message], otlp.Rejected]
"""Is given the signal and the message of a request; ``OtlpError`` refuses it as a whole."""
INBOX_LIMIT = 64 * 2**20
"""Bytes of decoded messages that a store of the sender's own takes in all."""
_INVALID_ARGUMENT, _RESOURCE_EXHAUSTED = 3, 8
"""Codes of ``google.rpc.Code``."""
_CODES = {401: 16, 403: 7, 404: 5, 408: 4, 413: 8, 429: 8, 503: 14}
_SIGNALS: dict[Signal, tuple[Callable[..., Any], Callable[..., otlp.Rejected]]] = {
    "traces": (otlp.decode_traces, otlp.ingest_traces),
    "metrics": (otlp.decode_metrics, otlp.ingest_metrics),
    "logs": (otlp.decode_logs, otlp.ingest_logs),
}


def otlp_app(store: Store, gate: Gate, *, now: Callable[[], float] | None = None) -> ASGIApp:
    """Take in telemetry.

    Args:
        store: Where it goes.
        gate: The way to the world.
        now: The cluster's clock, if the store is the world's: each request then has its turn, and
            times far from the clock are refused. None: the store is the sender's own; requests
            cost nothing, any time is taken, and ``INBOX_LIMIT`` holds.
    """
    inbox = _Inbox(store, now)
    return receiver_app(inbox.take, gate, free=now is None, now=now)


def receiver_app(
    take: Take, gate: Gate, *, free: bool, now: Callable[[], float] | None = None
) -> ASGIApp:
    """Take in telemetry, whatever becomes of it.

    Args:
        take: Is given each message.
        gate: The way to the world.
        free: Whether requests cost nothing and need no turn.
        now: The clock of the ``Date`` header.
    """
    routes = [
        Route(f"/v1/{signal}", _handler(signal, take), methods=["POST"]) for signal in _SIGNALS
    ]
    paths = frozenset(f"/v1/{signal}" for signal in _SIGNALS) if free else frozenset()
    failures: dict[type[Exception], Words] = {
        TimeoutError: lambda _: otlp_refusal(408, "the body took too long to arrive")
    }
    return assembled(Api("otlp", otlp_refusal, failures, paths), routes, gate, now=now)


def otlp_refusal(status: int, message: str) -> Response:
    """Refuse in OTLP's form, a ``google.rpc.Status``, as JSON."""
    return Json({"code": _CODES.get(status, _INVALID_ARGUMENT), "message": message}, status)


class _Inbox:
    """Puts requests into one store."""

    def __init__(self, store: Store, now: Callable[[], float] | None) -> None:
        self._store = store
        self._now = now
        self._taken = 0

    def take(self, signal: Signal, message: Message) -> otlp.Rejected:
        """Record a message."""
        self._count(message)
        now = None if self._now is None else self._now()
        return _SIGNALS[signal][1](self._store, message, now=now)

    def _count(self, message: Message) -> None:
        """Add up what a store of the sender's own has taken.

        Raises:
            OtlpError: It is full; the status tells clients not to try again.
        """
        self._taken += message.ByteSize()
        if self._now is None and self._taken > INBOX_LIMIT:
            raise otlp.OtlpError(413, f"{INBOX_LIMIT} bytes of telemetry were taken; no more are")


def _handler(signal: Signal, take: Take) -> Handler:
    decode = _SIGNALS[signal][0]

    async def handle(request: Request) -> Response:
        async with asyncio.timeout(BODY_S):
            body = await request.body()
        kind = request.headers.get("content-type", "")
        try:
            message = decode(body, kind, request.headers.get("content-encoding", ""))
            rejected = take(signal, message)
        except otlp.OtlpError as error:
            return _failed(error, kind)
        answer = otlp.encode_response(signal, rejected, kind)
        return Response(answer, media_type=media_type(kind))

    return handle


def _failed(error: otlp.OtlpError, content_type: str) -> Response:
    """Say what is wrong in the type of the request, as the specification asks."""
    code = _RESOURCE_EXHAUSTED if error.status == 413 else _INVALID_ARGUMENT
    if media_type(content_type) == JSON:
        return Json({"code": code, "message": error.message}, error.status)
    status = Status(code=code, message=error.message)
    return Response(status.SerializeToString(), error.status, media_type=PROTOBUF)
