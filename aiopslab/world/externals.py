"""Parties outside the cluster: a partner's API at its address, and its status page.

What an app cannot see into and nobody of it can repair. Requests are answered after a lognormal
time, beyond the rate limit with 429; a ``Disturbance`` makes it worse, and after a while the status
page says so, or does not. Not here: how services call a partner (``services.client``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiopslab.models.app import App
from aiopslab.models.external import Disturbance, External
from aiopslab.models.signal import StatusPost
from aiopslab.seeds import Streams, lognormal
from aiopslab.services.protocols import Request, Response
from aiopslab.world.clock import VirtualLoop
from aiopslab.world.connection import Peer
from aiopslab.world.netns import Netns
from aiopslab.world.network import Network
from aiopslab.world.status_page import Feed
from aiopslab.world.tls import PUBLIC_AUTHORITY, Certificate, ServerTls

_VALID_S = 45 * 86400.0
"""A partner's certificate was issued so long ago, and holds as long again."""


class Party:
    """One partner, as the world meets it.

    Args:
        name: Component name.
        spec: How it behaves on a good day.
        network: Where its address is.
        streams: Below these are its own.
        post: Receives what its status page says.
    """

    def __init__(
        self,
        name: str,
        spec: External,
        network: Network,
        streams: Streams,
        post: Callable[[StatusPost], None],
    ) -> None:
        self._name = name
        self._spec = spec
        self._network = network
        self._loop: VirtualLoop = network.loop
        self._draw = streams("external", name)
        self.disturbance = Disturbance()
        """How it behaves; neutral on a good day."""
        self._feed = Feed(name, spec, network.loop, streams("status-page", name), post)
        self._tokens = float(spec.rate_limit.burst) if spec.rate_limit else 0.0
        self._refilled = network.loop.time()
        self._netns = self._open(spec.address)

    def disturb(self, disturbance: Disturbance) -> None:
        """Behave like this from now on; neutral values end a disturbance."""
        moved = disturbance.moved != self.disturbance.moved
        self.disturbance = disturbance
        if moved:
            self._netns.close()
            spec = self._spec
            self._netns = self._open(spec.moved_to if disturbance.moved else spec.address)
        self._feed.follow(disturbance)

    def announce(self, begins_at: float, lasts_s: float) -> None:
        """Publish a maintenance beforehand (unix seconds)."""
        self._feed.announce(begins_at, lasts_s)

    def _open(self, ip: str) -> Netns:
        network, spec, now = self._network, self._spec, self._loop.time()
        netns = network.netns(ip, namespace="", component=self._name, labels={}, node="")
        netns.far(spec.round_trip_ms / 2000.0)
        certificate = Certificate(PUBLIC_AUTHORITY, (spec.host,), now - _VALID_S, now + _VALID_S)
        tls = ServerTls(certificate) if spec.tls else None
        netns.listen(spec.port, self._serve, tls=tls)
        network.dns.publish(spec.host, [ip])
        return netns

    async def _serve(self, message: object, peer: Peer) -> Response | None:
        if not isinstance(message, Request):
            peer.abort()
            return None
        now = self.disturbance
        endpoint = self._spec.endpoints.get(f"{message.method} {message.path}")
        if endpoint is None:
            return Response(404, "not found")
        if now.silent:
            await asyncio.Event().wait()
        if self._spec.tokens and not _holds(message.params.get("token", ""), self._loop.time()):
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
        now = self._loop.time()
        self._tokens = min(burst, self._tokens + (now - self._refilled) * per_s)
        self._refilled = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def _holds(token: str, now: float) -> bool:
    """Say whether a token is one and has not ended."""
    _, _, end = token.rpartition(".")
    return end.isdecimal() and now < int(end)


def parties(
    app: App, network: Network, streams: Streams, post: Callable[[StatusPost], None]
) -> dict[str, Party]:
    """Bring up every outside party of an app, by name."""
    return {
        name: Party(name, spec, network, streams, post)
        for name, spec in sorted(app.externals.items())
    }
