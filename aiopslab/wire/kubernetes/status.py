"""``Status``: what the API answers instead of an object, and every refusal as one.

Not here: which words a refusal has (``world.kube.errors`` for objects, ``access`` for rights).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from aiopslab.models.kube import KubeError, Object

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    408: "Timeout",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


_KUBECTLS_WORDS = "The request is invalid: "
"""In process a refusal reads as kubectl prints it; over HTTP kubectl adds these words itself."""


def failure(error: KubeError) -> Object:
    """Return the ``Status`` object of a refusal."""
    status: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {"continue": error.continue_token} if error.continue_token else {},
        "status": "Failure",
        "message": error.message.removeprefix(_KUBECTLS_WORDS),
        "reason": error.reason,
    }
    details = {key: value for key, value in error.details.items() if value}
    if details:
        status["details"] = details
    status["code"] = error.code
    return status


def success(details: Mapping[str, str]) -> Object:
    """Return the ``Status`` of a deletion that is complete."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def encode(value: Any) -> bytes:
    """Return the JSON bytes of an answer, ending in a line break as the API server's do."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def reply(value: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a JSON value."""
    return Response(encode(value), code, dict(headers or {}), "application/json")


def refusal(error: KubeError) -> Response:
    """Answer with the ``Status`` of a refusal."""
    response = reply(failure(error), error.code)
    # Clients that are told when try again by themselves; not where time alone cannot help.
    wait_s = error.details.get("retryAfterSeconds")
    if wait_s:
        response.headers["retry-after"] = str(wait_s)
    return response


def status_refusal(status: int, message: str) -> Response:
    """Refuse on behalf of what stands before the API: the guard, the turn."""
    return refusal(KubeError(status, REASONS.get(status, "InternalError"), message))
