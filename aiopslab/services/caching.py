"""The cache of a service. A cache that fails is a cache that misses: the request goes on.

Every command has a span and a duration; lookups are counted as hits or misses. Not here: keys,
expiry and eviction, which are the store's.
"""

from __future__ import annotations

from collections.abc import Awaitable

from aiopslab.services.config import Config
from aiopslab.services.exchange import Exchange
from aiopslab.services.instruments import Durations, Instruments
from aiopslab.services.journal import Journal
from aiopslab.services.languages import Dialect
from aiopslab.services.protocols import CacheError, Host, NetError, PoolStats


class CacheClient:
    """The cache client of one process; raises ConfigError when it cannot be configured."""

    def __init__(
        self, name: str, config: Config, host: Host, dialect: Dialect, journal: Journal
    ) -> None:
        self._name = name
        address, port = config.address("CACHE_ADDR")
        self._timeout_s = config.seconds("CACHE_TIMEOUT_MS", 250)
        self._cache = host.cache(
            address,
            port,
            password=config.text("CACHE_PASSWORD", ""),
            pool=config.integer("CACHE_POOL_SIZE", 16, least=1),
            pool_timeout_s=self._timeout_s,
        )
        self._now = host.clock.now
        self._telemetry = host.telemetry
        self._dialect = dialect
        self._journal = journal
        instruments = Instruments(host.telemetry)
        instruments.pool("db_client", name, self._cache.stats)
        self._hits, self._misses = instruments.lookups(name)
        self._durations: dict[str, Durations] = {}
        self._attributes: dict[str, dict[str, str | int]] = {}
        for operation in ("GET", "SET", "DEL"):
            self._durations[operation] = instruments.database("valkey", name, operation)
            self._attributes[operation] = {
                "db.system.name": "valkey",
                "db.operation.name": operation,
                "server.address": name,
                "server.port": port,
            }
        self._span_names = {op: f"{op} {name}:{port}" for op in self._attributes}

    def stats(self) -> PoolStats:
        """Return the state of the connection pool."""
        return self._cache.stats()

    async def get(self, key: str, x: Exchange) -> bool:
        """Look a key up; say whether it was there."""
        found = await self._run("GET", self._cache.get(key, timeout_s=self._timeout_s), x)
        if found is None:
            self._misses.add()
            return False
        self._hits.add()
        return True

    async def set(self, key: str, size: int, ttl_s: float | None, x: Exchange) -> None:
        """Write ``size`` bytes under a key."""
        command = self._cache.set(key, size, ttl_s, timeout_s=self._timeout_s)
        await self._run("SET", command, x)

    async def delete(self, key: str, x: Exchange) -> None:
        """Remove a key."""
        await self._run("DEL", self._cache.delete(key, timeout_s=self._timeout_s), x)

    async def _run(self, operation: str, command: Awaitable[str | None], x: Exchange) -> str | None:
        span_id = self._telemetry.new_span_id()
        start = self._now()
        attributes = self._attributes[operation]
        outcome, message = "", ""
        reply = None
        try:
            reply = await command
        except (NetError, CacheError) as error:
            problem = self._dialect.cache_problem(error)
            outcome, message = problem.type, problem.message
            attributes = attributes | {"error.type": problem.type}
            fields = {"store": self._name, "error": message}
            self._journal.write("WARN", f"cache {operation.lower()} failed", fields, x)
        end = self._now()
        self._telemetry.span(
            x.trace_id, span_id, x.span_id, self._span_names[operation], "client", start, end,
            message, attributes,
        )  # fmt: skip
        self._durations[operation].observe(outcome, end - start)
        return reply
