"""One server's APIs side by side: finds the API by path prefix and puts the guard before it.

``/prometheus/api/v1/query`` and, for clients that can only be given a URL,
``/e/<token>/prometheus/api/v1/query`` are the same request. Not here: the APIs (this module's
neighbours), sockets (``server``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from aiopslab.wire.guard import PATH_PREFIX, Guard, Load, Refuse
from aiopslab.wire.identity import Tokens

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Mount:
    """An API: where it hangs, and how it words refusals."""

    prefix: str
    """``/prometheus``; empty for the whole server."""
    app: ASGIApp
    refuse: Refuse


class Site:
    """The ASGI application of one server.

    Args:
        mounts: The APIs; the first whose prefix fits is asked.
        tokens: Who is let in.
        hosts: Names the server may be called by beside loopback's.
    """

    def __init__(
        self, mounts: Sequence[Mount], tokens: Tokens, *, hosts: tuple[str, ...] = ()
    ) -> None:
        load = Load()
        self._mounts = [
            (m.prefix, Guard(m.app, tokens=tokens, load=load, refuse=m.refuse, hosts=hosts))
            for m in mounts
        ]
        self._nowhere = Guard(_nothing, tokens=tokens, load=load, refuse=plain, hosts=hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a token out of the path, find the API, pass the request on."""
        scope, path = dict(scope), scope["path"]
        root = scope.get("root_path", "")
        if path.startswith(PATH_PREFIX):
            token, slash, rest = path[len(PATH_PREFIX) :].partition("/")
            scope["path_token"], root = token, f"{root}{PATH_PREFIX}{token}"
            path = slash + rest
        for prefix, guard in self._mounts:
            if path == prefix or path.startswith(f"{prefix}/"):
                # As Starlette's own mounts: ``path`` stays whole, ``root_path`` grows.
                scope["root_path"] = root + prefix
                scope["path"] = root + path
                await guard(scope, receive, send)
                return
        await self._nowhere(scope, receive, send)


def plain(status: int, message: str) -> Response:
    """Refuse in the form of our own APIs."""
    kinds = {401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large"}
    error = {"kind": kinds.get(status, "unavailable"), "message": message}
    return JSONResponse({"error": error}, status)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await plain(404, "nothing is served at this path")(scope, receive, send)
