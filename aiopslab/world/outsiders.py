"""People and tools outside the app that hold sessions on its databases.

A colleague's ``psql`` in a store's pod, forgotten with a transaction open; a reporting tool with a
role of its own, which dials again when it is thrown out. They come over the local socket or the
network as anybody does, so what stops others stops them. Not here: users of the app (``users``),
the lab's own questions to a store (``images.registry``).
"""

from __future__ import annotations

import asyncio

from aiopslab.errors import InfraError
from aiopslab.services.protocols import NetError
from aiopslab.world.connection import Connection
from aiopslab.world.images.messages import PgError, Query, Ready, Startup
from aiopslab.world.images.postgres import Postgres
from aiopslab.world.images.postgres_cluster import SUPERUSER
from aiopslab.world.images.registry import Registry
from aiopslab.world.netns import Netns
from aiopslab.world.network import Network
from aiopslab.world.process import Process

_PATIENCE_S = 10.0
_REDIAL_S = 0.5
"""Pause of a tool before it dials again after it lost its session."""
_STARTING = "57P03"


class Outsiders:
    """Everybody outside who uses a store of one world.

    Args:
        network: The world's network.
        registry: Knows the engine behind a store.
        domain: Suffix of the app's Services.
    """

    def __init__(self, network: Network, registry: Registry, domain: str) -> None:
        self._network = network
        self._registry = registry
        self._domain = domain
        self._tools: dict[str, Process] = {}
        self._places: dict[str, Netns] = {}

    async def terminal(self, store: str, sql: str, *, application: str) -> None:
        """Run SQL as superuser in a session over the local socket that is then left open.

        It ends when somebody terminates it or the server goes down.

        Raises:
            InfraError: The store is down, or refused the session or the SQL.
        """
        engine = self._registry.engine(store)
        if not isinstance(engine, Postgres) or engine.database is None:
            raise InfraError("inject", f"{store!r} is no database that runs")
        database = engine.database
        startup = Startup(SUPERUSER, "", database.cluster.database, application)
        session = await database.connect(
            startup, address=None, port=-1, disconnect=lambda: database.disconnect(session)
        )
        answer = await database.query(session, Query(text=sql))
        if isinstance(answer, PgError):
            database.disconnect(session)
            raise InfraError("inject", f"{store}: {sql!r}: {answer.message}")

    def tool(
        self,
        store: str,
        startup: Startup,
        *,
        address: str,
        port: int,
        sessions: int,
        again_s: float,
    ) -> None:
        """Let a tool keep sessions on a store; a former one of that application leaves first.

        Args:
            store: Name of the database.
            startup: Whom it logs in as.
            address: Where it runs.
            port: Port of the store.
            sessions: Wanted at once; 0 leaves none.
            again_s: Pause before it dials again where there was no room for it.
        """
        former = self._tools.pop(startup.application_name, None)
        if former is not None:
            former.end()
        if not sessions:
            return
        process = Process(self._network.loop)
        self._tools[startup.application_name] = process
        netns = self._place(address)
        for _ in range(sessions):
            process.spawn(self._keep(netns, f"{store}.{self._domain}", port, startup, again_s))

    def _place(self, address: str) -> Netns:
        """Return the host at an address, which stays when a tool has left it."""
        if address not in self._places:
            self._places[address] = self._network.netns(
                address, namespace="", component="outside", labels={}, node=""
            )
        return self._places[address]

    async def _keep(
        self, netns: Netns, host: str, port: int, startup: Startup, again_s: float
    ) -> None:
        """Keep one session open for ever."""
        while True:
            full = False
            try:
                connection = await netns.connect(host, port, timeout_s=_PATIENCE_S)
                try:
                    full = await _sit(connection, startup)
                finally:
                    connection.close()
            except NetError:
                full = False  # down, or thrown out: it dials again at once
            await asyncio.sleep(again_s if full else _REDIAL_S)


async def _sit(connection: Connection, startup: Startup) -> bool:
    """Log in and stay until the other side ends it; True where it had no room or no welcome."""
    over = asyncio.Event()
    connection.on_close(over.set)
    answer = await connection.call(startup, timeout_s=_PATIENCE_S)
    if isinstance(answer, Ready):
        await over.wait()
        return False
    return not (isinstance(answer, PgError) and answer.sqlstate == _STARTING)
