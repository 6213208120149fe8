"""The observer's two ports: what it tells, and what it is sent.

What it tells is for who knows its token, in the path (``/e/<token>/...``), since an API server's
proxy passes no ``Authorization`` on. Beside the monitoring APIs there are ``/export?since=CURSOR``
for copies, ``/begin`` (``?clear=1``) and ``/state``; what the lab knows better comes by
``/changes``, ``/posts`` and ``/config`` (``wire.board``). ``/healthz``, ``/readyz`` and
``/metrics``, which are about the observer itself, are for everybody. Not here: the monitoring APIs
(``wire.monitoring``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from aiopslab.models.base import Model
from aiopslab.models.signal import Change, StatusPost
from aiopslab.observer.observer import Observer
from aiopslab.observer.settings import Settings
from aiopslab.telemetry.replication.feed import StaleCursor
from aiopslab.telemetry.replication.parts import Cursor, PartError
from aiopslab.wire.gate import OpenGate
from aiopslab.wire.guard import Guard, Load
from aiopslab.wire.identity import Tokens, administrator
from aiopslab.wire.monitoring.mounts import monitoring
from aiopslab.wire.monitoring.otlp import otlp_refusal, receiver_app
from aiopslab.wire.server import listening
from aiopslab.wire.site import Mount, Site, plain

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
PART = "application/octet-stream"
M = TypeVar("M", bound=Model)


@asynccontextmanager
async def serving(observer: Observer, settings: Settings) -> AsyncIterator[tuple[int, int]]:
    """Open both ports; yields what they are.

    Raises:
        OSError: A port cannot be had.
    """
    gate = OpenGate()
    async with AsyncExitStack() as stack:
        told = telling(observer, settings.token, gate)
        http = await stack.enter_async_context(
            listening(told, host=settings.host, port=settings.http_port)
        )
        taken = taking(observer, gate)
        otlp = await stack.enter_async_context(
            listening(taken, host=settings.host, port=settings.otlp_port)
        )
        try:
            yield http, otlp
        finally:
            gate.closing.set()


def taking(observer: Observer, gate: OpenGate) -> ASGIApp:
    """Return the application of the port that is sent telemetry."""
    receiver = receiver_app(observer.take, gate, free=True)
    told = observer.board.get()
    board = Starlette(routes=[told])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (board if scope["path"] == told.path else receiver)(scope, receive, send)

    return Guard(app, tokens=None, load=Load(), refuse=otlp_refusal)


def telling(observer: Observer, token: str, gate: OpenGate) -> ASGIApp:
    """Return the application of the port that tells."""
    tokens = Tokens()
    tokens.accept(token, administrator())
    own = _Own(observer)
    mounts = [*monitoring(observer, gate), Mount("", own.app(), plain)]
    site, about = Site(mounts, tokens, hosts=("*",)), own.about()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_open = scope["type"] == "http" and scope["path"] in _OPEN
        await (about if is_open else site)(scope, receive, send)

    return app


async def _entered(request: Request, model: type[M], enter: Callable[[M], None]) -> Response:
    try:
        enter(model.model_validate_json(await request.body()))
    except ValidationError as error:
        return plain(400, str(error))
    return JSONResponse({})


class _Own:
    """What is the observer's own: copies, its beginning, itself."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def app(self) -> ASGIApp:
        """Return what is served to who knows the token."""
        return Starlette(
            routes=[
                Route("/export", self._export, methods=["GET"]),
                Route("/begin", self._begin, methods=["POST"]),
                Route("/state", self._state, methods=["GET"]),
                Route("/changes", self._change, methods=["POST"]),
                Route("/posts", self._post, methods=["POST"]),
                self._observer.board.put(),
            ]
        )

    def about(self) -> ASGIApp:
        """Return what is served to everybody."""
        return Starlette(
            routes=[
                Route("/healthz", self._healthy),
                Route("/readyz", self._ready),
                Route("/metrics", self._metrics),
            ]
        )

    async def _export(self, request: Request) -> Response:
        feed = self._observer.recording.feed
        try:
            part = feed.since(Cursor.read(request.query_params.get("since", "")))
        except PartError as error:
            return plain(400, str(error))
        except StaleCursor as error:
            return plain(410, str(error))
        return Response(part.pack(), media_type=PART)

    async def _begin(self, request: Request) -> Response:
        self._observer.begin(clear=request.query_params.get("clear") == "1")
        return JSONResponse(self._about())

    async def _state(self, _: Request) -> Response:
        return JSONResponse(self._about())

    async def _change(self, request: Request) -> Response:
        """Enter a change that Kubernetes does not see."""
        return await _entered(request, Change, self._observer.recording.store.change)

    async def _post(self, request: Request) -> Response:
        """Enter what a partner published."""
        return await _entered(request, StatusPost, self._observer.recording.store.post)

    def _about(self) -> dict[str, object]:
        observer = self._observer
        return {
            "epoch": observer.recording.feed.epoch,
            "began": observer.recording.began,
            "now": observer.now(),
            "rounds": observer.pace.made,
            "bytes": observer.recording.measure(),
            "lacking": dict(sorted(observer.lacks.now.items())),
            "counts": dict(sorted(observer.lacks.counts.items())),
        }

    async def _healthy(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _: Request) -> Response:
        """Be ready once the pods are known and a round was made: what is sent then has a place."""
        observer = self._observer
        if not observer.mirror.complete("Pod"):
            return PlainTextResponse("the pods are not known yet\n", 503)
        if not observer.pace.made:
            return PlainTextResponse("no round was made yet\n", 503)
        return PlainTextResponse("ok\n")

    async def _metrics(self, _: Request) -> Response:
        store = self._observer.recording.store
        lines = [
            "# TYPE observer_recording_bytes gauge",
            f"observer_recording_bytes {store.footprint()}",
            "# TYPE observer_rounds_total counter",
            f"observer_rounds_total {self._observer.pace.made}",
            *self._observer.lacks.lines(),
        ]
        return PlainTextResponse("\n".join(lines) + "\n")
