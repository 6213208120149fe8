"""What a Kubernetes API answers beside objects: refusals, and what an executed command printed.

The same on every environment: programs in the world, faults and tools see these. Not here: the
words of the common refusals (``world.kube.errors``), reading objects (``world.kube.objects``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Object = dict[str, Any]
"""A Kubernetes object, or a part of one, as decoded JSON."""
PatchType = Literal["strategic", "merge", "json"]


class KubeError(Exception):
    """The API server's ``Status`` answer to a request it refused.

    Args:
        code: HTTP status.
        reason: ``NotFound``, ``AlreadyExists``, ``Conflict``, ``Invalid``, ``BadRequest``,
            ``Forbidden``, ``MethodNotAllowed``, ``Expired``, ``TooManyRequests``.
        message: The server's own words.
        details: The ``details`` of the ``Status``: ``name``, ``group``, ``kind``, ``causes``,
            ``retryAfterSeconds``; what applies.
        continue_token: Where an expired list may go on, inconsistently: ``metadata.continue``.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Object | None = None,
        *,
        continue_token: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.continue_token = continue_token


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command in a container printed, and its exit code."""

    stdout: str
    stderr: str
    code: int
