"""Requests and answers of the app program as HTTP/1.1 carries them.

* Parameters: the query string; of requests with a body, a form.
* Trace: the W3C header ``traceparent``; a poll that is not traced has none.
* Caller: ``X-Forwarded-For`` names a client outside; services call themselves by their pod in
  ``User-Agent``.
* A streamed answer is a stream of server-sent events: ``part`` when it begins, ``end`` with status,
  body and the pauses between its parts.

Not here: connections (``http_client``, ``http_server``).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable, Callable, Mapping
from urllib.parse import urlencode

from aiohttp import web

from aiopslab.services.protocols import Request, Response

STREAM = "text/event-stream"
PART = b"event: part\ndata: {}\n\n"
IN_QUERY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""Methods whose requests have no body."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


class Truncated(Exception):
    """A streamed answer broke off."""


def headers(request: Request) -> dict[str, str]:
    """Return the headers that a request of the program travels with."""
    found = {"User-Agent": request.client}
    if request.method not in IN_QUERY:
        found["Content-Type"] = "application/x-www-form-urlencoded"
    if request.trace_id:
        found["traceparent"] = f"00-{request.trace_id:032x}-{request.parent_id:016x}-01"
    return found


def form(params: Mapping[str, str]) -> bytes:
    """Return parameters as the body of a request."""
    return urlencode(params).encode()


def trace(headers: Mapping[str, str]) -> tuple[int, int]:
    """Return trace id and span id of the caller; zeros where it sent none that can be read."""
    match = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip())
    ids = (int(match[1], 16), int(match[2], 16)) if match else (0, 0)
    return ids if all(ids) else (0, 0)


async def read(raw: web.BaseRequest) -> Request:
    """Return a request as the program handles it."""
    params = dict(raw.query)
    if raw.method not in IN_QUERY and raw.body_exists:
        params |= await _body(raw)
    trace_id, parent_id = trace(raw.headers)
    forwarded = raw.headers.get("X-Forwarded-For", "").partition(",")[0].strip()
    caller = forwarded or raw.headers.get("User-Agent") or raw.remote or ""
    return Request(raw.method, raw.path, params, trace_id, parent_id, caller)


async def _body(raw: web.BaseRequest) -> dict[str, str]:
    """Return the fields of a form or of a flat JSON object."""
    if raw.content_type != "application/json":
        return {key: value for key, value in (await raw.post()).items() if isinstance(value, str)}
    try:
        found = await raw.json()
    except ValueError:
        raise web.HTTPBadRequest(text="the body is not valid JSON") from None
    if not isinstance(found, dict):
        raise web.HTTPBadRequest(text="the body must be a JSON object")
    return {key: value if isinstance(value, str) else json.dumps(value)
            for key, value in found.items()}  # fmt: skip


def end(response: Response) -> bytes:
    """Return the last event of a streamed answer."""
    told = {
        "status": response.status,
        "body": response.body,
        "close": response.close,
        "pauses": response.pauses,
    }
    return f"event: end\ndata: {json.dumps(told)}\n\n".encode()


async def stream(lines: AsyncIterable[bytes], on_part: Callable[[], None] | None) -> Response:
    """Read a streamed answer to its end; ``on_part`` is called when it begins.

    Raises:
        Truncated: It broke off.
    """
    event = ""
    async for line in lines:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            event = value
            if event == "part" and on_part is not None:
                on_part()
                on_part = None
        elif name == "data" and event == "end":
            told = json.loads(value)
            pauses = tuple((float(s), int(n)) for s, n in told["pauses"])
            return Response(told["status"], told["body"], told["close"], pauses)
    raise Truncated
