"""System catalogues and views, computed from the live server when someone looks.

Each view is a function from the server to rows; a row is a dict in column order. Not here: the
app's own tables (``postgres_rows``), queries over them (``postgres_select``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiopslab.world.images.postgres_cluster import PRIVILEGES, SUPERUSER
from aiopslab.world.images.postgres_expressions import Value
from aiopslab.world.images.postgres_locks import MODES
from aiopslab.world.images.postgres_server import Database
from aiopslab.world.images.postgres_sessions import Session
from aiopslab.world.images.postgres_settings import SETTINGS
from aiopslab.world.images.postgres_values import timestamp

Row = dict[str, Value]
_DATABASE_OID = 16384


def _at(seconds: float | None) -> Value:
    return None if seconds is None else timestamp(seconds)


def pg_stat_activity(db: Database) -> list[Row]:
    """One row a backend; superusers only see all of ``query``, which we show to everyone."""
    return [
        {
            "datid": _DATABASE_OID,
            "datname": s.database,
            "pid": s.pid,
            "leader_pid": None,
            "usesysid": s.role.oid,
            "usename": s.role.name,
            "application_name": s.application_name,
            "client_addr": s.client_addr,
            "client_hostname": None,
            "client_port": s.client_port,
            "backend_start": _at(s.started),
            "xact_start": _at(s.xact_start),
            "query_start": _at(s.query_start),
            "state_change": _at(s.state_change),
            "wait_event_type": _wait(s)[0],
            "wait_event": _wait(s)[1],
            "state": s.state,
            "backend_xid": None,
            "backend_xmin": None,
            "query_id": None,
            "query": s.query,
            "backend_type": "client backend",
        }
        for s in db.sessions.open.values()
    ]


def _wait(session: Session) -> tuple[str | None, str | None]:
    if session.waiting_for:
        return "Lock", session.waiting_for
    return (None, None) if session.state == "active" else ("Client", "ClientRead")


def pg_locks(db: Database) -> list[Row]:
    """One row a lock held or awaited."""
    rows: list[Row] = []
    for lock in db.locks.rows():
        session = lock.owner
        assert isinstance(session, Session)
        row = bool(lock.target.row)
        table = db.cluster.tables.get(lock.target.table)
        rows.append(
            {
                "locktype": "transactionid" if row else "relation",
                "database": None if row else _DATABASE_OID,
                "relation": None if row or table is None else table.oid,
                "page": None,
                "tuple": None,
                "transactionid": 700 + session.pid if row else None,
                "pid": session.pid,
                "mode": ("ExclusiveLock" if lock.granted else "ShareLock")
                if row
                else MODES[lock.mode],
                "granted": lock.granted,
                "fastpath": False,
                "waitstart": None if lock.granted else _at(session.query_start),
            }
        )
    return rows


def pg_roles(db: Database) -> list[Row]:
    """One row a role, passwords hidden."""
    return [
        {
            "rolname": role.name,
            "rolsuper": role.superuser,
            "rolinherit": True,
            "rolcreaterole": role.superuser,
            "rolcreatedb": role.superuser,
            "rolcanlogin": role.login,
            "rolreplication": role.superuser,
            "rolconnlimit": role.connection_limit,
            "rolpassword": "********",
            "rolvaliduntil": None,
            "rolbypassrls": role.superuser,
            "oid": role.oid,
        }
        for _, role in sorted(db.cluster.roles.items())
    ]


def pg_user(db: Database) -> list[Row]:
    """Roles that can log in."""
    return [
        {
            "usename": role.name,
            "usesysid": role.oid,
            "usecreatedb": role.superuser,
            "usesuper": role.superuser,
            "passwd": "********",
            "valuntil": None,
        }
        for _, role in sorted(db.cluster.roles.items())
        if role.login
    ]


def pg_settings(db: Database) -> list[Row]:
    """One row a parameter."""
    return [
        {
            "name": name,
            "setting": db.settings[name],
            "unit": None,
            "context": setting.context,
            "vartype": setting.kind,
            "source": "default" if db.settings[name] == setting.default else "configuration file",
            "boot_val": setting.default,
            "short_desc": setting.description,
            "pending_restart": setting.context == "postmaster"
            and db.cluster.overrides.get(name, db.settings[name]) != db.settings[name],
        }
        for name, setting in sorted(SETTINGS.items())
    ]


def pg_database(db: Database) -> list[Row]:
    """The app's database and the standard ones."""
    names = dict.fromkeys([db.cluster.database, SUPERUSER, "template0", "template1"])
    return [
        {
            "oid": _DATABASE_OID + index,
            "datname": name,
            "datdba": 10,
            "encoding": 6,
            "datcollate": "en_US.utf8",
            "datctype": "en_US.utf8",
            "datistemplate": name.startswith("template"),
            "datallowconn": name != "template0",
            "datconnlimit": -1,
        }
        for index, name in enumerate(names)
    ]


def pg_stat_database(db: Database) -> list[Row]:
    """Counters of the app's database."""
    stats = db.statistics
    return [
        {
            "datid": _DATABASE_OID,
            "datname": db.cluster.database,
            "numbackends": len(db.sessions.open),
            "xact_commit": stats.commits,
            "xact_rollback": stats.rollbacks,
            "tup_returned": stats.returned,
            "tup_fetched": stats.fetched,
            "tup_inserted": stats.inserted,
            "tup_updated": stats.updated,
            "tup_deleted": stats.deleted,
            "deadlocks": db.locks.deadlocks,
            "stats_reset": _at(db.started),
        }
    ]


