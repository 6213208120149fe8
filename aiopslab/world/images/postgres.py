"""The PostgreSQL image: a container that runs a database server on its volume.

Start (initdb when the volume is empty, recovery after a crash), connections, metrics in the manner
of postgres_exporter, fast shutdown, panic. ``exec`` runs ``psql``. Not here: what queries do
(``postgres_server``), command line of clients (``postgres_psql``).

What it reads: ``POSTGRES_DB`` and one ``ROLE_<USER>_PASSWORD`` per role at initdb, the file
``/etc/postgresql/postgresql.conf``, the ``hba_file`` it may name and the arguments
``-c name=value`` at each start.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiopslab.models.kube import ExecResult
from aiopslab.models.store import Store
from aiopslab.services.config import prefix
from aiopslab.world.connection import Peer
from aiopslab.world.container import Container
from aiopslab.world.disk import Volume
from aiopslab.world.images.messages import PgError, Query, Ready, Rows, Startup, TlsRefused
from aiopslab.world.images.postgres_cluster import SUPERUSER, Cluster, initdb
from aiopslab.world.images.postgres_execute import run_text
from aiopslab.world.images.postgres_expressions import SqlFailure
from aiopslab.world.images.postgres_hba import HbaError
from aiopslab.world.images.postgres_output import render
from aiopslab.world.images.postgres_psql import psql
from aiopslab.world.images.postgres_server import Database
from aiopslab.world.images.postgres_sessions import STATES, Session
from aiopslab.world.images.postgres_settings import accepts, base_settings, is_on, size
from aiopslab.world.images.postgres_storage import Storage
from aiopslab.world.images.postgres_values import timestamp

DATA = "/var/lib/postgresql/data"
CONF = "/etc/postgresql/postgresql.conf"
_BUILD = "x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14) 12.2.0, 64-bit"
_SNAKEOIL = "/etc/ssl/certs/ssl-cert-snakeoil.pem"
"""The certificate that Debian's packages bring."""
_START_S = 1.2
_RECOVERY_S = 4.0
"""Crash recovery: replaying WAL since the last checkpoint."""
_INITDB_S = 2.5
STARTING_UP = PgError("57P03", "the database system is starting up", "FATAL")


