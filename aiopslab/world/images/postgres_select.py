"""SELECT over catalogues and tables: joins, filters, groups, order; and its functions.

A nested-loop executor, small because people look at small results. Not here: other statements
(``postgres_execute``), expressions (``postgres_values``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cmp_to_key

from aiopslab.world.images.messages import PgError, Rows
from aiopslab.world.images.postgres_catalog import VIEWS
from aiopslab.world.images.postgres_cluster import TableState
from aiopslab.world.images.postgres_expressions import Expr, SqlFailure, Value
from aiopslab.world.images.postgres_functions import AGGREGATES, aggregate, call_function
from aiopslab.world.images.postgres_rows import cell, keys
from aiopslab.world.images.postgres_server import Database
from aiopslab.world.images.postgres_sessions import Session
from aiopslab.world.images.postgres_syntax import Select, Source
from aiopslab.world.images.postgres_values import compare, evaluate, text

Getter = Callable[[str], Value]
"""Column name to a cell of one row of one source."""
Joined = tuple[Getter, ...]
"""One getter a source."""


class SelectRun:
    """One execution of a query.

    Args:
        database: The server.
        session: Whose rights count.
        query: What to run.

    Raises:
        SqlFailure: 42P01, 42703, 42702, 42501, 42803 and those of expressions.
    """

    def __init__(self, database: Database, session: Session, query: Select) -> None:
        self._database = database
        self._session = session
        self._query = query
        self._columns = [self._columns_of(source) for source in query.sources]
        self._aliases = [source.alias for source in query.sources]
        self._sources: dict[tuple[str, str], int] = {}

    def run(self) -> Rows:
        """Produce the result."""
        items = self._expand()
        exprs = [expr for expr, _ in items]
        grouped = self._query.group or any(_aggregates(expr) for expr in exprs)
        if (fast := self._plain_count(exprs)) is not None:
            table: list[tuple[list[Value], list[Value]]] = [([fast], [])]
        elif grouped:
            table = self._groups(exprs)
        else:
            table = [
                ([self._value(e, row) for e in exprs], self._sort_keys(exprs, items, row))
                for row in self._limited(self._filtered())
            ]
        if self._query.distinct:
            table = list(
                {tuple(map(text, cells)): (cells, order) for cells, order in table}.values()
            )
        table = self._ordered(table)
        values = [[text(value) for value in cells] for cells, _ in table]
        return Rows(len(values), [name for _, name in items], values, f"SELECT {len(values)}")

    # -- rows -------------------------------------------------------------------------------------

    def _columns_of(self, source: Source) -> list[str]:
        database = self._database
        view = VIEWS.get(source.relation)
        if view is not None:
            rows = view(database)
            return list(rows[0]) if rows else list(_EMPTY.get(source.relation, ()))
        table = database.table(source.relation)
        database.authorize(self._session.role, table, "SELECT")
        return list(table.columns)

    def _rows_of(self, source: Source) -> Iterator[Getter]:
        view = VIEWS.get(source.relation)
        if view is not None:
            for row in view(self._database):
                yield row.__getitem__
            return
        table = self._database.table(source.relation)
        for key in keys(table):
            yield _table_getter(table, key)

    def _filtered(self) -> Iterator[Joined]:
        where = self._query.where
        for row in self._join(0, ()):
            if where is None or self._value(where, row) is True:
                yield row

    def _join(self, depth: int, left: Joined) -> Iterator[Joined]:
        if depth == len(self._query.sources):
            yield left
            return
        source = self._query.sources[depth]
        matched = False
        for getter in self._rows_of(source):
            row = (*left, getter)
            if source.on is None or self._value(source.on, row) is True:
                matched = True
                yield from self._join(depth + 1, row)
        if source.join == "left" and not matched:
            yield from self._join(depth + 1, (*left, _null))

    def _limited(self, rows: Iterator[Joined]) -> Iterable[Joined]:
        """Stop reading early when order and duplicates do not matter."""
        query = self._query
        if query.limit is None or query.order or query.distinct:
            return rows
        wanted = query.limit + query.offset
        return [row for row, _ in zip(rows, range(wanted), strict=False)]

    # -- columns ----------------------------------------------------------------------------------

    def _expand(self) -> list[tuple[Expr, str]]:
        items: list[tuple[Expr, str]] = []
        for expr, name in self._query.items:
            if expr.op != "star":
                items.append((expr, name))
                continue
            chosen = [
                (alias, columns)
                for alias, columns in zip(self._aliases, self._columns, strict=True)
                if expr.value in ("", alias)
            ]
            if not chosen:
                raise SqlFailure(
                    PgError("42P01", f'missing FROM-clause entry for table "{expr.value}"')
                    if expr.value
                    else PgError("42601", "SELECT * with no tables specified is not valid")
                )
            for alias, columns in chosen:
                items += [(Expr("column", column, qualifier=alias), column) for column in columns]
        for node in (node for expr, _ in items for node in expr.walk() if node.op == "column"):
            self._source_of(node.qualifier, str(node.value))
        return items

    def _source_of(self, qualifier: str, column: str) -> int:
        known = self._sources.get((qualifier, column))
        if known is not None:
            return known
        label = f"{qualifier}.{column}" if qualifier else f'"{column}"'
        if qualifier and qualifier not in self._aliases:
            raise SqlFailure(PgError("42P01", f'missing FROM-clause entry for table "{qualifier}"'))
        found = [
            index
            for index, columns in enumerate(self._columns)
            if column in columns and qualifier in ("", self._aliases[index])
        ]
        if not found:
            raise SqlFailure(PgError("42703", f"column {label} does not exist"))
        if len(found) > 1:
            raise SqlFailure(PgError("42702", f"column reference {label} is ambiguous"))
        self._sources[qualifier, column] = found[0]
        return found[0]

    def _value(self, expr: Expr, row: Joined) -> Value:
        def lookup(qualifier: str, column: str) -> Value:
            index = self._source_of(qualifier, column)
            if index >= len(row):
                raise SqlFailure(
                    PgError("42P01", f'invalid reference to FROM-clause entry for "{qualifier}"')
                )
            return row[index](column)

        def call(node: Expr, run: Callable[[Expr], Value]) -> Value:
            return call_function(self._database, self._session, node, run)

        return evaluate(expr, lookup, call)

    # -- groups and order -------------------------------------------------------------------------

    def _plain_count(self, exprs: Sequence[Expr]) -> int | None:
        """Answer ``SELECT count(*) FROM table`` without making up rows."""
        query = self._query
        simple = len(exprs) == 1 and exprs[0].op == "call" and exprs[0].value == "count"
        if not simple or query.where or query.group or len(query.sources) != 1 or query.having:
            return None
        if query.sources[0].relation in VIEWS or exprs[0].args[0].op != "star":
            return None
        return self._database.table(query.sources[0].relation).rows

    def _groups(self, exprs: Sequence[Expr]) -> list[tuple[list[Value], list[Value]]]:
        query = self._query
        by = [self._position(expr, exprs) for expr in query.group]
        groups: dict[tuple[str | None, ...], list[Joined]] = {}
        for row in self._filtered():
            groups.setdefault(tuple(text(self._value(e, row)) for e in by), []).append(row)
        if not query.group and not groups:
            groups[()] = []
        names = [name for _, name in query.items]
        found = []
        for rows in groups.values():
            if query.having is not None and self._grouped(query.having, rows) is not True:
                continue
            order = [
                self._grouped(self._order_target(expr, exprs, names), rows)
                for expr, _ in query.order
            ]
            found.append(([self._grouped(expr, rows) for expr in exprs], order))
        return found

    def _grouped(self, expr: Expr, rows: Sequence[Joined]) -> Value:
        """Evaluate over a group: aggregates over all rows, the rest over the first."""
        first = rows[0] if rows else tuple(_null for _ in self._columns)

        def lookup(qualifier: str, column: str) -> Value:
            return first[self._source_of(qualifier, column)](column)

        def call(node: Expr, run: Callable[[Expr], Value]) -> Value:
            if node.value in AGGREGATES:
                if node.args and node.args[0].op != "star":
                    values = [self._value(node.args[0], row) for row in rows]
                else:
                    values = [1] * len(rows)
                return aggregate(str(node.value), values)
            return call_function(self._database, self._session, node, run)

        return evaluate(expr, lookup, call)

    def _sort_keys(
        self, exprs: Sequence[Expr], items: Sequence[tuple[Expr, str]], row: Joined
    ) -> list[Value]:
        names = [name for _, name in items]
        return [
            self._value(self._order_target(expr, exprs, names), row)
            for expr, _ in self._query.order
        ]

    def _order_target(self, expr: Expr, exprs: Sequence[Expr], names: Sequence[str]) -> Expr:
        """Resolve ``ORDER BY 2`` and names of output columns."""
        if expr.op == "column" and not expr.qualifier and expr.value in names:
            return exprs[names.index(str(expr.value))] if len(names) == len(exprs) else expr
        return self._position(expr, exprs)

    def _position(self, expr: Expr, exprs: Sequence[Expr]) -> Expr:
        if expr.op != "literal" or not isinstance(expr.value, int):
            return expr
        if not 1 <= expr.value <= len(exprs):
            raise SqlFailure(
                PgError("42P10", f"ORDER BY position {expr.value} is not in select list")
            )
        return exprs[expr.value - 1]

    def _ordered(
        self, table: list[tuple[list[Value], list[Value]]]
    ) -> list[tuple[list[Value], list[Value]]]:
        query = self._query
        for index in reversed(range(len(query.order))):
            descending = query.order[index][1]
            table.sort(key=lambda item, i=index: _SORT(item[1][i]), reverse=descending)  # type: ignore[misc]
        stop = None if query.limit is None else query.offset + query.limit
        return table[query.offset : stop]


_EMPTY = {
    "pg_locks": (
        "locktype", "database", "relation", "page", "tuple", "transactionid", "pid", "mode",
        "granted", "fastpath", "waitstart",
    ),
}  # fmt: skip
"""Columns of views that may have no rows."""


def _null(_column: str) -> Value:
    return None


def _table_getter(table: TableState, key: int) -> Getter:
    return lambda column: cell(table, key, column)


def _aggregates(expr: Expr) -> bool:
    return any(node.op == "call" and node.value in AGGREGATES for node in expr.walk())


def _sort_order(left: Value, right: Value) -> int:
    """Order values, NULL last."""
    if left is None or right is None:
        return (left is None) - (right is None)
    return -1 if compare("<", left, right) else int(bool(compare(">", left, right)))


_SORT = cmp_to_key(_sort_order)