def pg_stat_user_tables(db: Database) -> list[Row]:
    """Counters of each table."""
    return [
        {
            "relid": table.oid,
            "schemaname": "public",
            "relname": table.name,
            "seq_scan": table.seq_scans,
            "seq_tup_read": table.seq_scans * table.rows,
            "idx_scan": table.idx_scans,
            "n_tup_ins": table.inserted,
            "n_tup_upd": table.updated,
            "n_tup_del": table.deleted,
            "n_live_tup": table.rows,
            "n_dead_tup": table.dead,
            "last_vacuum": None,
            "last_autovacuum": None,
            "last_analyze": _at(table.analyzed_at),
            "last_autoanalyze": None,
        }
        for _, table in sorted(db.cluster.tables.items())
    ]


def pg_tables(db: Database) -> list[Row]:
    """The app's tables."""
    return [
        {
            "schemaname": "public",
            "tablename": table.name,
            "tableowner": SUPERUSER,
            "tablespace": None,
            "hasindexes": bool(table.indexes),
        }
        for _, table in sorted(db.cluster.tables.items())
    ]


def pg_class(db: Database) -> list[Row]:
    """Tables and indexes."""
    rows: list[Row] = []
    for _, table in sorted(db.cluster.tables.items()):
        pages = table.allocated // 8192
        rows.append(
            _relation(table.oid, table.name, "r", table.rows if table.analyzed else -1, pages)
        )
        for index, name in enumerate(sorted(table.indexes)):
            rows.append(
                _relation(table.oid * 10 + index, name, "i", table.rows, table.rows // 360 + 1)
            )
    return rows


def _relation(oid: int, name: str, kind: str, tuples: int, pages: int) -> Row:
    return {
        "oid": oid,
        "relname": name,
        "relnamespace": 2200,
        "relowner": 10,
        "relkind": kind,
        "reltuples": tuples,
        "relpages": pages,
    }


def pg_indexes(db: Database) -> list[Row]:
    """Indexes with their definitions."""
    return [
        {
            "schemaname": "public",
            "tablename": table.name,
            "indexname": name,
            "tablespace": None,
            "indexdef": f"CREATE {'UNIQUE ' if name.endswith('_pkey') else ''}INDEX {name} "
            f"ON public.{table.name} USING btree ({column})",
        }
        for _, table in sorted(db.cluster.tables.items())
        for name, column in sorted(table.indexes.items())
    ]


def tables(db: Database) -> list[Row]:
    """information_schema.tables, the app's part."""
    return [
        {
            "table_catalog": db.cluster.database,
            "table_schema": "public",
            "table_name": name,
            "table_type": "BASE TABLE",
        }
        for name in sorted(db.cluster.tables)
    ]


def columns(db: Database) -> list[Row]:
    """information_schema.columns."""
    return [
        {
            "table_catalog": db.cluster.database,
            "table_schema": "public",
            "table_name": name,
            "column_name": column,
            "ordinal_position": position,
            "is_nullable": "NO" if column == table.key else "YES",
            "data_type": kind,
        }
        for name, table in sorted(db.cluster.tables.items())
        for position, (column, kind) in enumerate(table.columns.items(), start=1)
    ]


def role_table_grants(db: Database) -> list[Row]:
    """information_schema.role_table_grants: the owner's privileges and everyone's grants."""
    return [
        {
            "grantor": SUPERUSER,
            "grantee": grantee,
            "table_catalog": db.cluster.database,
            "table_schema": "public",
            "table_name": name,
            "privilege_type": privilege,
            "is_grantable": "YES" if grantee == SUPERUSER else "NO",
            "with_hierarchy": "YES" if privilege == "SELECT" else "NO",
        }
        for name, table in sorted(db.cluster.tables.items())
        for grantee, granted in [(SUPERUSER, set(PRIVILEGES)), *sorted(table.acl.items())]
        for privilege in PRIVILEGES
        if privilege in granted
    ]


def pg_sequences(db: Database) -> list[Row]:
    """One row a sequence."""
    found = (table.sequence for _, table in sorted(db.cluster.tables.items()))
    return [sequence.row() for sequence in found if sequence is not None]


VIEWS: Mapping[str, Callable[[Database], list[Row]]] = {
    "information_schema.columns": columns,
    "information_schema.role_table_grants": role_table_grants,
    "information_schema.table_privileges": role_table_grants,
    "information_schema.tables": tables,
    "pg_class": pg_class,
    "pg_database": pg_database,
    "pg_indexes": pg_indexes,
    "pg_locks": pg_locks,
    "pg_roles": pg_roles,
    "pg_sequences": pg_sequences,
    "pg_settings": pg_settings,
    "pg_stat_activity": pg_stat_activity,
    "pg_stat_all_tables": pg_stat_user_tables,
    "pg_stat_database": pg_stat_database,
    "pg_stat_user_tables": pg_stat_user_tables,
    "pg_tables": pg_tables,
    "pg_user": pg_user,
}
