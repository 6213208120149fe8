"""The site's addresses: the list, a run, its trials and files, a comparison.

    /                                   all runs          /runs.json        the same as data
    /runs/NAME/                         a run             /runs/NAME/state.json
    /runs/NAME/trial/N.json             a trial           /runs/NAME/trials/TRIAL/FILE
    /compare?a=NAME&b=NAME              two runs          /assets/FILE

Reading happens in threads, so that one large run does not keep the others waiting. Nothing is ever
written. Not here: who may ask (``guard``), what the pages say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.routing import Route

from aiopslab.errors import UsageError
from aiopslab.models.comparison import Comparison
from aiopslab.report import html
from aiopslab.report.html.page import policy_of_served
from aiopslab.report.site import compare_page, list_page
from aiopslab.report.site.frame import problem
from aiopslab.report.site.guard import Guard
from aiopslab.report.site.library import Library, state
from aiopslab.report.site.listing import UNREADABLE, Listing, Row, reason_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_ASSETS = {
    "report.css": (Path(html.__file__).with_name("report.css"), "text/css"),
    "site.js": (Path(__file__).with_name("site.js"), "text/javascript"),
}
_INERT = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Policy of files of a record, which agents wrote: text, whatever a browser makes of it."""


def site(listing: Listing, *, names: tuple[str, ...] = ()) -> ASGIApp:
    """Return the application.

    Args:
        listing: The runs.
        names: Names the server may be called by, beside ``localhost`` and addresses.
    """
    desk = _Desk(Library(listing))
    routes = [
        Route("/", desk.all_runs),
        Route("/runs.json", desk.runs_data),
        Route("/compare", desk.compare),
        Route("/assets/{name}", _asset),
        Route("/runs/{run}/", desk.run),
        Route("/runs/{run}/state.json", desk.state),
        Route("/runs/{run}/trial/{n:int}.json", desk.trial),
        Route("/runs/{run}/trials/{trial}/{name:path}", desk.file),
    ]
    handlers: dict[Any, Any] = {UsageError: _unknown, HTTPException: _refused}
    handlers |= {OSError: _unreadable, ValueError: _unreadable}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), names=names)


class _Desk:
    """The handlers."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._listing = library.listing

    async def all_runs(self, request: Request) -> Response:
        entries = await run_in_threadpool(self._listing.entries)
        return HTMLResponse(list_page.page(entries, self._listing.root.name))

    async def runs_data(self, request: Request) -> Response:
        entries = await run_in_threadpool(self._listing.entries)
        answer = JSONResponse(list_page.data(entries))
        return _unless_known(request, answer)

    async def run(self, request: Request) -> Response:
        return await run_in_threadpool(self._run, request)

    def _run(self, request: Request) -> Response:
        page = self._library.page(self._row(request))
        return HTMLResponse(page, headers={"content-security-policy": policy_of_served()})

    async def state(self, request: Request) -> Response:
        row = await run_in_threadpool(self._row, request)
        return JSONResponse({"seen": state(row)})

    async def trial(self, request: Request) -> Response:
        def made() -> str:
            return self._library.trial(self._row(request), request.path_params["n"])

        return await _plainly(made, "application/json")

    async def file(self, request: Request) -> Response:
        def found() -> Path:
            asked = request.path_params
            return self._library.file(self._row(request), asked["trial"], asked["name"])

        path = await run_in_threadpool(found)
        headers = {"content-security-policy": _INERT}
        return FileResponse(path, media_type="text/plain; charset=utf-8", headers=headers)

    async def compare(self, request: Request) -> Response:
        return await run_in_threadpool(self._compare, request)

    def _compare(self, request: Request) -> Response:
        rows = [e for e in self._listing.entries() if isinstance(e, Row)]
        a, b = (request.query_params.get(letter, "") for letter in "ab")
        found = self._compared(a, b) if a and b else None
        status = 400 if isinstance(found, UsageError) else 200
        return HTMLResponse(compare_page.page(rows, a, b, found), status)

    def _compared(self, a: str, b: str) -> Comparison | UsageError:
        (left, agent_a), (right, agent_b) = compare_page.chosen(a), compare_page.chosen(b)
        try:
            sides = self._listing.row(left), self._listing.row(right)
            return self._library.comparison(*sides, agent_a, agent_b)
        except UNREADABLE as error:
            return error if isinstance(error, UsageError) else UsageError(reason_of(error))

    def _row(self, request: Request) -> Row:
        return self._listing.row(request.path_params["run"])


async def _plainly(make: Callable[[], str], media_type: str) -> Response:
    """Answer a script: what goes wrong is a line, not a page."""
    try:
        return Response(await run_in_threadpool(make), media_type=media_type)
    except UNREADABLE as error:
        return PlainTextResponse(reason_of(error), 404)


def _unless_known(request: Request, answer: Response) -> Response:
    """Answer 304 to who has it already."""
    tag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    answer.headers["etag"] = tag
    return answer


async def _asset(request: Request) -> Response:
    found = _ASSETS.get(request.path_params["name"])
    if found is None:
        raise HTTPException(404, "there is no such file")
    path, kind = found
    return FileResponse(path, media_type=kind)


def _root(request: Request) -> str:
    """Return where the site begins as seen from a page, as a relative address."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return "../" * (raw.partition(b"?")[0].count(b"/") - 1)


async def _unknown(request: Request, error: UsageError) -> Response:
    page = problem("Not here", str(error), error.hint, root=_root(request))
    return HTMLResponse(page, 404)


async def _unreadable(request: Request, error: Exception) -> Response:
    page = problem("Cannot be read", reason_of(error), root=_root(request))
    return HTMLResponse(page, 500)


async def _refused(request: Request, error: HTTPException) -> Response:
    page = problem("Not here", error.detail, "the list of runs has what there is",
                   root=_root(request))  # fmt: skip
    return HTMLResponse(page, error.status_code, error.headers)
