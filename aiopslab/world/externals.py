"""Parties outside the cluster: a partner's API at its address, and its status page.

What an app cannot see into and nobody of it can repair. A ``Disturbance`` makes it worse, and after
a while the status page says so, or does not. Not here: how it answers (``services.partners``), how
services call a partner (``services.client``).
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.models.app import App
from aiopslab.models.external import Disturbance, External
from aiopslab.models.signal import StatusPost
from aiopslab.seeds import Streams
from aiopslab.services.partners import Conduct
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
        self._conduct = Conduct(spec, streams("external", name), network.loop.time)
        self._feed = Feed(name, spec, network.loop, streams("status-page", name), post)
        self._netns = self._open(spec.address)

    @property
    def disturbance(self) -> Disturbance:
        """How it behaves; neutral on a good day."""
        return self._conduct.disturbance

    def disturb(self, disturbance: Disturbance) -> None:
        """Behave like this from now on; neutral values end a disturbance."""
        moved = disturbance.moved != self.disturbance.moved
        self._conduct.disturbance = disturbance
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
        return await self._conduct.answer(message)


def parties(
    app: App, network: Network, streams: Streams, post: Callable[[StatusPost], None]
) -> dict[str, Party]:
    """Bring up every outside party of an app, by name."""
    return {
        name: Party(name, spec, network, streams, post)
        for name, spec in sorted(app.externals.items())
    }
