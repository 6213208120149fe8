"""What SQL given as text does: people's queries, data changes, roles, grants, settings.

Queries go on to ``postgres_select``. Not here: the statements of the app (``postgres_server``).
"""

from __future__ import annotations

from aiopslab.world.images import postgres_locks as lk
from aiopslab.world.images.messages import PgError, Rows
from aiopslab.world.images.postgres_alter import alter_sequence, alter_table
from aiopslab.world.images.postgres_catalog import VIEWS
from aiopslab.world.images.postgres_cluster import TableState
from aiopslab.world.images.postgres_expressions import Expr, SqlFailure, Value
from aiopslab.world.images.postgres_functions import (
    call_function,
    known_setting,
    require_superuser,
)
from aiopslab.world.images.postgres_plan import index_for, scan_s
from aiopslab.world.images.postgres_roles import change_role, grant
from aiopslab.world.images.postgres_rows import cell, keys
from aiopslab.world.images.postgres_select import SelectRun
from aiopslab.world.images.postgres_server import Database
from aiopslab.world.images.postgres_sessions import Session
from aiopslab.world.images.postgres_settings import SETTINGS, accepts
from aiopslab.world.images.postgres_sql import parse
from aiopslab.world.images.postgres_syntax import (
    AlterSequence,
    AlterTable,
    CreateIndex,
    Delete,
    Explain,
    Grant,
    Insert,
    Parsed,
    RoleChange,
    Select,
    Setting,
    Simple,
    Update,
)
from aiopslab.world.images.postgres_values import evaluate


async def run_text(db: Database, session: Session, sql: str) -> Rows:
    """Run a string of statements; return the result of the last.

    Raises:
        SqlFailure: The first error; statements before it in the string are not undone.
    """
    answer = Rows(0)
    for _, statement in parse(sql):
        answer = await _run(db, session, statement)
    return answer


async def _run(db: Database, session: Session, statement: Parsed) -> Rows:
    ends = isinstance(statement, Simple) and statement.verb in ("COMMIT", "ROLLBACK")
    if not ends:
        db.check_usable(session)
    match statement:
        case Select():
            return await _select(db, session, statement)
        case Explain():
            return _explain(db, statement)
        case Insert() | Update() | Delete():
            return await _change(db, session, statement)
        case Setting():
            return _setting(db, session, statement)
        case RoleChange():
            return change_role(db, session, statement)
        case Grant():
            return grant(db, session, statement)
        case CreateIndex():
            return await _create_index(db, session, statement)
        case AlterTable():
            return await alter_table(db, session, statement)
        case AlterSequence():
            return alter_sequence(db, session, statement)
        case Simple():
            return await _simple(db, session, statement)


# -- queries --------------------------------------------------------------------------------------


async def _select(db: Database, session: Session, query: Select) -> Rows:
    for source in query.sources:
        if source.relation in VIEWS:
            await db.burn_text()
            continue
        table = db.table(source.relation)
        db.authorize(session.role, table, "SELECT")
        await db.lock(session, lk.Lockable(table.name), lk.ACCESS_SHARE)
        early = query.limit is not None and query.where is None and not query.order
        await db.burn_text(None if early else table)
        table.seq_scans += 1
    return SelectRun(db, session, query).run()


def _explain(db: Database, statement: Explain) -> Rows:
    query = statement.query
    if len(query.sources) != 1 or query.sources[0].relation in VIEWS:
        raise SqlFailure(PgError("0A000", "EXPLAIN is supported for one table only"))
    table = db.table(query.sources[0].relation)
    compared = {
        str(node.value): None
        for node in (query.where.walk() if query.where else [])
        if node.op == "column"
    }
    index = index_for(table, compared)
    pages = table.allocated // 8192
    if index is not None:
        lines = [
            f"Index Scan using {index} on {table.name}  "
            f"(cost=0.42..8.44 rows=1 width={table.row_bytes})",
            f"  Index Cond: ({table.indexes[index]} = ...)",
        ]
    else:
        cost = pages + 0.01 * table.rows + 0.0025 * table.rows * len(compared)
        lines = [
            f"Seq Scan on {table.name}  "
            f"(cost=0.00..{cost:.2f} rows={table.rows} width={table.row_bytes})"
        ]
        if compared:
            lines.append(f"  Filter: ({' AND '.join(compared)})")
    if statement.analyze:
        duration = 0.05 if index is not None else scan_s(table) * 1000.0
        lines.append(f"Execution Time: {duration:.3f} ms")
    return Rows(len(lines), ["QUERY PLAN"], [[line] for line in lines], "EXPLAIN")