class Postgres:
    """The program of a PostgreSQL container.

    Args:
        store: The app's definition of this store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.cluster: Cluster | None = None
        """What is on the volume; kept after the server has stopped."""
        self.database: Database | None = None
        """The server while it is up."""

    async def run(self, box: Container) -> int:
        """Serve until SIGTERM or a crash; return the exit code."""
        listener = box.netns.listen(self._store.port, self._handle)
        try:
            database = await self._start(box)
            if database is None:
                return 1
            self.database = database
            return await self._serve(box, database)
        finally:
            self.database = None
            listener.close()

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Run ``psql`` and ``pg_isready``."""
        match argv[0].rpartition("/")[2]:
            case "psql":
                return await psql(box, self.database, self._store, argv[1:], stdin)
            case "pg_isready":
                up = self.database is not None
                state = "accepting connections" if up else "rejecting connections"
                text = f"/var/run/postgresql:{self._store.port} - {state}\n"
                return ExecResult(text, "", 0 if up else 1)
        return None

    async def admin(self, sql: str) -> str:
        """Run SQL as the operator does: superuser, local socket; returns what psql would print.

        Raises:
            SqlFailure: The server is down (57P03) or answered with an error.
        """
        if self.database is None:
            raise SqlFailure(STARTING_UP)
        database = self.database
        startup = Startup(SUPERUSER, "", database.cluster.database, "psql")
        session = await database.connect(startup, address=None, port=-1, disconnect=lambda: None)
        try:
            answer = await database.query(session, Query(text=sql))
        finally:
            database.disconnect(session)
        if isinstance(answer, PgError):
            raise SqlFailure(answer)
        return render(answer)

    def rows(self) -> dict[str, int]:
        """Return rows by table; empty before the first start."""
        return {} if self.cluster is None else self.cluster.row_counts()

    # -- life -------------------------------------------------------------------------------------

    async def _start(self, box: Container) -> Database | None:
        """Bring the server up; None when it cannot start."""
        volume = _volume(box)
        cluster = await self._open(box, volume)
        base = self._settings(box)
        settings = base | cluster.overrides
        for name in sorted(settings):
            if not accepts(name, settings[name]):
                value = settings[name]
                _log(box, "FATAL", f'invalid value for parameter "{name}": "{value}"')
                return None
        storage = Storage(cluster, volume, size(settings["max_wal_size"]))
        _log(box, "LOG", f"starting PostgreSQL {settings['server_version']} on {_BUILD}")
        try:
            storage.open()
        except OSError:
            _log(
                box, "FATAL", 'could not write lock file "postmaster.pid": No space left on device'
            )
            return None
        certificate = settings["ssl_cert_file"]
        if is_on(settings["ssl"]) and certificate not in (_SNAKEOIL, *box.files):
            text = f'could not load server certificate file "{certificate}"'
            _log(box, "FATAL", f"{text}: No such file or directory")
            return None
        _log(box, "LOG", f'listening on IPv4 address "0.0.0.0", port {self._store.port}')
        await self._recover(box, cluster)
        try:
            database = Database(box, cluster, base, storage, run_text)
        except HbaError as error:
            _log(box, "FATAL", str(error))
            _log(box, "FATAL", f"could not load {settings['hba_file']}")
            return None
        cluster.clean = False
        _export(box, database)
        _log(box, "LOG", "database system is ready to accept connections")
        return database

    async def _open(self, box: Container, volume: Volume | None) -> Cluster:
        """Find the cluster on the volume, or create it."""
        found = None if volume is None else volume.data.get("pgdata")
        if found is None:
            await box.burn(_INITDB_S * 0.3)
            await asyncio.sleep(_INITDB_S * 0.7)
            found = initdb(self._store, _passwords(self._store, box.env))
            if volume is not None:
                volume.data["pgdata"] = found
        assert isinstance(found, Cluster)
        self.cluster = found
        return found

    def _settings(self, box: Container) -> dict[str, str]:
        words = list(box.args)
        options: dict[str, str] = {}
        for flag, value in itertools.pairwise(words):
            if flag == "-c" and "=" in value:
                name, _, text = value.partition("=")
                options[name.strip()] = text.strip()
        return base_settings(self._store, _conf(box.files.get(CONF, "")), options)

    async def _recover(self, box: Container, cluster: Cluster) -> None:
        now = timestamp(box.loop.time()).strftime("%Y-%m-%d %H:%M:%S UTC")
        if cluster.clean:
            _log(box, "LOG", f"database system was shut down at {now}")
            await asyncio.sleep(_START_S)
            return
        _log(box, "LOG", f"database system was interrupted; last known up at {now}")
        _log(
            box,
            "LOG",
            "database system was not properly shut down; automatic recovery in progress",
        )
        await box.burn(_RECOVERY_S * 0.5)
        await asyncio.sleep(_RECOVERY_S * 0.5)
        _log(box, "LOG", "redo done; checkpoint complete")

    async def _serve(self, box: Container, database: Database) -> int:
        term = box.spawn(box.terminating.wait())
        ends: list[asyncio.Future[Any]] = [term, database.panic]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if database.panic.done():
            pid = database.sessions.take_pid()
            database.log(pid, "PANIC", database.panic.result())
            _log(box, "LOG", f"server process (PID {pid}) was terminated by signal 6: Aborted")
            _log(box, "LOG", "terminating any other active server processes")
            _log(box, "LOG", "aborting startup due to startup process failure")
            return 1
        _log(box, "LOG", "received fast shutdown request")
        _log(box, "LOG", "aborting any active transactions")
        database.shut_down()
        await asyncio.sleep(0.1)
        database.storage.close()
        database.cluster.clean = True
        _log(box, "LOG", "database system is shut down")
        return 0

    # -- the wire ---------------------------------------------------------------------------------

    async def _handle(
        self, message: object, peer: Peer
    ) -> Ready | Rows | PgError | TlsRefused | None:
        database = self.database
        if database is None:
            peer.close()
            return STARTING_UP
        match message:
            case Query():
                session = peer.session
                if not isinstance(session, Session):
                    peer.close()
                    return PgError("08P01", "invalid frontend message type 81", "FATAL")
                answer = await database.query(session, message)
                if isinstance(answer, PgError) and answer.severity != "ERROR":
                    peer.close()
                return answer
            case Startup():
                return await _connect(database, message, peer)
        # Not the protocol (an HTTP request, say): the server hangs up.
        peer.abort()
        return None


