"""Before every page: who may ask, and what a browser may do with the answer.

The pages hold answer keys and are for the one who started the server. A site of somebody else that
a browser has open must not read them: the Host header has to be an address or a name that is ours
(DNS rebinding needs a name of theirs), and answers are for pages of the same origin alone. Not
here: the APIs of trials, which have tokens (``wire.guard``).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-cache",
}
_METHODS = ("GET", "HEAD")


class Guard:
    """Refuses strangers, and gives every answer its headers.

    Args:
        app: The pages.
        names: Names the server may be called by, beside ``localhost`` and addresses.
    """

    def __init__(self, app: ASGIApp, *, names: tuple[str, ...] = ()) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge the request; pass it on or refuse it."""
        if scope["type"] != "http":
            # The server's own affairs, and websockets, which no address here is for.
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("content-security-policy", POLICY)
            await send(message)

        refused = self._judge(scope)
        await (refused or self._app)(scope, receive, with_headers)

    def _judge(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._ours(headers.getlist("host")):
            return PlainTextResponse("this server is not called that\n", 403)
        elsewhere = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        # A click on a link elsewhere may open a page; nothing of it can be read from there.
        if elsewhere and headers.get("sec-fetch-mode") != "navigate":
            return PlainTextResponse("answers are for this server's own pages\n", 403)
        if scope["method"] not in _METHODS:
            return PlainTextResponse(
                "there is nothing to change here\n", 405, {"allow": "GET, HEAD"}
            )
        return None

    def _ours(self, hosts: list[str]) -> bool:
        if len(hosts) != 1:
            return False
        name = hostname(hosts[0])
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def hostname(host: str) -> str:
    """Return the name or address in a Host header, without the port.

    >>> hostname("[::1]:7576"), hostname("LocalHost:80"), hostname("127.0.0.1")
    ('::1', 'localhost', '127.0.0.1')
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")
