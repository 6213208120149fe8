"""What the lab tells the processes of an app on a cluster, by way of the observer.

One text, sealed before it comes here: the observer can read it as little as anybody who asks for
it. The lab puts it where the observer is controlled; processes get it where they send their
telemetry, without a token, because they have none. Not here: what it says, who asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

CONFIG = "/config"
"""Where the text is put, as a JSON string."""
PATH = "/v1/config"
"""Where it is told."""


class Board:
    """The text that is told now."""

    def __init__(self) -> None:
        self._text = ""

    def put(self) -> Route:
        """Return the route by which the lab changes it; not for others."""
        return Route(CONFIG, self._take, methods=["PUT"])

    def get(self) -> Route:
        """Return the route by which processes ask for it."""
        return Route(PATH, self._tell, methods=["GET"])

    async def _take(self, request: Request) -> Response:
        try:
            told = await request.json()
        except ValueError:
            told = None
        if not isinstance(told, str):
            return PlainTextResponse("a JSON string is expected\n", 400)
        self._text = told
        return Response(status_code=204)

    async def _tell(self, _: Request) -> Response:
        if not self._text:
            return PlainTextResponse("nothing is told\n", 404)
        return PlainTextResponse(self._text)