async def _connect(
    database: Database, startup: Startup, peer: Peer
) -> Ready | PgError | TlsRefused:
    if startup.sslmode == "require" and not is_on(database.settings["ssl"]):
        return TlsRefused()
    try:
        session = await database.connect(
            startup, address=peer.ip, port=peer.port, disconnect=peer.close
        )
    except SqlFailure as failure:
        peer.close()
        return failure.error
    peer.session = session
    if peer.closed:
        database.disconnect(session)
    else:
        peer.on_close(lambda: database.disconnect(session))
    return Ready(session.pid)


def _log(box: Container, severity: str, message: str) -> None:
    stamp = timestamp(box.loop.time()).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    level = severity if severity == "FATAL" else "INFO"
    box.log(f"{stamp} UTC [1] {severity}:  {message}", severity=level)


def _volume(box: Container) -> Volume | None:
    """Return the volume of the data directory; None keeps the data in the container."""
    return box.volumes.get(DATA) or next(iter(box.volumes.values()), None)


def _passwords(store: Store, env: Mapping[str, str]) -> dict[str, str]:
    found = {user: env.get(f"ROLE_{prefix(user)}_PASSWORD", "") for user in sorted(store.users)}
    found[SUPERUSER] = env.get("POSTGRES_PASSWORD", "")
    return {user: password for user, password in found.items() if password}


def _conf(text: str) -> dict[str, str]:
    """Read ``name = value`` lines of a postgresql.conf."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\s*(\w+)\s*=?\s*('(?:[^']*)'|[^#]*?)\s*(?:#.*)?", line)
        if match and match.group(2):
            found[match.group(1)] = match.group(2).strip("'")
    return found


def _export(box: Container, database: Database) -> None:
    """Register what postgres_exporter would: read from the live server at each scrape."""
    cluster, stats, name = database.cluster, database.statistics, database.cluster.database
    gauge: Any = box.metrics.gauge
    gauge("pg_up", lambda: 1.0)
    gauge("pg_settings_max_connections", lambda: float(database.settings["max_connections"]))
    for state in STATES:
        gauge(
            "pg_stat_activity_count",
            lambda state=state: float(database.sessions.counts()[state]),
            datname=name,
            state=state,
        )
    gauge("pg_database_size_bytes", lambda: float(cluster.size()), datname=name)
    gauge("pg_locks_count", lambda: float(len(database.locks.rows())), datname=name)
    gauge(
        "pg_stat_activity_waiting_count",
        lambda: float(sum(bool(s.waiting_for) for s in database.sessions.open.values())),
        datname=name,
    )
    for metric, field in (
        ("xact_commit", "commits"), ("xact_rollback", "rollbacks"), ("tup_returned", "returned"),
        ("tup_fetched", "fetched"), ("tup_inserted", "inserted"), ("tup_updated", "updated"),
        ("tup_deleted", "deleted"),
    ):  # fmt: skip
        gauge(
            f"pg_stat_database_{metric}",
            lambda field=field: float(getattr(stats, field)),
            datname=name,
        )
    gauge("pg_stat_database_deadlocks", lambda: float(database.locks.deadlocks), datname=name)
    for table in sorted(cluster.tables):
        for metric in ("seq_scan", "idx_scan"):
            gauge(
                f"pg_stat_user_tables_{metric}",
                lambda table=table, metric=metric: _scans(cluster, table, metric),
                datname=name,
                relname=table,
            )


def _scans(cluster: Cluster, table: str, metric: str) -> float:
    """Return a scan counter; a dropped table stays at zero."""
    found = cluster.tables.get(table)
    return 0.0 if found is None else float(getattr(found, f"{metric}s"))
