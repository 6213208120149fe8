"""The SQL that people type into ``psql``: tokens and a parser for a subset.

Read: SELECT with joins, WHERE, GROUP BY, ORDER BY, LIMIT; SHOW; EXPLAIN. Write: INSERT, UPDATE,
DELETE, TRUNCATE, roles, grants, settings, indexes, transactions, LOCK TABLE. What lies outside
gets the error that PostgreSQL gives for a syntax error. Not here: what statements do
(``postgres_execute``); trees are in ``postgres_syntax``.
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.world.images.messages import PgError
from aiopslab.world.images.postgres_ddl import DdlParser
from aiopslab.world.images.postgres_expressions import Expr, SqlFailure, tokenize
from aiopslab.world.images.postgres_syntax import (
    Delete,
    Explain,
    Insert,
    Parsed,
    Select,
    Setting,
    Simple,
    Source,
    Update,
)

_LOCK_MODES = (
    "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE",
    "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE",
)  # fmt: skip


def parse(sql: str) -> list[tuple[str, Parsed]]:
    """Parse a string of statements into (text, statement) pairs.

    Raises:
        SqlFailure: 42601 with the position, as PostgreSQL words it.
    """
    parser = _Parser(sql, tokenize(sql))
    found: list[tuple[str, Parsed]] = []
    while not parser.done():
        if parser.take(";"):
            continue
        start = parser.token.at
        statement = parser.statement()
        if not parser.done() and not parser.peek(";"):
            raise parser.error()
        found.append((sql[start : parser.token.at].strip(), statement))
    return found


class _Parser(DdlParser):
    """Recursive descent over one string."""

    def statement(self) -> Parsed:
        """Parse one statement."""
        word = self.token.upper
        methods: dict[str, Callable[[], Parsed]] = {
            "SELECT": self._select, "TABLE": self._table, "INSERT": self._insert,
            "UPDATE": self._update, "DELETE": self._delete, "CREATE": self._create,
            "ALTER": self._alter, "DROP": self._drop, "GRANT": self._grant,
            "REVOKE": self._grant, "SET": self._set, "RESET": self._reset, "SHOW": self._show,
            "LOCK": self._lock, "TRUNCATE": self._truncate, "EXPLAIN": self._explain,
        }  # fmt: skip
        if word in methods:
            return methods[word]()
        if word in ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "CHECKPOINT"):
            return self._bare(word)
        if word in ("VACUUM", "ANALYZE", "REINDEX"):
            return self._maintain(word)
        if word in ("WITH", "COPY", "DO", "CALL", "DECLARE", "LISTEN", "NOTIFY", "PREPARE"):
            raise SqlFailure(PgError("0A000", f"{word} is not supported"))
        raise self.error()

    def _bare(self, word: str) -> Simple:
        self.next()
        for noise in ("TRANSACTION", "WORK"):
            self.take(noise)
        alias = {"START": "BEGIN", "END": "COMMIT", "ABORT": "ROLLBACK"}
        return Simple(alias.get(word, word))

    def _maintain(self, word: str) -> Simple:
        self.next()
        full = self.take("FULL")
        self.take("VERBOSE")
        option = "ANALYZE" if self.take("ANALYZE") else ""
        for noise in ("VERBOSE", "TABLE", "INDEX"):
            self.take(noise)
        return Simple(word, self.names() if self.is_name() else [], option, flag=full)

    def _table(self) -> Select:
        self.next()
        relation = self.relation()
        return Select([(Expr("star", ""), "*")], [Source(relation, relation)])

    def _select(self) -> Select:
        self.expect("SELECT")
        query = Select([], distinct=self.take("DISTINCT"))
        while True:
            query.items.append(self._item())
            if not self.take(","):
                break
        if self.take("FROM"):
            query.sources = self._from()
        query.where = self.expression() if self.take("WHERE") else None
        if self.take("GROUP"):
            self.expect("BY")
            query.group = self.expressions()
        query.having = self.expression() if self.take("HAVING") else None
        if self.take("ORDER"):
            self.expect("BY")
            query.order = self._order()
        while self.peek("LIMIT") or self.peek("OFFSET"):
            if self.take("LIMIT"):
                query.limit = None if self.take("ALL") else self.integer()
            elif self.take("OFFSET"):
                query.offset = self.integer()
        return query

    def _item(self) -> tuple[Expr, str]:
        if self.take("*"):
            return Expr("star", ""), "*"
        expr = self.expression()
        if self.take("AS") or (self.is_name() and not self.is_keyword()):
            return expr, self.name()
        return expr, expr.output_name()

    def _order(self) -> list[tuple[Expr, bool]]:
        found = []
        while True:
            expr = self.expression()
            descending = self.take("DESC")
            if not descending:
                self.take("ASC")
            if self.take("NULLS") and not (self.take("FIRST") or self.take("LAST")):
                raise self.error()
            found.append((expr, descending))
            if not self.take(","):
                return found

    def _from(self) -> list[Source]:
        sources = [self._source()]
        while True:
            if self.take(","):
                sources.append(self._source())
                continue
            left = self.peek("LEFT")
            if left:
                self.next()
                self.take("OUTER")
            elif self.peek("INNER") or self.peek("CROSS"):
                self.next()
            if not self.take("JOIN"):
                return sources
            source = self._source()
            source.join = "left" if left else "inner"
            if self.take("ON"):
                source.on = self.expression()
            elif self.take("USING"):
                source.on = self._using(sources[-1].alias, source.alias)
            sources.append(source)

    def _using(self, left: str, right: str) -> Expr:
        self.expect("(")
        name = self.name()
        self.expect(")")
        sides = [Expr("column", name, qualifier=left), Expr("column", name, qualifier=right)]
        return Expr("binary", "=", sides)

    def _source(self) -> Source:
        relation = self.relation()
        alias = relation.rpartition(".")[2]
        if self.take("AS") or (self.is_name() and not self.is_keyword()):
            alias = self.name()
        return Source(relation, alias)

    def _insert(self) -> Insert:
        self.next()
        self.expect("INTO")
        table = self.relation()
        columns: list[str] = []
        if self.take("("):
            columns = self.names()
            self.expect(")")
        self.expect("VALUES")
        rows = []
        while True:
            self.expect("(")
            rows.append(self.expressions())
            self.expect(")")
            if not self.take(","):
                return Insert(table, columns, rows)

    def _update(self) -> Update:
        self.next()
        table = self.relation()
        self.expect("SET")
        sets = []
        while True:
            column = self.name()
            self.expect("=")
            sets.append((column, self.expression()))
            if not self.take(","):
                break
        return Update(table, sets, self.expression() if self.take("WHERE") else None)

    def _delete(self) -> Delete:
        self.next()
        self.expect("FROM")
        return Delete(self.relation(), self.expression() if self.take("WHERE") else None)

    def _set(self) -> Setting:
        self.next()
        for noise in ("SESSION", "LOCAL"):
            self.take(noise)
        return Setting("SET", *self._assignment())

    def _reset(self) -> Setting:
        self.next()
        return Setting("RESET", self.name())

    def _show(self) -> Setting:
        self.next()
        return Setting("SHOW", self.name())

    def _lock(self) -> Simple:
        self.next()
        self.take("TABLE")
        names = self.names()
        mode = "ACCESS EXCLUSIVE"
        if self.take("IN"):
            words = []
            while not self.peek("MODE") and self.is_name():
                words.append(self.name().upper())
            self.expect("MODE")
            mode = " ".join(words)
            if mode not in _LOCK_MODES:
                raise self.error()
        return Simple("LOCK", names, mode, self.take("NOWAIT"))

    def _truncate(self) -> Simple:
        self.next()
        self.take("TABLE")
        return Simple("TRUNCATE", self.names())

    def _explain(self) -> Explain:
        self.next()
        analyze = False
        if self.take("("):
            while not self.take(")"):
                analyze |= self.token.upper == "ANALYZE"
                self.next()
        else:
            analyze = self.take("ANALYZE")
            self.take("VERBOSE")
        return Explain(self._select(), analyze)
