"""A running PostgreSQL server: what happens to a query.

Admission, locks, CPU and disk cost, effects and errors of the statements that the app sends.
SQL of people goes through ``postgres_execute``. Not here: the process around it (``postgres``:
start, crash, shutdown, metrics), the wire (``messages``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiopslab.models.store import Statement
from aiopslab.pauses import pause
from aiopslab.seeds import lognormal
from aiopslab.world.container import Container
from aiopslab.world.images import postgres_locks as lk
from aiopslab.world.images.messages import PgError, Query, Rows, Startup
from aiopslab.world.images.postgres_cluster import Cluster, Role, TableState, where_terms
from aiopslab.world.images.postgres_expressions import SqlFailure
from aiopslab.world.images.postgres_hba import HbaError
from aiopslab.world.images.postgres_plan import check_columns, index_for, row_key, scan_s
from aiopslab.world.images.postgres_sessions import (
    ADMIN_SHUTDOWN,
    TIMED_OUT,
    Session,
    Sessions,
    State,
)
from aiopslab.world.images.postgres_settings import SETTINGS, seconds, size, slow_s
from aiopslab.world.images.postgres_storage import DiskFull, Storage
from aiopslab.world.images.postgres_values import timestamp

FORK_S = 0.003
"""CPU seconds of a new backend: fork, catalogue caches, password check."""
TLS_S = 0.002
"""CPU seconds of a TLS handshake beside that."""
BACKEND_BYTES = 5 * 2**20
"""Memory of a backend."""
_POSTMASTER_BYTES = 18 * 2**20
_PARSE_S = 0.0002
TextRunner = Callable[["Database", Session, str], Awaitable[Rows]]


@dataclass(slots=True)
class Statistics:
    """Counters of pg_stat_database since the server started."""

    commits: int = 0
    rollbacks: int = 0
    returned: int = 0
    fetched: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0


class Database:
    """A server that is up.

    Args:
        box: The container it runs in.
        cluster: What is on its volume.
        base: Settings before ``postgresql.auto.conf``.
        storage: Where writes go.
        run_text: Executes SQL given as text.

    Raises:
        HbaError: ``pg_hba.conf`` cannot be loaded.
    """

    def __init__(
        self,
        box: Container,
        cluster: Cluster,
        base: Mapping[str, str],
        storage: Storage,
        run_text: TextRunner,
    ) -> None:
        self.box = box
        self.cluster = cluster
        self.base = dict(base)
        self.settings = self.base | cluster.overrides
        """Values in force."""
        self.storage = storage
        self.loop = box.loop
        self.started = self.loop.time()
        self.sessions = Sessions(cluster, self.settings, self.loop)
        self.locks = lk.Locks(self.loop, seconds(self.settings["deadlock_timeout"]))
        self.statistics = Statistics()
        self.panic: asyncio.Future[str] = self.loop.create_future()
        """Set to the reason when the server must crash."""
        self._slow_s = slow_s(self.settings)
        self.sessions.load_hba(box.files)
        self._run_text = run_text
        self._costs = box.streams("postgres", "cost")
        self._waits = box.streams("postgres", "io")
        self.box.memory.hold("postmaster", _POSTMASTER_BYTES)
        buffers = min(size(self.settings["shared_buffers"]), cluster.size())
        self.box.memory.hold("shared_buffers", buffers)

    # -- sessions ---------------------------------------------------------------------------------

    async def connect(
        self, startup: Startup, *, address: str | None, port: int, disconnect: Callable[[], None]
    ) -> Session:
        """Open a session; see ``Sessions.admit``.

        Raises:
            SqlFailure: FATAL; also logged.
        """
        await self.box.burn(FORK_S + TLS_S if self.sessions.encrypts(startup) else FORK_S)
        try:
            session = self.sessions.admit(
                startup, address=address, port=port, disconnect=disconnect
            )
        except SqlFailure as failure:
            self.log_error(self.sessions.take_pid(), failure.error)
            raise
        self._hold_backends()
        return session

    def disconnect(self, session: Session) -> None:
        """The client is gone; a backend in the middle of a query notices only at its end."""
        session.gone = True
        if session.task is None:
            self._close(session)

    def _close(self, session: Session) -> None:
        self.sessions.close(session)
        self.locks.release(session)
        self._hold_backends()

    def _hold_backends(self) -> None:
        self.box.memory.hold("backends", len(self.sessions.open) * BACKEND_BYTES)

    # -- queries ----------------------------------------------------------------------------------

    async def query(self, session: Session, query: Query) -> Rows | PgError:
        """Run a query to its end; errors come back as values and are logged."""
        now = self.loop.time()
        session.state, session.state_change, session.query_start = "active", now, now
        session.query = query.text if query.statement is None else query.statement.text
        if session.xact_start is None:
            session.xact_start = now
        session.task = asyncio.current_task(self.loop)
        limit = self.sessions.setting(session, "statement_timeout")
        timer = (
            self.loop.call_later(seconds(limit), session.stop, TIMED_OUT) if limit != "0" else None
        )
        try:
            if query.statement is None:
                answer: Rows | PgError = await self._run_text(self, session, query.text)
                if session.interrupt is not None:
                    await asyncio.sleep(0)  # it terminated itself: be interrupted here
            else:
                rows = await self._run_statement(session, query.statement, query.params)
                answer = Rows(rows, tag=query.statement.kind)
        except SqlFailure as failure:
            answer = failure.error
        except DiskFull:
            answer = self._panic()
        except asyncio.CancelledError:
            if session.interrupt is None or session.task is None:
                raise  # the process is being killed
            session.task.uncancel()
            answer = session.interrupt
        finally:
            session.task, session.interrupt, session.waiting_for = None, None, ""
            if timer is not None:
                timer.cancel()
        duration = self.loop.time() - now
        if duration >= self._slow_s:
            text = f"duration: {duration * 1000.0:.3f} ms  statement: {session.query}"
            self.log(session.pid, "LOG", text)
        self._finish(session, answer)
        return answer

    def _finish(self, session: Session, answer: Rows | PgError) -> None:
        failed = isinstance(answer, PgError)
        if isinstance(answer, PgError):
            self.log_error(session.pid, answer, statement=session.query)
        state: State = "idle"
        if session.in_transaction:
            session.xact_failed |= failed
            state = (
                "idle in transaction (aborted)" if session.xact_failed else "idle in transaction"
            )
        else:
            self.end_transaction(session, commit=not failed)
        self.sessions.rest(session, state)
        if session.gone:
            self._close(session)

    def end_transaction(self, session: Session, *, commit: bool) -> None:
        """Release what a transaction held and count it."""
        session.in_transaction, session.xact_failed, session.xact_start = False, False, None
        self.locks.release(session)
        if commit:
            self.statistics.commits += 1
        else:
            self.statistics.rollbacks += 1

    async def _run_statement(
        self, session: Session, statement: Statement, params: Mapping[str, str]
    ) -> int:
        """Run one statement of the app; return the rows it returned or touched."""
        self.check_usable(session)
        table = self.table(statement.table)
        check_columns(table, statement.text)
        self.authorize(session.role, table, statement.kind)
        await self._lock(session, table, statement, params)
        await self.box.burn(self._cost_s(table, statement))
        if statement.io_ms > 0:
            await pause(self.loop, lognormal(self._waits, statement.io_ms, 0.5) / 1000.0)
        return self._apply(table, statement)

    async def _lock(
        self, session: Session, table: TableState, statement: Statement, params: Mapping[str, str]
    ) -> None:
        mode = lk.ACCESS_SHARE if statement.kind == "SELECT" else lk.ROW_EXCLUSIVE
        if statement.lock == "table":
            mode = lk.ACCESS_EXCLUSIVE
        target = lk.Lockable(table.name)
        if not self.locks.try_acquire(session, target, mode):
            await self.lock(session, target, mode)
        if statement.lock == "row" and statement.kind != "INSERT":
            row = row_key(statement.text, params)
            await self.lock(session, lk.Lockable(table.name, row), lk.EXCLUSIVE)

    async def lock(self, session: Session, target: lk.Lockable, mode: int) -> None:
        """Take a lock, showing the wait in pg_stat_activity and the log.

        Raises:
            SqlFailure: 40P01 or 55P03.
        """
        if self.locks.try_acquire(session, target, mode):
            return
        session.waiting_for = "transactionid" if target.row else "relation"
        timeout = seconds(self.sessions.setting(session, "lock_timeout"))
        began = self.loop.time()
        try:
            await self.locks.acquire(session, target, mode, timeout_s=timeout)
        finally:
            session.waiting_for = ""
            waited = self.loop.time() - began
            if self.settings["log_lock_waits"] == "on" and waited > 1.0:
                what = f"{lk.MODES[mode]} on relation {self.cluster.tables[target.table].oid}"
                self.log(
                    session.pid,
                    "LOG",
                    f"process {session.pid} acquired {what} after {waited * 1000.0:.3f} ms",
                )

    def _cost_s(self, table: TableState, statement: Statement) -> float:
        cost = lognormal(self._costs, statement.ms / 1000.0, 0.5)
        terms = where_terms(statement.text)
        if statement.kind == "INSERT" or not terms:
            return cost
        if index_for(table, {column for column, _ in terms}) is not None:
            table.idx_scans += 1
            return cost
        table.seq_scans += 1
        return cost + scan_s(table)

    async def burn_text(self, scanned: TableState | None = None) -> None:
        """Charge for parsing SQL text and for a scan."""
        await self.box.burn(_PARSE_S + (0.0 if scanned is None else scan_s(scanned)))

    def _apply(self, table: TableState, statement: Statement) -> int:
        """Do what the statement does to the table; return rows."""
        count = min(statement.rows, table.rows) if statement.kind != "INSERT" else statement.rows
        match statement.kind:
            case "SELECT":
                self.statistics.returned += count
                self.statistics.fetched += count
            case "INSERT":
                self.insert(table, count)
            case "UPDATE":
                self.record_update(table, count)
            case "DELETE":
                self.record_delete(table, table.remove_oldest(count))
        return count

    def insert(self, table: TableState, count: int) -> None:
        """Add rows at the end.

        Raises:
            SqlFailure: 53100 or 2200H; nothing was added.
            DiskFull: WAL cannot be written.
        """
        if table.sequence is not None:
            self._number(table, table.sequence.take(count), count)
        reused = min(table.dead, count)  # autovacuum has freed the space of dead rows by now
        table.next_key += count
        table.dead -= reused
        try:
            self.storage.grow(table)
        except SqlFailure:
            table.next_key -= count
            table.dead += reused
            raise
        self.storage.log(count, table.row_bytes)
        table.inserted += count
        self.statistics.inserted += count

    def _number(self, table: TableState, last: int, count: int) -> None:
        """Give new rows their keys; kept as cells only where a sequence has left the row count."""
        if last != table.next_key + count - 1:
            for offset in range(count):
                table.edits[table.next_key + offset] = {table.key: last - count + 1 + offset}

    def record_update(self, table: TableState, count: int) -> None:
        """Account updated rows; autovacuum is assumed to reuse the old versions' space."""
        self.storage.log(count, table.row_bytes)
        table.updated += count
        self.statistics.updated += count

    def record_delete(self, table: TableState, count: int) -> None:
        """Account deleted rows; their space stays with the table."""
        self.storage.log(count, table.row_bytes)
        table.deleted += count
        table.dead += count
        self.statistics.deleted += count

    # -- checks -----------------------------------------------------------------------------------

    def check_usable(self, session: Session) -> None:
        """Refuse commands in a transaction that already failed.

        Raises:
            SqlFailure: 25P02.
        """
        if session.xact_failed:
            raise SqlFailure(
                PgError(
                    "25P02",
                    "current transaction is aborted, commands ignored until end of transaction "
                    "block",
                )
            )

    def table(self, name: str) -> TableState:
        """Return a table of the app. Raises SqlFailure 42P01."""
        table = self.cluster.tables.get(name)
        if table is None:
            raise SqlFailure(PgError("42P01", f'relation "{name}" does not exist'))
        return table

    def authorize(self, role: Role, table: TableState, privilege: str) -> None:
        """Check a privilege. Raises SqlFailure 42501."""
        if not role.superuser and privilege not in table.acl.get(role.name, ()):
            raise SqlFailure(PgError("42501", f"permission denied for table {table.name}"))

    def reload(self) -> None:
        """Apply ``postgresql.auto.conf`` to settings that do not need a restart."""
        for name, value in (self.base | self.cluster.overrides).items():
            if SETTINGS[name].context not in ("postmaster", "internal"):
                self.settings[name] = value
        self._slow_s = slow_s(self.settings)
        self.log(1, "LOG", "received SIGHUP, reloading configuration files")
        try:
            self.sessions.load_hba(self.box.files)
        except HbaError as error:
            self.log(1, "LOG", f"{error}; pg_hba.conf was not reloaded")

    # -- the end ----------------------------------------------------------------------------------

    def _panic(self) -> PgError:
        segment = f"pg_wal/xlogtemp.{self.sessions.take_pid()}"
        message = f'could not write to file "{segment}": No space left on device'
        if not self.panic.done():
            self.panic.set_result(message)
        return PgError("53100", message, "PANIC")

    def shut_down(self) -> None:
        """End every session, as a fast shutdown does."""
        for session in list(self.sessions.open.values()):
            session.stop(ADMIN_SHUTDOWN)

    def log(self, pid: int, severity: str, message: str) -> None:
        """Write a line in PostgreSQL's default format (``log_line_prefix = '%m [%p] '``)."""
        stamp = timestamp(self.loop.time()).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        level = {"FATAL": "FATAL", "PANIC": "FATAL", "ERROR": "ERROR", "WARNING": "WARN"}
        self.box.log(
            f"{stamp} UTC [{pid}] {severity}:  {message}", severity=level.get(severity, "INFO")
        )

    def log_error(self, pid: int, error: PgError, *, statement: str = "") -> None:
        """Write an error with its DETAIL, HINT and STATEMENT lines."""
        self.log(pid, error.severity, error.message)
        for label, text in (
            ("DETAIL", error.detail),
            ("HINT", error.hint),
            ("STATEMENT", statement),
        ):
            if text:
                self.log(pid, label, text)
