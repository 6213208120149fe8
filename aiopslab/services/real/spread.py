"""How values repeat down a table, so that statements find as many rows as ``app.yaml`` says.

In the world a statement of the app returns the rows it declares, whatever the cells are. On a real
server the cells decide. Columns that statements look rows up by therefore get values in blocks:
if a hotel has five profiles, five rows in succession are of one hotel. Other columns keep the
cells that the world shows. Not here: cells as SQL (``cells``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from aiopslab.models.app import App
from aiopslab.models.step import SqlStep, Step
from aiopslab.models.store import Statement
from aiopslab.services import templates
from aiopslab.services.tables import where_terms
from aiopslab.services.walk import walk

_EQUAL = re.compile(r"(\w+)\s*=\s*(\$\d+|'[^']*')", re.IGNORECASE)
_POSITIVE = re.compile(r"(\w+)\s*>\s*0\b", re.IGNORECASE)
_AHEAD = re.compile(r"(\w+)\s*>\s*now\(\)", re.IGNORECASE)
_GROUP = re.compile(r"\bgroup\s+by\s+(\w+)", re.IGNORECASE)
_CYCLE = 30
"""Distinct values of a second column where nothing says how many there are."""
_MARKED = 4
"""A value that a statement looks for has so many times the rows it wants: the newest ones."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Values in blocks of equal ones: the words of a list, then numbers."""

    block: int
    """Rows in succession with one value."""
    count: int = 0
    """Distinct values, then from the first again; 0 goes on for ever."""
    words: tuple[str, ...] = ()
    """Values by name, where users send names."""


@dataclass(frozen=True, slots=True)
class Marked:
    """One value in the newest rows, and the world's cells in the others."""

    value: str
    rows: int


@dataclass(frozen=True, slots=True)
class Raised:
    """The world's cells, out of reach of the bound that a statement asks for."""

    ahead: bool
    """In the future; else far above zero."""


Spread = Repeated | Marked | Raised


@dataclass(frozen=True, slots=True)
class _Lookup:
    """What one statement looks rows up by."""

    columns: tuple[str, ...]
    """Compared with parameters, in order."""
    group: str
    """Rows are counted by this column; empty: one by one."""
    rows: int


def spreads_of(app: App, store: str, table: str) -> dict[str, Spread]:
    """Return how the columns of a table spread; the world's cells where a column is not named."""
    statements = {
        key: statement
        for key, statement in sorted(app.stores[store].statements.items())
        if statement.table == table and statement.kind != "INSERT"
    }
    found: dict[str, Spread] = {}
    for statement in statements.values():
        found |= _bounds(statement)
    domains: dict[str, tuple[str, ...] | int] = {}
    for key, statement in statements.items():
        domains |= _domains(app, store, key, statement)
    lookups = [_lookup(s) for s in statements.values()]
    return found | _repeated([each for each in lookups if each.columns], domains)


def _bounds(statement: Statement) -> dict[str, Spread]:
    """Return the columns that a statement compares with a constant."""
    found: dict[str, Spread] = {}
    where = _where(statement.text)
    for column, value in _EQUAL.findall(where):
        if value.startswith("'"):
            found[column.lower()] = Marked(value.strip("'"), _MARKED * statement.rows)
    for pattern, ahead in ((_POSITIVE, False), (_AHEAD, True)):
        found |= {column.lower(): Raised(ahead) for column in pattern.findall(where)}
    return found


def _lookup(statement: Statement) -> _Lookup:
    compared = _EQUAL.findall(_where(statement.text))
    columns = tuple(column.lower() for column, value in compared if value.startswith("$"))
    group = _GROUP.search(statement.text)
    return _Lookup(columns, group.group(1).lower() if group else "", statement.rows)


def _repeated(
    lookups: list[_Lookup], domains: Mapping[str, tuple[str, ...] | int]
) -> dict[str, Spread]:
    """Find blocks that give each lookup its rows.

    Of two columns the second runs through its values row by row, within blocks of the first. A
    lookup by a single column that counts groups says how many values the counted one has.
    """
    grouped = {each.group: each.rows for each in lookups if each.group and len(each.columns) == 1}
    found: dict[str, Repeated] = {}
    for column in [column for each in lookups for column in each.columns[1:]]:
        words = domains.get(column, _CYCLE)
        count = words if isinstance(words, int) else len(words)
        found[column] = Repeated(1, grouped.get(column, count), _words(words))
    fine = set(found)
    for each in sorted(lookups, key=lambda each: (bool(each.group), each.group not in fine)):
        repeat = prod(found[column].count for column in each.columns[1:])
        if each.group and each.group not in fine:
            known = found.setdefault(each.group, Repeated(repeat))
            block = each.rows * known.block
        else:
            block = each.rows * repeat
        column = each.columns[0]
        if column not in fine:
            block = max(block, found[column].block if column in found else 0)
            found[column] = Repeated(block, 0, _words(domains.get(column, 0)))
    return dict(found)


def _words(domain: tuple[str, ...] | int) -> tuple[str, ...]:
    return () if isinstance(domain, int) else domain


def _where(text: str) -> str:
    return text[found.end() :] if (found := re.search(r"\bwhere\b", text, re.IGNORECASE)) else ""


def _domains(
    app: App, store: str, key: str, statement: Statement
) -> dict[str, tuple[str, ...] | int]:
    """Return what users send for the columns of a statement: names, or how many numbers."""
    found: dict[str, tuple[str, ...] | int] = {}
    given = _parameters(app, store, key)
    for column, number in where_terms(statement.text):
        wanted = templates.names(given[number - 1]) if 0 < number <= len(given) else set()
        for name in sorted(wanted):
            for draw in _draws(app, name):
                if domain := _domain(draw):
                    found[column] = domain
    return found


def _parameters(app: App, store: str, key: str) -> list[str]:
    """Return the templates of a statement's parameters, as the first service that runs it has."""
    for service in app.services.values():
        if service.uses.get("db") != store:
            continue
        bodies: list[Iterable[Step]] = [
            *service.endpoints.values(),
            *(consumer.steps for consumer in service.consumers.values()),
            *(loop.steps for loop in service.background),
        ]
        for step in (step for body in bodies for step in walk(body)):
            if isinstance(step, SqlStep) and step.sql == key and step.params:
                return [str(value) for value in step.params.values()]
    return []


def _draws(app: App, name: str) -> Iterable[Any]:
    for journey in app.journeys.values():
        for params in (journey.params, *(step.params for step in journey.steps)):
            if name in params:
                yield params[name]


def _domain(draw: Any) -> tuple[str, ...] | int:
    """Return the values of a draw: names in order of appearance, or the highest number."""
    match draw:
        case {"choice": [*values]} if not all(isinstance(value, int) for value in values):
            return tuple(dict.fromkeys(str(value) for value in values))
        case {"zipf": {"n": int(highest)}} | {"int": [_, int(highest)]}:
            return highest
    return 0
