"""Parsing what changes structure and rights: roles, grants, tables, columns, sequences, indexes.

The part of ``postgres_sql`` below its queries. Not here: what the statements do
(``postgres_alter``, ``postgres_roles``, ``postgres_execute``).
"""

from __future__ import annotations

from typing import Literal

from aiopslab.world.images.postgres_expressions import ExprParser
from aiopslab.world.images.postgres_syntax import (
    AlterSequence,
    AlterTable,
    CreateIndex,
    Grant,
    Parsed,
    RoleChange,
    Setting,
    Simple,
)

_ROLE_FLAGS = {
    "SUPERUSER": ("superuser", True), "NOSUPERUSER": ("superuser", False),
    "LOGIN": ("login", True), "NOLOGIN": ("login", False),
}  # fmt: skip
_IGNORED_ROLE_FLAGS = (
    "INHERIT", "NOINHERIT", "CREATEDB", "NOCREATEDB", "CREATEROLE", "NOCREATEROLE", "ENCRYPTED"
)  # fmt: skip


class DdlParser(ExprParser):
    """Recursive descent over definitions."""

    def _create(self) -> Parsed:
        self.next()
        if self.take("ROLE") or self.take("USER"):
            return self._role_options(RoleChange("CREATE", [self.name()]))
        self.take("UNIQUE")
        self.expect("INDEX")
        self.take("CONCURRENTLY")
        exists = self._if("NOT", "EXISTS")
        name = "" if self.peek("ON") else self.name()
        self.expect("ON")
        table = self.relation()
        if self.take("USING"):
            self.name()
        self.expect("(")
        columns = self.names()
        self.expect(")")
        return CreateIndex(name or f"{table}_{columns[0]}_idx", table, columns[0], exists)

    def _alter(self) -> Parsed:
        self.next()
        if self.take("SYSTEM"):
            if self.take("RESET"):
                return Setting("SYSTEM", self.name())
            self.expect("SET")
            return Setting("SYSTEM", *self._assignment())
        if self.take("TABLE"):
            return self._alter_table()
        if self.take("SEQUENCE"):
            return self._alter_sequence(AlterSequence(self.relation()))
        if not (self.take("ROLE") or self.take("USER")):
            raise self.error()
        return self._role_options(RoleChange("ALTER", [self.name()]))

    def _alter_table(self) -> AlterTable:
        table = self.relation()
        word = self.next().upper
        self.take("COLUMN")
        match word:
            case "RENAME":
                column = self.name()
                self.expect("TO")
                return AlterTable("RENAME", table, column, self.name())
            case "ADD":
                exists = self._if("NOT", "EXISTS")
                return AlterTable("ADD", table, self.name(), self._type(), exists)
            case "DROP":
                exists = self._if("EXISTS")
                return AlterTable("DROP", table, self.name(), if_exists=exists)
            case "ALTER":
                column = self.name()
                if self.take("SET"):
                    self.expect("DATA")
                self.expect("TYPE")
                return AlterTable("TYPE", table, column, self._type())
        raise self.error()

    def _type(self) -> str:
        """Read a type name of one or two words."""
        first = self.name().lower()
        return f"{first} {self.name().lower()}" if first == "double" else first

    def _alter_sequence(self, change: AlterSequence) -> AlterSequence:
        while self.is_name():
            if self.take("AS"):
                change.type = self._type()
            elif self.take("NO"):
                self.expect("MAXVALUE")
                change.unbounded = True
            elif self.take("MAXVALUE"):
                change.highest = self.integer()
            elif self.take("RESTART"):
                self.take("WITH")
                change.restart = self.integer()
            else:
                raise self.error()
        return change

    def _role_options(self, change: RoleChange) -> RoleChange:
        self.take("WITH")
        while self.is_name():
            word = self.token.upper
            if word in _ROLE_FLAGS:
                self.next()
                attribute, value = _ROLE_FLAGS[word]
                setattr(change, attribute, value)
            elif word in _IGNORED_ROLE_FLAGS:
                self.next()
            elif self.take("PASSWORD"):
                change.clear_password = self.take("NULL")
                change.password = None if change.clear_password else self.string()
            elif self.take("CONNECTION"):
                self.expect("LIMIT")
                change.connection_limit = self.integer()
            else:
                raise self.error()
        return change

    def _drop(self) -> Parsed:
        self.next()
        if self.take("ROLE") or self.take("USER"):
            exists = self._if("EXISTS")
            return RoleChange("DROP", self.names(), if_exists=exists)
        for kind in ("TABLE", "INDEX"):
            if self.take(kind):
                self.take("CONCURRENTLY")
                exists = self._if("EXISTS")
                names = self.names()
                if not self.take("CASCADE"):
                    self.take("RESTRICT")
                return Simple(f"DROP {kind}", names, flag=exists)
        raise self.error()

    def _if(self, *words: str) -> bool:
        if not self.take("IF"):
            return False
        for word in words:
            self.expect(word)
        return True

    def _grant(self) -> Grant:
        revoke = self.token.upper == "REVOKE"
        self.next()
        privileges = []
        while True:
            privileges.append(self.name().upper())
            self.take("PRIVILEGES")
            if not self.take(","):
                break
        self.expect("ON")
        on: Literal["TABLE", "ALL TABLES", "DATABASE", "SCHEMA"] = "TABLE"
        if self.take("ALL"):
            for word in ("TABLES", "IN", "SCHEMA"):
                self.expect(word)
            on = "ALL TABLES"
        elif self.take("DATABASE"):
            on = "DATABASE"
        elif self.take("SCHEMA"):
            on = "SCHEMA"
        else:
            self.take("TABLE")
        names = self.names()
        self.expect("FROM" if revoke else "TO")
        return Grant(revoke, privileges, on, names, self.names())

    def _assignment(self) -> tuple[str, str]:
        name = self.name()
        if not self.take("="):
            self.expect("TO")
        token = self.next()
        return name, token.value
