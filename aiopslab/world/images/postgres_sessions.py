"""Sessions of a database server: who may come in, how many, what each is doing.

A session is a connection and its backend process. Not here: what a query does
(``postgres_server``), what is on disk (``postgres_cluster``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aiopslab.world.images.messages import PgError, Startup
from aiopslab.world.images.postgres_cluster import Cluster, Role
from aiopslab.world.images.postgres_expressions import SqlFailure
from aiopslab.world.images.postgres_hba import PASSWORDS, Hba, load
from aiopslab.world.images.postgres_settings import is_on, seconds

State = Literal["active", "idle", "idle in transaction", "idle in transaction (aborted)"]
STATES: tuple[State, ...] = (
    "active",
    "idle",
    "idle in transaction",
    "idle in transaction (aborted)",
)
_FIRST_PID = 64
ADMIN_SHUTDOWN = PgError(
    "57P01", "terminating connection due to administrator command", severity="FATAL"
)
CANCELED = PgError("57014", "canceling statement due to user request")
TIMED_OUT = PgError("57014", "canceling statement due to statement timeout")
IDLE_TIMEOUT = PgError(
    "25P03", "terminating connection due to idle-in-transaction timeout", severity="FATAL"
)
SESSION_TIMEOUT = PgError(
    "57P05", "terminating connection due to idle-session timeout", severity="FATAL"
)


@dataclass(slots=True, eq=False)
class Session:
    """One backend, as pg_stat_activity shows it."""

    pid: int
    role: Role
    database: str
    application_name: str
    client_addr: str | None
    """None over the local socket."""
    client_port: int
    started: float
    disconnect: Callable[[], None]
    """Closes the client's connection from the server's side."""
    state: State = "idle"
    query: str = ""
    query_start: float | None = None
    xact_start: float | None = None
    state_change: float = 0.0
    waiting_for: Literal["", "relation", "transactionid"] = ""
    """The lock event while it waits for one."""
    settings: dict[str, str] = field(default_factory=dict)
    """What SET changed."""
    in_transaction: bool = False
    gone: bool = False
    """The client closed the connection."""
    task: asyncio.Task[object] | None = None
    """The task that runs its current query."""
    xact_failed: bool = False
    """A statement of the open transaction failed."""
    interrupt: PgError | None = None
    """Why that task was cancelled."""
    idle_timer: asyncio.TimerHandle | None = None

    def stop(self, error: PgError) -> None:
        """Interrupt the running query; a FATAL error also ends an idle session."""
        if self.task is not None:
            self.interrupt = error
            self.task.cancel()
        elif error.severity == "FATAL":
            self.disconnect()


class Sessions:
    """Admission and registry of backends.

    Args:
        cluster: Roles and the database.
        settings: Values in force, read at each use.
        loop: Source of time.
    """

    def __init__(
        self, cluster: Cluster, settings: Mapping[str, str], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._loop = loop
        self._next_pid = _FIRST_PID
        self.hba = Hba()
        """Who may try to log in over the network, and how he proves who he is."""
        self.open: dict[int, Session] = {}
        """By pid, oldest first."""

    def admit(
        self,
        startup: Startup,
        *,
        address: str | None,
        port: int,
        disconnect: Callable[[], None],
    ) -> Session:
        """Open a session.

        ``address`` None is the local socket, where nobody needs a password; ``disconnect``
        closes the client's connection.

        Raises:
            SqlFailure: FATAL 53300, 28P01, 28000, 3D000 or 42501.
        """
        limit = int(self._settings["max_connections"])
        if len(self.open) >= limit:
            raise _fatal("53300", "sorry, too many clients already")
        role = self._authenticate(startup, address)
        reserved = int(self._settings["superuser_reserved_connections"])
        if not role.superuser and len(self.open) >= limit - reserved:
            raise _fatal(
                "53300",
                "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            )
        self._authorize(role, startup.database)
        session = Session(
            self.take_pid(),
            role,
            startup.database,
            startup.application_name,
            address,
            port,
            self._loop.time(),
            disconnect,
            state_change=self._loop.time(),
        )
        self.open[session.pid] = session
        return session

    def encrypts(self, startup: Startup) -> bool:
        """Tell whether a client and this server agree on TLS."""
        return startup.sslmode != "disable" and is_on(self._settings["ssl"])

    def load_hba(self, files: Mapping[str, str]) -> None:
        """Read the ``pg_hba.conf`` that is in force from the files of the container.

        Raises:
            HbaError: It cannot be loaded; the one before stays.
        """
        path = self._settings["hba_file"]
        self.hba = load(path, files.get(path))

    def close(self, session: Session) -> None:
        """Forget a session."""
        if self.open.pop(session.pid, None) is not None and session.idle_timer is not None:
            session.idle_timer.cancel()

    def counts(self) -> dict[State, int]:
        """Return sessions by state, every state listed."""
        found: dict[State, int] = dict.fromkeys(STATES, 0)
        for session in self.open.values():
            found[session.state] += 1
        return found

    def setting(self, session: Session, name: str) -> str:
        """Return a setting as a session sees it."""
        return session.settings.get(name) or self._settings[name]

    def rest(self, session: Session, state: State) -> None:
        """Put a session to rest between queries and arm its idle timeout."""
        session.state = state
        session.state_change = self._loop.time()
        if session.idle_timer is not None:
            session.idle_timer.cancel()
            session.idle_timer = None
        in_transaction = state != "idle"
        name = "idle_in_transaction_session_timeout" if in_transaction else "idle_session_timeout"
        value = self.setting(session, name)
        if value != "0" and (limit := seconds(value)) > 0:
            error = IDLE_TIMEOUT if in_transaction else SESSION_TIMEOUT
            session.idle_timer = self._loop.call_later(limit, session.stop, error)

    def take_pid(self) -> int:
        """Return a fresh process id."""
        self._next_pid += 1
        return self._next_pid

    def _authenticate(self, startup: Startup, address: str | None) -> Role:
        role = self._cluster.roles.get(startup.user)
        record = None
        if address is not None:
            found = self.hba.admit(startup, address, encrypted=self.encrypts(startup))
            if isinstance(found, PgError):
                raise SqlFailure(found)
            record = found
        if record is None or record.method not in PASSWORDS:
            if role is None:
                raise _fatal("28000", f'role "{startup.user}" does not exist')
        elif role is None:
            raise _fatal(
                "28P01",
                f'password authentication failed for user "{startup.user}"',
                detail=f'Role "{startup.user}" does not exist.',
            )
        elif role.password is None:
            raise _fatal(
                "28P01",
                f'password authentication failed for user "{startup.user}"',
                detail=f'User "{startup.user}" has no password assigned.',
            )
        elif role.password != startup.password:
            raise _fatal(
                "28P01",
                f'password authentication failed for user "{startup.user}"',
                detail=self.hba.matched(record),
            )
        return role

    def _authorize(self, role: Role, database: str) -> None:
        if not role.login:
            raise _fatal("28000", f'role "{role.name}" is not permitted to log in')
        if database not in (self._cluster.database, "postgres"):
            raise _fatal("3D000", f'database "{database}" does not exist')
        if role.name in self._cluster.connect_revoked and not role.superuser:
            raise _fatal(
                "42501",
                f'permission denied for database "{database}"',
                detail="User does not have CONNECT privilege.",
            )
        if 0 <= role.connection_limit <= self.of_role(role) and not role.superuser:
            raise _fatal("53300", f'too many connections for role "{role.name}"')

    def of_role(self, role: Role) -> int:
        """Count the sessions of a role."""
        return sum(session.role is role for session in self.open.values())


def _fatal(sqlstate: str, message: str, *, detail: str = "") -> SqlFailure:
    return SqlFailure(PgError(sqlstate, message, "FATAL", detail=detail))
