"""Tokens between services: who serves a user's request signs, who is called verifies.

A token says when it was issued by the clock of the machine that signed it, and is checked by the
clock of the machine that verifies it. Keys come from the Secret ``<app>-token`` and are read at
start. Not here: which endpoints sign or verify (the app's steps).
"""

from __future__ import annotations

import base64
import hmac
from typing import Any, Literal

from aiopslab.models.app import App
from aiopslab.models.step import TokenStep
from aiopslab.services.config import Config
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.languages import Problem
from aiopslab.services.protocols import Clock
from aiopslab.services.walk import walk

PARAMETER = "authorization"
"""Request parameter in which a token travels."""
KEY = "TOKEN_KEY"


def token_secret(app: str) -> str:
    """Name the Secret that holds the signing key of an app."""
    return f"{app}-token"


def token_services(app: App, act: Literal["sign", "verify"] | None = None) -> list[str]:
    """Name the services that sign or verify tokens, sorted."""
    return sorted(
        name
        for name, service in app.services.items()
        for steps in [[step for each in service.work() for step in walk(each)]]
        if any(isinstance(s, TokenStep) and act in (None, s.token) for s in steps)
    )


def token_objects(app: App, key: str) -> list[dict[str, Any]]:
    """Render the Secret with the signing key, if anybody signs or verifies."""
    if not token_services(app):
        return []
    labels = {"app.kubernetes.io/part-of": app.name}
    meta = {"name": token_secret(app.name), "namespace": app.namespace, "labels": labels}
    data = {"key": base64.b64encode(key.encode()).decode()}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": data}
    ]


class Tokens:
    """Signs and verifies for one process; raises ConfigError without a key."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._mac = hmac.new(config.text(KEY).encode(), digestmod="sha256")
        self._ttl_s = config.number("TOKEN_TTL_S", 30)
        self._leeway_s = config.number("TOKEN_LEEWAY_S", 5)
        self._now = clock.now

    async def sign(self, x: Exchange) -> None:
        """Give the request a fresh token."""
        issued = f"{self._now():.3f}"
        x.params = {**x.params, PARAMETER: f"{issued}.{self._signature(issued)}"}

    async def verify(self, x: Exchange) -> None:
        """Let the request pass if its token is good.

        Raises:
            RequestFailed: 401 with the reason.
        """
        issued, _, signature = x.params.get(PARAMETER, "").rpartition(".")
        reason = self._refusal(issued, signature)
        if reason:
            raise RequestFailed(401, Problem("TokenError", f"token rejected: {reason}"))

    def _refusal(self, issued: str, signature: str) -> str:
        if not issued:
            return "no token"
        if not hmac.compare_digest(signature, self._signature(issued)):
            return "signature is invalid"
        age_s = self._now() - float(issued)
        if age_s < -self._leeway_s:
            return f"token used before issued ({-age_s:.0f} s)"
        if age_s > self._ttl_s + self._leeway_s:
            return f"token is expired (by {age_s - self._ttl_s:.0f} s)"
        return ""

    def _signature(self, issued: str) -> str:
        mac = self._mac.copy()
        mac.update(issued.encode())
        return mac.hexdigest()[:32]
