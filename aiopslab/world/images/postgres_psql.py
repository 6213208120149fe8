r"""``psql``: sessions, scripts, backslash commands.

Talks to the server of its own container over the local socket, as the superuser unless told
otherwise, or to any server over the network with ``-h``. Not here: SQL (``postgres_execute``), the
command line (``postgres_options``), output (``postgres_output``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiopslab.models.kube import ExecResult
from aiopslab.models.store import Store
from aiopslab.services.protocols import ConnectTimeout, NetError, NoSuchHost
from aiopslab.world.connection import Connection
from aiopslab.world.container import Container
from aiopslab.world.images.messages import PgError, Query, Ready, Rows, Startup, TlsRefused
from aiopslab.world.images.postgres_cluster import SUPERUSER
from aiopslab.world.images.postgres_expressions import SqlFailure
from aiopslab.world.images.postgres_options import Options, parse_options
from aiopslab.world.images.postgres_output import error_text, render
from aiopslab.world.images.postgres_server import Database
from aiopslab.world.images.postgres_sessions import Session

SOCKET = "/var/run/postgresql/.s.PGSQL"
_TIMEOUT_S = 300.0


class Line:
    """A session as psql holds it: local backend or connection."""

    def __init__(
        self,
        database: Database | None,
        session: Session | None,
        connection: Connection | None,
    ) -> None:
        self._database = database
        self._session = session
        self._connection = connection

    async def query(self, sql: str) -> Rows | PgError:
        """Send SQL."""
        if self._connection is not None:
            answer = await self._connection.call(Query(text=sql), timeout_s=_TIMEOUT_S)
            assert isinstance(answer, Rows | PgError)
            return answer
        assert self._database is not None
        assert self._session is not None
        return await self._database.query(self._session, Query(text=sql))

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
        elif self._database is not None and self._session is not None:
            self._database.disconnect(self._session)


async def psql(
    box: Container, database: Database | None, store: Store, words: Sequence[str], stdin: str
) -> ExecResult:
    """Run one invocation.

    Exit codes are psql's: 1 usage or failed statement with ``-c``, 2 no connection, 3 an error in
    a script with ON_ERROR_STOP.
    """
    options = parse_options(words, box.env)
    if options.error:
        hint = 'Try "psql --help" for more information.'
        return ExecResult("", f"psql: error: {options.error}\npsql: hint: {hint}\n", 1)
    options.user = options.user or SUPERUSER
    options.database = options.database or store.database or options.user
    options.port = options.port or store.port
    scripts = options.commands or split(stdin)
    try:
        line = await _connect(box, database, options)
    except ConnectionError as error:
        return ExecResult("", f"psql: error: {error}\n", 2)
    out: list[str] = []
    err: list[str] = []
    try:
        for script in scripts:
            await _run(line, script, options, out, err)
            if err and options.commands:
                break
    except NetError as error:
        err.append(f"server closed the connection unexpectedly: {error}\n")
        return ExecResult("".join(out), "".join(err), 2)
    finally:
        line.close()
    return ExecResult("".join(out), "".join(err), 1 if err and options.commands else 0)


async def _connect(box: Container, database: Database | None, options: Options) -> Line:
    """Open the session. Raises ConnectionError with psql's words."""
    startup = Startup(options.user, options.password, options.database, "psql", options.sslmode)
    if not options.host or options.host.startswith("/"):
        where = f'connection to server on socket "{SOCKET}.{options.port}" failed: '
        if database is None:
            raise ConnectionError(where + "FATAL:  the database system is starting up")
        try:
            session = await database.connect(
                startup, address=None, port=-1, disconnect=lambda: None
            )
        except SqlFailure as failure:
            raise ConnectionError(f"{where}FATAL:  {failure.error.message}") from failure
        return Line(database, session, None)
    return Line(None, None, await _dial(box, options, startup))


async def _dial(box: Container, options: Options, startup: Startup) -> Connection:
    host, port = options.host, options.port
    try:
        connection = await box.netns.connect(host, port, timeout_s=30.0)
        answer = await connection.call(startup, timeout_s=30.0)
    except NoSuchHost as error:
        reason = f'could not translate host name "{host}" to address: Name or service not known'
        raise ConnectionError(reason) from error
    except NetError as error:
        ip = error.address.rpartition(":")[0] or host
        where = f'connection to server at "{host}" ({ip}), port {port} failed: '
        timeout = isinstance(error, ConnectTimeout)
        reason = "Connection timed out" if timeout else error.reason[:1].upper() + error.reason[1:]
        ask = "\n\tIs the server running on that host and accepting TCP/IP connections?"
        raise ConnectionError(where + reason + ask) from error
    if isinstance(answer, PgError):
        connection.close()
        where = f'connection to server at "{host}", port {port} failed: '
        raise ConnectionError(f"{where}{answer.severity}:  {answer.message}")
    if isinstance(answer, TlsRefused):
        connection.close()
        where = f'connection to server at "{host}", port {port} failed: '
        raise ConnectionError(f"{where}server does not support SSL, but SSL was required")
    if not isinstance(answer, Ready):
        # Something else listens there, a cache for instance.
        connection.close()
        where = f'connection to server at "{host}", port {port} failed: '
        raise ConnectionError(f"{where}received invalid response to SSL negotiation: -")
    return connection


