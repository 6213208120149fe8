"""The users of an app behind an HTTP API: started, stopped, scaled, and asked what they saw.

    GET    /health               how it is (``plan.LoadState``)
    POST   /start  /stop         users arrive, or no longer do
    POST   /scale                ``{"factor": 2.0, "journey": "search"}``; no journey: all
    PUT    /visitors/ADDRESS     a journey: somebody beside the users sends it
    DELETE /visitors/ADDRESS     and ends
    GET    /slis?start=&end=     one window a journey (``SliWindow``), by this program's clock

Refusals are ``{"error": ...}`` with status 400. All but ``/health`` is for who knows the token
(``plan.TOKEN_HEADER``), for the app's pods reach this port, and agents reach those. Not here: the
process (``serving``), the client of this API (``environments.cluster.traffic``).
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from aiohttp import web
from pydantic import ValidationError

from aiopslab.errors import UsageError
from aiopslab.load.generator import Generator
from aiopslab.load.plan import TOKEN_HEADER, LoadPlan, LoadState
from aiopslab.load.real import HttpUsers
from aiopslab.load.slis import Slis
from aiopslab.models.journey import Journey
from aiopslab.seeds import Streams

_BEAT_S = 0.5
_BODY_LIMIT = 1 << 20
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """A generator and its API; a context within which users can arrive.

    Args:
        plan: Who the users are.
        token: Who knows it may control them; empty is everybody.
    """

    def __init__(self, plan: LoadPlan, token: str = "") -> None:
        self._plan = plan
        self._token = token.encode()
        self._slis = Slis(plan.slos)
        self._stack = AsyncExitStack()
        self._visitors: dict[str, HttpUsers] = {}
        self._running = False
        self._late_s = 0.0

    async def __aenter__(self) -> Control:
        loop = asyncio.get_running_loop()
        users = await self._stack.enter_async_context(HttpUsers(self._plan.entries))
        plan, streams = self._plan, Streams(self._plan.seed).scope("load")
        self._generator = Generator(users, loop, streams, plan.journeys, plan.load, self._slis)
        self._beat = loop.create_task(self._listen())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._generator.stop()
        self._beat.cancel()
        await self._stack.aclose()

    async def _listen(self) -> None:
        """Notice how late timers are."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            self._late_s = max(loop.time() - due, 0.0)

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[self._admitting, _refusing], client_max_size=_BODY_LIMIT)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.post("/start", self._start),
                web.post("/stop", self._stop),
                web.post("/scale", self._scale),
                web.put("/visitors/{address}", self._join),
                web.delete("/visitors/{address}", self._leave),
                web.get("/slis", self._windows),
            ]
        )
        return app

    @web.middleware
    async def _admitting(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who knows the token; how it is may be known to everybody."""
        said = request.headers.get(TOKEN_HEADER, "").encode("utf-8", "surrogateescape")
        is_known = not self._token or hmac.compare_digest(said, self._token)
        if is_known or request.path == "/health":
            return await handler(request)
        return web.json_response({"error": "the token is missing or wrong"}, status=403)

    async def _health(self, _request: web.Request) -> web.Response:
        return self._told()

    def _told(self) -> web.Response:
        state = LoadState(
            now=asyncio.get_running_loop().time(), running=self._running,
            in_flight=self._generator.in_flight, dropped=self._generator.dropped,
            late_s=round(self._late_s, 3),
        )  # fmt: skip
        return web.json_response(state.model_dump())

    async def _start(self, _request: web.Request) -> web.Response:
        self._running = True
        self._generator.start()
        return self._told()

    async def _stop(self, _request: web.Request) -> web.Response:
        self._running = False
        self._generator.stop()
        return self._told()

    async def _scale(self, request: web.Request) -> web.Response:
        asked = json.loads(await request.text())
        self._generator.scale(float(asked["factor"]), asked.get("journey"))
        return self._told()

    async def _join(self, request: web.Request) -> web.Response:
        address = request.match_info["address"]
        journey = Journey.model_validate_json(await request.text())
        client = self._visitors.get(address)
        if client is None:
            client = await self._stack.enter_async_context(
                HttpUsers(self._plan.entries, address=address)
            )
            self._visitors[address] = client
        self._generator.join(address, journey, client)
        return self._told()

    async def _leave(self, request: web.Request) -> web.Response:
        self._generator.leave(request.match_info["address"])
        return self._told()

    async def _windows(self, request: web.Request) -> web.Response:
        start, end = (float(request.query[key]) for key in ("start", "end"))
        found = self._slis.window(start, end)
        return web.json_response([window.model_dump() for window in found])


@web.middleware
async def _refusing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say what is wrong with a request."""
    try:
        return await handler(request)
    except (UsageError, ValidationError, ValueError, KeyError, TypeError) as error:
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
