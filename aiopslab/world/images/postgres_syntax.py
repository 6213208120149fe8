"""Syntax trees of the statements that ``postgres_sql`` parses; expressions have their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aiopslab.world.images.postgres_expressions import Expr


@dataclass(slots=True)
class Source:
    """An entry of FROM; ``on`` None joins every row."""

    relation: str
    alias: str
    join: Literal["inner", "left"] = "inner"
    on: Expr | None = None


@dataclass(slots=True)
class Select:
    """A query."""

    items: list[tuple[Expr, str]]
    """Expression and output name; a ``*`` is ``Expr("star", alias)``."""
    sources: list[Source] = field(default_factory=list)
    where: Expr | None = None
    group: list[Expr] = field(default_factory=list)
    having: Expr | None = None
    order: list[tuple[Expr, bool]] = field(default_factory=list)
    """Expression, descending."""
    limit: int | None = None
    offset: int = 0
    distinct: bool = False


@dataclass(slots=True)
class Insert:
    """INSERT INTO table (columns) VALUES ..."""

    table: str
    columns: list[str]
    rows: list[list[Expr]]


@dataclass(slots=True)
class Update:
    """UPDATE table SET ... WHERE ..."""

    table: str
    sets: list[tuple[str, Expr]]
    where: Expr | None


@dataclass(slots=True)
class Delete:
    """DELETE FROM table WHERE ..."""

    table: str
    where: Expr | None


@dataclass(slots=True)
class RoleChange:
    """CREATE, ALTER or DROP ROLE (or USER)."""

    verb: Literal["CREATE", "ALTER", "DROP"]
    names: list[str]
    superuser: bool | None = None
    login: bool | None = None
    password: str | None = None
    clear_password: bool = False
    connection_limit: int | None = None
    if_exists: bool = False


@dataclass(slots=True)
class Grant:
    """GRANT or REVOKE of privileges on tables, or CONNECT on the database."""

    revoke: bool
    privileges: list[str]
    """Upper case; ``ALL``."""
    on: Literal["TABLE", "ALL TABLES", "DATABASE", "SCHEMA"]
    names: list[str]
    roles: list[str]


@dataclass(slots=True)
class Setting:
    """ALTER SYSTEM SET/RESET, SET, RESET, SHOW; ``value`` None resets or shows."""

    verb: Literal["SYSTEM", "SET", "RESET", "SHOW"]
    name: str
    value: str | None = None


@dataclass(slots=True)
class Simple:
    """Statements with a verb and names: BEGIN, COMMIT, TRUNCATE, DROP TABLE, VACUUM, LOCK ..."""

    verb: str
    names: list[str] = field(default_factory=list)
    option: str = ""
    """LOCK: the mode; VACUUM: ANALYZE."""
    flag: bool = False
    """DROP: IF EXISTS; LOCK: NOWAIT."""


@dataclass(slots=True)
class CreateIndex:
    """CREATE INDEX name ON table (column)."""

    name: str
    table: str
    column: str
    if_not_exists: bool = False


@dataclass(slots=True)
class AlterTable:
    """ALTER TABLE with one action on a column: RENAME TO, ADD, DROP, or a change of its TYPE."""

    action: Literal["RENAME", "ADD", "DROP", "TYPE"]
    table: str
    column: str
    value: str = ""
    """The new name, or the type."""
    if_exists: bool = False


@dataclass(slots=True)
class AlterSequence:
    """ALTER SEQUENCE name AS type, MAXVALUE n, NO MAXVALUE, RESTART WITH n."""

    name: str
    type: str | None = None
    highest: int | None = None
    unbounded: bool = False
    """NO MAXVALUE."""
    restart: int | None = None


@dataclass(slots=True)
class Explain:
    """EXPLAIN [ANALYZE] of a query."""

    query: Select
    analyze: bool


Parsed = (
    Select
    | Insert
    | Update
    | Delete
    | RoleChange
    | Grant
    | Setting
    | Simple
    | CreateIndex
    | AlterTable
    | AlterSequence
    | Explain
)