# -- data -----------------------------------------------------------------------------------------


async def _change(db: Database, session: Session, statement: Insert | Update | Delete) -> Rows:
    table = db.table(statement.table)
    verb = type(statement).__name__.upper()
    db.authorize(session.role, table, verb)
    await db.lock(session, lk.Lockable(table.name), lk.ROW_EXCLUSIVE)
    if isinstance(statement, Insert):
        count = _insert(db, session, table, statement)
        return Rows(count, tag=f"INSERT 0 {count}")
    await db.burn_text(table)
    chosen = [
        key
        for key in keys(table)
        if statement.where is None or _over_row(db, session, table, key, statement.where) is True
    ]
    if isinstance(statement, Delete):
        _delete(db, table, chosen)
    else:
        for column, _ in statement.sets:
            _check_column(table, column)
        for key in chosen:
            cells = {c: _over_row(db, session, table, key, e) for c, e in statement.sets}
            table.edits.setdefault(key, {}).update(cells)
        db.record_update(table, len(chosen))
    return Rows(len(chosen), tag=f"{verb} {len(chosen)}")


def _insert(db: Database, session: Session, table: TableState, statement: Insert) -> int:
    columns = statement.columns or list(table.columns)
    for column in columns:
        _check_column(table, column)
    rows: list[dict[str, Value]] = []
    for exprs in statement.rows:
        if len(exprs) > len(columns):
            raise SqlFailure(PgError("42601", "INSERT has more expressions than target columns"))
        cells: dict[str, Value] = dict.fromkeys(table.columns)
        cells.pop(table.key)
        for column, expr in zip(columns, exprs, strict=False):
            cells[column] = _over_row(db, session, table, None, expr)
        rows.append(cells)
    first = table.next_key
    db.insert(table, len(rows))
    for key, cells in enumerate(rows, start=first):
        table.edits.setdefault(key, {}).update(cells)
    return len(rows)


def _delete(db: Database, table: TableState, chosen: list[int]) -> None:
    if len(chosen) == table.rows:
        table.clear()
    else:
        table.gone.update(chosen)
        for key in chosen:
            table.edits.pop(key, None)
    db.record_delete(table, len(chosen))


def _over_row(
    db: Database, session: Session, table: TableState, key: int | None, expr: Expr
) -> Value:
    """Evaluate an expression over one row of a table, or, with key None, over none."""

    def lookup(_qualifier: str, column: str) -> Value:
        _check_column(table, column)
        if key is None:
            raise SqlFailure(PgError("42703", f'column "{column}" does not exist'))
        return cell(table, key, column)

    return evaluate(expr, lookup, lambda node, run: call_function(db, session, node, run))


def _check_column(table: TableState, column: str) -> None:
    if column not in table.columns:
        message = f'column "{column}" of relation "{table.name}" does not exist'
        raise SqlFailure(PgError("42703", message))


# -- settings -------------------------------------------------------------------------------------


def _setting(db: Database, session: Session, statement: Setting) -> Rows:
    if statement.verb == "SHOW" and statement.name == "all":
        values = [[n, db.sessions.setting(session, n), SETTINGS[n].description] for n in SETTINGS]
        return Rows(len(values), ["name", "setting", "description"], values, "SHOW")
    name = known_setting(statement.name)
    if statement.verb == "SHOW":
        return Rows(1, [name], [[db.sessions.setting(session, name)]], "SHOW")
    value = statement.value
    if value is not None and not accepts(name, value):
        raise SqlFailure(PgError("22023", f'invalid value for parameter "{name}": "{value}"'))
    context = SETTINGS[name].context
    if statement.verb == "SYSTEM":
        require_superuser(session, "permission denied to set parameter")
        if context == "internal":
            raise SqlFailure(PgError("55P02", f'parameter "{name}" cannot be changed'))
        if value is None:
            db.cluster.overrides.pop(name, None)
        else:
            db.cluster.overrides[name] = value
        return Rows(0, tag="ALTER SYSTEM")
    if context not in ("user", "superuser"):
        when = "without restarting the server" if context == "postmaster" else "now"
        raise SqlFailure(PgError("55P02", f'parameter "{name}" cannot be changed {when}'))
    if context == "superuser":
        require_superuser(session, f'permission denied to set parameter "{name}"')
    if value is None:
        session.settings.pop(name, None)
    else:
        session.settings[name] = value
    return Rows(0, tag=statement.verb)


