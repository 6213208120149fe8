"""The database of a service: named statements with spans, metrics and the driver's errors.

Not here: the connection pool and the wire (``protocols.Sql``), what a statement costs (the store).
"""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiopslab.models.app import App
from aiopslab.models.store import Statement as StatementSpec
from aiopslab.models.store import Store
from aiopslab.services.config import Config
from aiopslab.services.defects import Defects
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.instruments import Durations, Instruments
from aiopslab.services.languages import Dialect, Frame
from aiopslab.services.protocols import (
    SSL_MODES,
    Clock,
    Host,
    NetError,
    PoolStats,
    SqlError,
)

_KEEP_S = 5.0
"""Between two looks whether enough connections are there."""
Render = Callable[[Mapping[str, str]], dict[str, str]]


@dataclass(slots=True)
class Statement:
    """One prepared statement, with what its spans and metrics share."""

    name: str
    span_name: str
    attributes: dict[str, str | int]
    durations: Durations
    frames: list[Frame]
    params: Render


def statements_of(app: App, service: str, version: str) -> dict[str, StatementSpec]:
    """Return the statements of a service's database as a version of the service words them."""
    db = app.services[service].uses.get("db")
    if db is None:
        return {}
    release = app.services[service].releases.get(version)
    names = release.columns if release else {}
    return {key: _worded(spec, names) for key, spec in app.stores[db].statements.items()}


def _worded(spec: StatementSpec, names: Mapping[str, str]) -> StatementSpec:
    text = spec.text
    for old, new in names.items():
        text = re.sub(rf"\b{re.escape(old)}\b", new, text)
    return spec if text == spec.text else spec.model_copy(update={"text": text})


class Database:
    """The database client of one process; raises ConfigError when it cannot be configured."""

    def __init__(
        self,
        name: str,
        store: Store,
        statements: Mapping[str, StatementSpec],
        config: Config,
        host: Host,
        dialect: Dialect,
        defects: Defects,
    ) -> None:
        self._name = name
        self._store = store
        self._statements = statements
        self._user = config.text("DB_USER")
        self._timeout_s = config.deadline("DB_TIMEOUT_MS", 3000)
        self._sql = host.sql(
            config.text("DB_HOST"),
            config.integer("DB_PORT", least=1),
            user=self._user,
            password=config.text("DB_PASSWORD"),
            database=config.text("DB_NAME"),
            pool=config.integer("DB_POOL_SIZE", 10, least=1),
            pool_timeout_s=config.deadline("DB_POOL_TIMEOUT_MS", 2000),
            sslmode=config.choice("DB_SSLMODE", "disable", SSL_MODES),
        )
        if least := config.integer("DB_POOL_MIN_IDLE", 0, least=0):
            host.spawn(self._keep(least, host.clock))
        self._now = host.clock.now
        self._telemetry = host.telemetry
        self._dialect = dialect
        self._random: random.Random = host.random
        self._defects = defects
        self._instruments = Instruments(host.telemetry)
        self._instruments.pool("db_client", name, self._sql.stats)

    async def _keep(self, least: int, clock: Clock) -> None:
        """Hold connections ready, as pools with a minimum do; what is refused is asked again."""
        while True:
            with contextlib.suppress(NetError, SqlError):
                await self._sql.keep(least)
            await clock.sleep(_KEEP_S)

    def stats(self) -> PoolStats:
        """Return the state of the connection pool."""
        return self._sql.stats()

    def statement(self, name: str, params: Render) -> Statement:
        """Prepare a named statement of the store."""
        spec: StatementSpec = self._statements[name]
        return Statement(
            name=name,
            span_name=f"{spec.kind} {spec.table}",
            attributes={
                "db.system.name": "postgresql",
                "db.namespace": self._store.database,
                "db.collection.name": spec.table,
                "db.operation.name": spec.kind,
                "db.query.text": spec.text,
                "server.address": self._name,
            },
            durations=self._instruments.database("postgresql", self._name, spec.kind),
            frames=[self._dialect.frame("repository", name)],
            params=params,
        )

    async def run(self, statement: Statement, x: Exchange) -> None:
        """Run a statement, as often as the release does.

        Raises:
            RequestFailed: The database could not be reached (503) or answered an error (500).
        """
        await self._once(statement, x)
        for _ in range(1, self._defects.statements):
            await self._once(statement, x)

    async def _once(self, statement: Statement, x: Exchange) -> None:
        leak = self._defects.connection_leak
        keep = leak > 0.0 and self._random.random() < leak
        span_id = self._telemetry.new_span_id()
        start = self._now()
        try:
            await self._sql.execute(
                statement.name, statement.params(x.params), timeout_s=self._timeout_s, keep=keep
            )
        except (NetError, SqlError) as error:
            raise self._failure(statement, x, span_id, start, error) from error
        end = self._now()
        self._telemetry.span(
            x.trace_id, span_id, x.span_id, statement.span_name, "client", start, end, "",
            statement.attributes,
        )  # fmt: skip
        statement.durations.observe("", end - start)

    def _failure(
        self,
        statement: Statement,
        x: Exchange,
        span_id: int,
        start: float,
        error: NetError | SqlError,
    ) -> RequestFailed:
        problem = self._dialect.sql_problem(error, self._user, self._store.database)
        attributes = statement.attributes | {"error.type": problem.type}
        status = 503
        outcome = problem.type
        if isinstance(error, SqlError):
            attributes["db.response.status_code"] = outcome = error.sqlstate
            status = 500
        end = self._now()
        self._telemetry.span(
            x.trace_id, span_id, x.span_id, statement.span_name, "client", start, end,
            problem.message, attributes,
        )  # fmt: skip
        statement.durations.observe(outcome, end - start)
        return RequestFailed(status, problem, statement.frames)
