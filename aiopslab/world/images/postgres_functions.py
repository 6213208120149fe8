"""SQL functions: those of values, those that look at the server, aggregates."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from collections.abc import Sequence as Many

from aiopslab.world.images.messages import PgError
from aiopslab.world.images.postgres_cluster import PAGE
from aiopslab.world.images.postgres_expressions import Expr, SqlFailure, Value
from aiopslab.world.images.postgres_sequences import Sequence
from aiopslab.world.images.postgres_server import Database
from aiopslab.world.images.postgres_sessions import ADMIN_SHUTDOWN, CANCELED, Session
from aiopslab.world.images.postgres_settings import SETTINGS
from aiopslab.world.images.postgres_values import text, timestamp, type_name

AGGREGATES = frozenset(
    {"count", "count_distinct", "sum", "avg", "min", "max", "array_agg", "string_agg", "bool_or"}
)
_VERSION = "on x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14) 12.2.0, 64-bit"


def aggregate(name: str, values: Many[Value]) -> Value:
    """Compute an aggregate; NULLs do not count."""
    present = [value for value in values if value is not None]
    match name:
        case "count":
            return len(present)
        case "count_distinct":
            return len({text(value) for value in present})
        case _ if not present:
            return None
        case "sum" | "avg":
            return _added(name, present)
        case "min":
            return min(present)
        case "max":
            return max(present)
        case "bool_or":
            return any(present)
        case "string_agg":
            return ",".join(str(text(value)) for value in present)
        case _:
            return list(present)


def _added(name: str, values: Many[Value]) -> Value:
    try:
        total = sum(values[1:], values[0])
        return total / len(values) if name == "avg" else total
    except TypeError as error:
        kind = type_name(values[0])
        raise SqlFailure(PgError("42883", f"function {name}({kind}) does not exist")) from error


def call_function(
    database: Database, session: Session, node: Expr, run: Callable[[Expr], Value]
) -> Value:
    """Call a function.

    Raises:
        SqlFailure: 42883 if there is none of that name.
    """
    name = str(node.value)
    args = [run(arg) for arg in node.args]
    for functions in (_server_value, _administer, _pure):
        found = functions(database, session, name, args)
        if found is not _UNKNOWN:
            return found
    kinds = ", ".join(type_name(value) for value in args)
    raise SqlFailure(
        PgError(
            "42883",
            f"function {name}({kinds}) does not exist",
            hint="No function matches the given name and argument types. "
            "You might need to add explicit type casts.",
        )
    )


_UNKNOWN = object()


def _server_value(db: Database, session: Session, name: str, args: list[Value]) -> Value:
    """Functions that read the server's state."""
    if not args:
        return _about_session(db, session, name)
    match name, args:
        case "current_setting", [str(setting)]:
            return db.sessions.setting(session, known_setting(setting))
        case "pg_database_size", [_]:
            return db.cluster.size()
        case (("pg_total_relation_size" | "pg_relation_size" | "pg_table_size"), [str(table)]):
            return db.table(table).allocated
        case "pg_indexes_size", [str(table)]:
            return len(db.table(table).indexes) * (db.table(table).rows // 360 + 1) * PAGE
        case "pg_blocking_pids", [int(pid)]:
            waiting = db.sessions.open.get(pid)
            blockers = [] if waiting is None else db.locks.blockers(waiting)
            return [other.pid for other in blockers if isinstance(other, Session)]
        case "has_table_privilege", [*who, str(table), str(privilege)]:
            return _has_privilege(db, str(who[0]) if who else session.role.name, table, privilege)
    return _UNKNOWN


def _about_session(db: Database, session: Session, name: str) -> Value:
    """Functions without arguments."""
    values: dict[str, Value] = dict.fromkeys(
        ("now", "current_timestamp", "clock_timestamp", "transaction_timestamp"),
        timestamp(db.loop.time()),
    )
    values |= dict.fromkeys(
        ("current_user", "session_user", "user", "current_role"), session.role.name
    )
    values |= {
        "version": f"PostgreSQL {db.settings['server_version']} {_VERSION}",
        "current_database": session.database,
        "pg_backend_pid": session.pid,
        "pg_postmaster_start_time": timestamp(db.started),
        "pg_is_in_recovery": False,
        "inet_server_addr": None if session.client_addr is None else db.box.pod.ip,
    }
    return values.get(name, _UNKNOWN)


def _has_privilege(db: Database, role: str, table: str, privilege: str) -> bool:
    found = db.cluster.roles.get(role)
    if found is None:
        raise SqlFailure(PgError("42704", f'role "{role}" does not exist'))
    wanted = privilege.upper().strip()
    return found.superuser or wanted in db.table(table).acl.get(role, ())


def _administer(db: Database, session: Session, name: str, args: list[Value]) -> Value:
    """Functions that act on the server."""
    match name, args:
        case (("pg_terminate_backend" | "pg_cancel_backend"), [int(pid), *_]):
            return _signal(db, session, pid, terminate=name == "pg_terminate_backend")
        case "pg_reload_conf", []:
            require_superuser(session, "permission denied for function pg_reload_conf")
            db.reload()
            return True
        case "setval", [str(sequence), int(value)]:
            require_superuser(session, f"permission denied for sequence {sequence}")
            sequence_of(db, sequence).set(value)
            return value
        case "nextval", [str(sequence)]:
            return sequence_of(db, sequence).take(1)
        case "pg_clear_relation_stats", [_, str(table)]:
            require_superuser(session, f"permission denied for table {table}")
            db.table(table).analyzed = False
            return None
        case "pg_sleep", [_]:
            raise SqlFailure(PgError("0A000", "pg_sleep() is disabled on this server"))
    return _UNKNOWN


def sequence_of(db: Database, name: str) -> Sequence:
    """Find a sequence by name. Raises SqlFailure 42P01."""
    bare = name.rpartition(".")[2]
    for table in db.cluster.tables.values():
        if table.sequence is not None and table.sequence.name == bare:
            return table.sequence
    raise SqlFailure(PgError("42P01", f'relation "{name}" does not exist'))


def _signal(db: Database, session: Session, pid: int, *, terminate: bool) -> bool:
    target = db.sessions.open.get(pid)
    if target is None:
        return False  # the server also warns: PID is not a PostgreSQL backend process
    if not session.role.superuser and target.role is not session.role:
        verb = "terminate process" if terminate else "cancel query"
        raise SqlFailure(PgError("42501", f"permission denied to {verb}"))
    target.stop(ADMIN_SHUTDOWN if terminate else CANCELED)
    return True


def known_setting(name: str) -> str:
    """Return the name of a setting in lower case. Raises SqlFailure 42704."""
    if name.lower() not in SETTINGS:
        raise SqlFailure(PgError("42704", f'unrecognized configuration parameter "{name}"'))
    return name.lower()


def require_superuser(session: Session, message: str) -> None:
    """Refuse others. Raises SqlFailure 42501."""
    if not session.role.superuser:
        raise SqlFailure(PgError("42501", message))


def _pure(_db: Database, _session: Session, name: str, args: list[Value]) -> Value:
    """Functions of their arguments."""
    if name == "coalesce":
        return next((value for value in args if value is not None), None)
    if None in args:
        return None
    found = _of_text(name, args)
    return _of_number_or_time(name, args) if found is _UNKNOWN else found


def _of_text(name: str, args: list[Value]) -> Value:
    match name, args:
        case "lower", [str(value)]:
            return value.lower()
        case "upper", [str(value)]:
            return value.upper()
        case "length", [str(value)]:
            return len(value)
        case "left", [str(value), int(count)]:
            return value[:count]
        case (("substr" | "substring"), [str(value), int(first)]):
            return value[first - 1 :]
        case (("substr" | "substring"), [str(value), int(first), int(count)]):
            return value[first - 1 : first - 1 + count]
    return _UNKNOWN


def _of_number_or_time(name: str, args: list[Value]) -> Value:
    match name, args:
        case (("pg_size_pretty" | "round"), [float() as value, *_]) if not math.isfinite(value):
            return value if name == "round" else text(value)
        case "pg_size_pretty", [int() | float() as size]:
            return pretty(int(size))
        case "round", [int() | float() as value]:
            return round(float(value))
        case "round", [int() | float() as value, int(digits)]:
            return round(float(value), digits)
        case "abs", [int() | float() as value]:
            return abs(value)
        case (("cardinality" | "array_length"), [list() as items, *_]):
            return len(items)
        case "extract", ["epoch", dt.timedelta() as span]:
            return span.total_seconds()
        case "extract", ["epoch", dt.datetime() as instant]:
            return instant.timestamp()
        case "date_trunc", ["second", dt.datetime() as instant]:
            return instant.replace(microsecond=0)
        case "age", [dt.datetime() as left, dt.datetime() as right]:
            return left - right
    return _UNKNOWN


def pretty(size: int) -> str:
    """Write bytes as pg_size_pretty does.

    >>> pretty(8192), pretty(7500000)
    ('8192 bytes', '7324 kB')
    """
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(size) < 10240 or unit == "TB":
            return f"{size} {unit}"
        size = round(size / 1024)
    return ""
