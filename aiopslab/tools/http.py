"""The tools over HTTP: read the brief, call tools by name, submit.

``POST /tools/{name}`` takes a JSON object of arguments and answers with the observation, status
200 also where ``ok`` is false: the call was made and is recorded. Other statuses say that no call
was made: ``{"error": {kind, message, hint}}``. Not here: tokens, sizes and load (``wire.guard``),
what a call costs (the ``call`` that is handed in), the document of this API (``openapi``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aiopslab.content import near
from aiopslab.errors import InfraError, LimitExceeded
from aiopslab.models.base import Model
from aiopslab.models.observation import Brief, Budget, Observation, ToolInfo
from aiopslab.tools import openapi
from aiopslab.tools.reports import ModelUsage, Note, Reports

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

Call = Callable[..., Awaitable[Observation]]
"""``call(name, **arguments)``: carries a tool call out."""
KINDS = {
    400: "malformed", 401: "unauthorized", 403: "forbidden", 404: "not_found",
    405: "method_not_allowed", 410: "over", 413: "too_large", 429: "limit", 503: "unavailable",
}  # fmt: skip


def tool_api(
    brief: Brief,
    tools: Sequence[ToolInfo],
    call: Call,
    budget: Callable[[], Budget],
    *,
    reports: Reports,
    over: Callable[[], bool] = lambda: False,
) -> ASGIApp:
    """Return the API of one trial.

    Args:
        brief: What the agent is told.
        tools: The tools of the task.
        call: Carries a call out; raises LimitExceeded where a budget is used up.
        budget: Returns what is left.
        reports: Takes notes and usage.
        over: Whether the trial has ended.
    """
    desk = _Desk(brief, tools, call, budget, over)
    handlers: dict[Any, Any] = {
        HTTPException: _http_error,
        LimitExceeded: _limit,
        InfraError: _unavailable,
    }
    app = Starlette(routes=_routes(desk, reports), exception_handlers=handlers)
    app.router.redirect_slashes = False
    return _Rooted(app)


def _routes(desk: _Desk, reports: Reports) -> list[Route]:
    note = _taken(Note, lambda said: reports.note(said.thought))
    usage = _taken(ModelUsage, lambda used: reports.usage(**used.model_dump()))
    return [
        Route("/", desk.index),
        Route("/brief", desk.show_brief),
        Route("/budget", desk.show_budget),
        Route("/tools", desk.list_tools),
        Route("/tools/{name:path}", desk.call_tool, methods=["POST"]),
        Route("/submit", desk.submit, methods=["POST"]),
        Route("/note", note, methods=["POST"]),
        Route("/usage", usage, methods=["POST"]),
        Route("/openapi.json", desk.document),
    ]


def refusal(status: int, message: str, *, hint: str = "") -> Response:
    """Return an error in this API's form."""
    kind = KINDS.get(status, "unexpected")
    return JSONResponse({"error": {"kind": kind, "message": message, "hint": hint}}, status)


class _Rooted:
    """Takes the address of the API without a slash at its end for the one with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        if scope["type"] == "http" and scope["path"] == root:
            scope = {**scope, "path": f"{root}/"}
        await self._app(scope, receive, send)


class _Desk:
    """The handlers of one trial."""

    def __init__(
        self,
        brief: Brief,
        tools: Sequence[ToolInfo],
        call: Call,
        budget: Callable[[], Budget],
        over: Callable[[], bool],
    ) -> None:
        self._brief = brief
        self._tools = {tool.name: tool for tool in tools}
        self._call = call
        self._budget = budget
        self._over = over

    async def index(self, request: Request) -> Response:
        return JSONResponse(
            {
                "task": self._brief.task,
                "read": ["brief", "tools", "budget", "openapi.json"],
                "call": "POST tools/NAME with a JSON object of arguments",
                "end": "POST submit with a JSON object: the answer",
                "report": ["POST note", "POST usage"],
                "tools": list(self._tools),
            }
        )

    async def show_brief(self, request: Request) -> Response:
        return _json(self._brief.model_dump_json())

    async def show_budget(self, request: Request) -> Response:
        return _json(self._budget().model_dump_json())

    async def list_tools(self, request: Request) -> Response:
        return JSONResponse([tool.model_dump(mode="json") for tool in self._tools.values()])

    async def document(self, request: Request) -> Response:
        server = request.scope.get("root_path") or "/"
        return JSONResponse(openapi.document(list(self._tools.values()), server=server))

    async def submit(self, request: Request) -> Response:
        return await self._carry_out("submit", request)

    async def call_tool(self, request: Request) -> Response:
        return await self._carry_out(request.path_params["name"], request)

    async def _carry_out(self, name: str, request: Request) -> Response:
        """Read the arguments, make the call, word what came of it."""
        try:
            # Stricter than ``json``: no NaN, no half of a surrogate pair, no bottomless nesting.
            arguments = from_json(await request.body() or b"{}", allow_inf_nan=False)
        except ValueError as error:
            return refusal(400, f"the body is not JSON: {error}", hint="send a JSON object")
        if not isinstance(arguments, dict):
            kind = type(arguments).__name__
            return refusal(400, f"arguments are a JSON object, not {kind}", hint='{"key": "value"}')
        if self._over():
            return refusal(410, "the trial is over; nothing follows")
        # An unknown name is called too: the record then holds the mistake, as from every door.
        seen = await self._call(name, **arguments)
        if name not in self._tools and not seen.ok:
            return self._no_such_tool(name, seen)
        return _json(seen.model_dump_json())

    def _no_such_tool(self, name: str, seen: Observation) -> Response:
        """Refuse a name, with a near one; the observation is that of every other door."""
        hint = near(name, list(self._tools)) or f"tools: {', '.join(self._tools)}"
        error = {"kind": KINDS[404], "message": f"there is no tool {name[:100]!r}", "hint": hint}
        return JSONResponse({"error": error, "observation": seen.model_dump(mode="json")}, 404)


R = TypeVar("R", bound=Model)


def _taken(model: type[R], take: Callable[[R], None]) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler that reads a report and passes it on."""

    async def handler(request: Request) -> Response:
        try:
            report = model.model_validate_json(await request.body())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the body"
            return refusal(400, f"{where}: {first['msg']}", hint=", ".join(model.model_fields))
        take(report)
        return Response(status_code=204)

    return handler


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


async def _http_error(request: Request, error: HTTPException) -> Response:
    answer = refusal(error.status_code, error.detail, hint="GET / lists what is here")
    answer.headers.update(error.headers or {})
    return answer


async def _limit(request: Request, error: LimitExceeded) -> Response:
    return refusal(429, str(error), hint="submit what you have, if time is left")


async def _unavailable(request: Request, error: InfraError) -> Response:
    """Answer while the lab failed; what failed is in the record, not for the agent."""
    return refusal(503, "the cluster is not available")
