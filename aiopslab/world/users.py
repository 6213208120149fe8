"""The way of the users into the cluster: connections from outside to an entry service.

Implements ``load.generator.Client``. Not here: who asks what, when, and gives up when (``load``).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiopslab.load.generator import Reply
from aiopslab.models.app import App
from aiopslab.services.pool import Pool, PoolExhausted
from aiopslab.services.protocols import NetError, Request, Response
from aiopslab.world.connection import Connection
from aiopslab.world.network import Network

ADDRESS = "198.18.250.10"
"""Where users come from: an edge proxy outside the cluster."""
KEEP_ALIVE_S = 15.0
CONNECTIONS = 1000


class Users:
    """Carries requests from the edge to the app.

    Args:
        network: The world's network.
        app: Names and ports of the entries.
        address: Where they come from.
    """

    def __init__(self, network: Network, app: App, *, address: str = ADDRESS) -> None:
        self._address = address
        self._netns = network.netns(address, namespace="", component="edge", labels={}, node="")
        self._domain = f"{app.namespace}.svc.cluster.local"
        self._now = network.loop.time
        self._ports = {name: service.port for name, service in app.services.items()}
        self._pools: dict[str, Pool[Connection]] = {}

    async def request(
        self, service: str, method: str, path: str, params: Mapping[str, str], *, timeout_s: float
    ) -> Reply:
        """Send one request; status 0 if no answer came in time."""
        pool = self._pool(service)
        deadline = self._now() + timeout_s
        try:
            connection = pool.ready() or await pool.take(timeout_s)
        except (NetError, PoolExhausted):
            return Reply(0)
        broken = True
        first_at: float | None = None

        def first() -> None:
            nonlocal first_at
            first_at = self._now()

        try:
            request = Request(method, path, params, client=self._address)
            left = max(deadline - self._now(), 0.0)
            response: Response = await connection.call(request, timeout_s=left, on_part=first)
            broken = response.close
        except NetError:
            return Reply(0)
        finally:
            pool.give(connection, broken=broken)
        return Reply(response.status, first_at, response.pauses)

    def _pool(self, service: str) -> Pool[Connection]:
        pool = self._pools.get(service)
        if pool is None:
            host, port = f"{service}.{self._domain}", self._ports[service]

            async def open(timeout_s: float) -> Connection:
                return await self._netns.connect(host, port, timeout_s=timeout_s)

            pool = Pool(CONNECTIONS, open, self._now, max_age_s=KEEP_ALIVE_S)
            self._pools[service] = pool
        return pool