# -- structure, maintenance, transactions ---------------------------------------------------------


async def _create_index(db: Database, session: Session, statement: CreateIndex) -> Rows:
    table = db.table(statement.table)
    require_superuser(session, f"must be owner of table {table.name}")
    _check_column(table, statement.column)
    if any(statement.name in other.indexes for other in db.cluster.tables.values()):
        if statement.if_not_exists:
            return Rows(0, tag="CREATE INDEX")
        raise SqlFailure(PgError("42P07", f'relation "{statement.name}" already exists'))
    await db.lock(session, lk.Lockable(table.name), lk.SHARE)
    await db.burn_text(table)
    table.indexes[statement.name] = statement.column
    return Rows(0, tag="CREATE INDEX")


async def _simple(db: Database, session: Session, statement: Simple) -> Rows:
    match statement.verb:
        case "BEGIN":
            session.in_transaction = True
        case "COMMIT" | "ROLLBACK":
            commit = statement.verb == "COMMIT" and not session.xact_failed
            session.in_transaction = session.xact_failed = False
            return Rows(0, tag="COMMIT" if commit else "ROLLBACK")
        case "LOCK":
            await _lock_tables(db, session, statement)
            return Rows(0, tag="LOCK TABLE")
        case "CHECKPOINT":
            require_superuser(session, "permission denied to execute CHECKPOINT command")
        case "VACUUM" | "ANALYZE" | "REINDEX":
            await _maintain(db, statement)
        case "TRUNCATE":
            for table in [db.table(name) for name in statement.names]:
                db.authorize(session.role, table, "TRUNCATE")
                await db.lock(session, lk.Lockable(table.name), lk.ACCESS_EXCLUSIVE)
                removed = table.rows
                table.clear()
                db.storage.shrink(table)
                db.statistics.deleted += removed
            return Rows(0, tag="TRUNCATE TABLE")
        case "DROP TABLE":
            await _drop_tables(db, session, statement)
        case "DROP INDEX":
            _drop_indexes(db, session, statement)
    return Rows(0, tag=statement.verb)


async def _lock_tables(db: Database, session: Session, statement: Simple) -> None:
    if not session.in_transaction:
        message = "LOCK TABLE can only be used in transaction blocks"
        raise SqlFailure(PgError("25P01", message))
    words = statement.option.title().replace(" ", "")
    mode = lk.MODES.index(f"{words}Lock")
    for table in [db.table(name) for name in statement.names]:
        db.authorize(session.role, table, "SELECT" if mode == lk.ACCESS_SHARE else "UPDATE")
        target = lk.Lockable(table.name)
        if statement.flag and not db.locks.try_acquire(session, target, mode):
            message = f'could not obtain lock on relation "{table.name}"'
            raise SqlFailure(PgError("55P03", message))
        await db.lock(session, target, mode)


async def _maintain(db: Database, statement: Simple) -> None:
    for name in statement.names or sorted(db.cluster.tables):
        table = db.table(name)
        await db.burn_text(table)
        if statement.verb == "VACUUM":
            table.vacuum()
            if statement.flag:
                db.storage.shrink(table)
        if statement.verb == "ANALYZE" or statement.option == "ANALYZE":
            table.analyzed, table.analyzed_at = True, db.loop.time()


async def _drop_tables(db: Database, session: Session, statement: Simple) -> None:
    for name in statement.names:
        if statement.flag and name not in db.cluster.tables:
            continue
        table = db.table(name)
        require_superuser(session, f"must be owner of table {name}")
        await db.lock(session, lk.Lockable(name), lk.ACCESS_EXCLUSIVE)
        db.storage.drop(table)
        del db.cluster.tables[name]


def _drop_indexes(db: Database, session: Session, statement: Simple) -> None:
    for name in statement.names:
        owner = next((t for _, t in sorted(db.cluster.tables.items()) if name in t.indexes), None)
        if owner is None:
            if statement.flag:
                continue
            raise SqlFailure(PgError("42704", f'index "{name}" does not exist'))
        require_superuser(session, f"must be owner of index {name}")
        if name.endswith("_pkey"):
            hint = f"You can drop constraint {name} on table {owner.name} instead."
            message = f"cannot drop index {name} because constraint {name} requires it"
            raise SqlFailure(PgError("2BP01", message, hint=hint))
        del owner.indexes[name]
