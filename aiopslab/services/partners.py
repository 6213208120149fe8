"""How a party outside the cluster answers: after a lognormal time, beyond its rate limit with 429.

A ``Disturbance`` makes it worse. The same in both bindings: whoever serves it (``world.externals``,
``services.real.partner``) brings the address, the way there and the certificate. Not here: how
services call a partner (``services.client``), its status page.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from aiopslab.models.external import Disturbance, External
from aiopslab.models.timestamps import rfc3339
from aiopslab.seeds import lognormal
from aiopslab.services.protocols import Request, Response


class Conduct:
    """One partner's answers.

    Args:
        spec: How it behaves on a good day.
        draw: Its chance.
        now: Clock, unix seconds.
    """

    def __init__(self, spec: External, draw: random.Random, now: Callable[[], float]) -> None:
        self._spec = spec
        self._draw = draw
        self._now = now
        self._tokens = float(spec.rate_limit.burst) if spec.rate_limit else 0.0
        self._refilled = now()
        self.disturbance = Disturbance()
        """How it behaves; neutral on a good day."""

    async def answer(self, request: Request) -> Response:
        """Answer a request; a silent partner never does."""
        now = self.disturbance
        endpoint = self._spec.endpoints.get(f"{request.method} {request.path}")
        if endpoint is None:
            return Response(404, "not found")
        if now.silent:
            await asyncio.Event().wait()
        if self._spec.tokens and not _holds(request.params.get("token", ""), self._now()):
            return Response(401, "the token is missing or has expired")
        if not self._admitted():
            return Response(429, "rate limit exceeded")
        mean_s = endpoint.ms * now.latency_factor / 1000.0
        await asyncio.sleep(lognormal(self._draw, mean_s, endpoint.cv))
        if now.error_rate and self._draw.random() < now.error_rate:
            return Response(503, "service unavailable")
        if endpoint.error_rate and self._draw.random() < endpoint.error_rate:
            return Response(500, "internal error")
        return Response(200)

    def _admitted(self) -> bool:
        """Take a token of the account's bucket, if there is one."""
        limit, lowered = self._spec.rate_limit, self.disturbance.per_s
        if limit is None and lowered is None:
            return True
        per_s = lowered if lowered is not None else (limit.per_s if limit else 0.0)
        burst = float(limit.burst) if limit is not None and lowered is None else max(1.0, per_s)
        now = self._now()
        self._tokens = min(burst, self._tokens + (now - self._refilled) * per_s)
        self._refilled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def maintenance(spec: External, begins_at: float, lasts_s: float) -> str:
    """Word the announcement of a maintenance (unix seconds)."""
    begins, ends = rfc3339(begins_at), rfc3339(begins_at + lasts_s)
    return (
        f"Maintenance of the {spec.provider} API from {begins} to {ends}."
        " Requests may be answered with status 503."
    )


def _holds(token: str, now: float) -> bool:
    """Say whether a token is one and has not ended."""
    _, _, end = token.rpartition(".")
    return end.isdecimal() and now < int(end)