async def _run(line: Line, script: str, options: Options, out: list[str], err: list[str]) -> None:
    """Run one ``-c`` string or one statement of standard input."""
    for sql in [script] if script.lstrip().startswith("\\") else split(script):
        if sql.startswith("\\"):
            expanded = _meta(sql, options, out, err)
            if expanded is None:
                continue
            title, sql = expanded
        else:
            title = ""
        answer = await line.query(sql)
        if isinstance(answer, PgError):
            err.append(error_text(answer, sql))
            return
        out.append((f"{title}\n" if title else "") + render(answer, options))


def split(script: str) -> list[str]:
    """Split a script at semicolons outside of quotes; backslash commands end with their line."""
    found: list[str] = []
    pending = ""
    for line in script.splitlines():
        if not pending.strip() and line.lstrip().startswith("\\"):
            found.append(line.strip())
            continue
        pending += line + "\n"
        pieces = re.split(r";(?=(?:[^']*'[^']*')*[^']*$)", pending)
        found += [piece.strip() for piece in pieces[:-1] if piece.strip()]
        pending = pieces[-1]
    if pending.strip():
        found.append(pending.strip())
    return found


_LISTS = {
    "l": (
        "List of databases",
        'SELECT datname AS "Name", \'postgres\' AS "Owner", \'UTF8\' AS "Encoding" '
        "FROM pg_database ORDER BY 1",
    ),
    "du": (
        "List of roles",
        'SELECT rolname AS "Role name", rolsuper AS "Superuser", rolcanlogin AS "Can login", '
        'rolconnlimit AS "Connection limit" FROM pg_roles ORDER BY 1',
    ),
    "dt": (
        "List of relations",
        'SELECT schemaname AS "Schema", tablename AS "Name", \'table\' AS "Type", '
        'tableowner AS "Owner" FROM pg_tables ORDER BY 2',
    ),
    "di": (
        "List of relations",
        'SELECT schemaname AS "Schema", indexname AS "Name", tablename AS "Table" '
        "FROM pg_indexes ORDER BY 2",
    ),
}
"""Backslash commands without argument: title and query."""


def _meta(command: str, options: Options, out: list[str], err: list[str]) -> tuple[str, str] | None:
    """Translate a backslash command into (title, SQL), or do it here and return None."""
    word, _, rest = command[1:].partition(" ")
    name = rest.strip().rstrip(";").removeprefix("public.")
    word = {"dg": "du", "z": "dp"}.get(word.rstrip("+S"), word.rstrip("+S"))
    if word == "d" and not name:
        word = "dt"
    if word in _LISTS:
        return _LISTS[word]
    match word:
        case "dp":
            where = f" WHERE table_name = '{name}'" if name else ""
            return "Access privileges", (
                'SELECT table_schema AS "Schema", table_name AS "Name", grantee AS "Grantee", '
                'string_agg(privilege_type) AS "Access privileges" '
                f"FROM information_schema.role_table_grants{where} "
                "GROUP BY table_schema, table_name, grantee ORDER BY 2, 3"
            )
        case "d":
            return f'Table "public.{name}"', (
                'SELECT column_name AS "Column", data_type AS "Type", is_nullable AS "Nullable" '
                f"FROM information_schema.columns WHERE table_name = '{name}' "
                "ORDER BY ordinal_position"
            )
        case "x":
            options.expanded = not options.expanded
            out.append(f"Expanded display is {'on' if options.expanded else 'off'}.\n")
        case "conninfo":
            out.append(_conninfo(options))
        case "q" | "timing" | "pset" | "set":
            pass
        case _:
            err.append(f"invalid command \\{word}\nTry \\? for help.\n")
    return None


def _conninfo(options: Options) -> str:
    via = f'on host "{options.host}"' if options.host else 'via socket in "/var/run/postgresql"'
    return (
        f'You are connected to database "{options.database}" as user "{options.user}" '
        f'{via} at port "{options.port}".\n'
    )
