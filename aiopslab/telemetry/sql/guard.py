"""What a SQL statement may be: one SELECT over the signal tables, the same answer every time.

DuckDB parses; its syntax tree is judged here before anything is bound or run. Whatever is not known
to be harmless is refused: other statements (also inside WITH), other tables and table functions,
functions that look at the process, at chance or at a clock of their own. Not here: limits of time
and memory (``bounds``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiopslab.telemetry.promql.values import QueryError

if TYPE_CHECKING:
    import duckdb

MAX_LENGTH = 10_000
"""Characters of a statement."""
TABLES = ("spans", "logs", "samples", "events", "alerts", "changes")
TABLE_FUNCTIONS = ("range", "generate_series", "unnest")
CLOCKS = {
    "TIMESTAMP": (
        "now", "current_timestamp", "get_current_timestamp", "transaction_timestamp",
        "localtimestamp", "current_localtimestamp",
    ),
    "DATE": ("current_date", "today"),
    "TIME": ("current_time", "localtime", "get_current_time", "current_localtime"),
}  # fmt: skip
"""Clocks by the type they tell; ``engine`` makes them tell the world's time."""
REFUSED = frozenset(
    (
        "current_connection_id", "current_database", "current_catalog", "current_query",
        "current_query_id", "current_schema", "current_schemas", "current_setting",
        "current_transaction_id", "currval", "error", "gen_random_uuid", "getenv", "getvariable",
        "in_search_path", "json_execute_serialized_sql", "json_serialize_plan", "nextval",
        "parse_duckdb_log_message", "pg_conf_load_time", "pg_postmaster_start_time", "pg_sleep",
        "random", "reservoir_quantile", "setseed", "setval", "sleep_ms", "stats", "txid_current",
        "uuid", "uuidv4", "uuidv7", "vector_type", "version", "write_log",
    )
)  # fmt: skip
"""Functions of the process, of chance, or with effects; tests compare with DuckDB's own list."""
_NODES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")
_SOURCES = (
    "BASE_TABLE", "JOIN", "SUBQUERY", "TABLE_FUNCTION", "EMPTY", "EMPTY_FROM", "EXPRESSION_LIST",
    "SHOW_REF",
)  # fmt: skip
_MODIFIERS = (
    "ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER",
)  # fmt: skip
_SYSTEM = ("duckdb_", "pg_", "sqlite_", "pragma_", "information_schema")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that may run."""

    tables: tuple[str, ...]
    """Signal tables it reads, sorted."""
    ordered: bool
    """Its rows have an order of their own."""


def check(connection: duckdb.DuckDBPyConnection, query: str) -> Statement:
    """Judge a statement.

    Raises:
        QueryError: Refused; says what and why.
    """
    import duckdb  # noqa: PLC0415 - slow to import, needed for SQL only

    if len(query) > MAX_LENGTH:
        raise QueryError(f"the statement is longer than {MAX_LENGTH} characters")
    try:
        query.encode()
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError("only one SELECT statement can be run")
        if statements[0].named_parameters:
            raise QueryError("parameters ($1, ?) are not supported; write the values")
        row = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
        parsed: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    except duckdb.Error as error:
        raise QueryError(first_line(error)) from error
    except (RecursionError, UnicodeError) as error:
        raise QueryError("the statement cannot be read") from error
    if parsed["error"]:
        raise QueryError("only one SELECT statement can be run (and no PIVOT)")
    return _judged(parsed["statements"][0]["node"])


def first_line(error: Exception) -> str:
    """Return what DuckDB says, without its excerpt of the statement and its hints at settings."""
    return str(error).split("\n", 1)[0]


def _judged(node: dict[str, Any]) -> Statement:
    nodes = list(_walk(node))
    own = {
        entry["key"].lower()
        for part in nodes
        for entry in (part.get("cte_map") or {}).get("map", [])
    }
    for name in sorted(own):
        if name.startswith(_SYSTEM):
            raise QueryError(f"a common table expression cannot be called {name!r}")
    tables: set[str] = set()
    for part in nodes:
        _judge(part, own, tables)
    kinds = {modifier["type"] for modifier in node["modifiers"]}
    described = (node.get("from_table") or {}).get("type") == "SHOW_REF"
    return Statement(tuple(sorted(tables)), "ORDER_MODIFIER" in kinds or described)


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every object of the tree; without recursion, because statements nest."""
    stack: list[Any] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _judge(part: dict[str, Any], own: set[str], tables: set[str]) -> None:
    """Judge one object of the tree; enters the signal tables."""
    if "function_name" in part:
        _judge_function(part)
    kind = part.get("type")
    if kind is None or "class" in part:
        return
    if kind not in _NODES and kind not in _SOURCES and kind not in _MODIFIERS:
        what = str(kind).replace("_QUERY_NODE", "").replace("_NODE", "").lower()
        if "modifiers" in part or "alias" in part:
            raise QueryError(f"only SELECT can be run, not {what}")
        return
    if part.get("sample") is not None:
        raise QueryError("sampling is refused: the answer would change from run to run")
    if kind == "TABLE_FUNCTION":
        name = part["function"].get("function_name", "")
        if name not in TABLE_FUNCTIONS:
            raise QueryError(
                f"table function {name!r} is refused; known: {', '.join(TABLE_FUNCTIONS)}"
            )
    if kind == "SHOW_REF" and part["table_name"]:
        raise QueryError(f"SHOW is refused; the tables are {', '.join(TABLES)}: DESCRIBE spans")
    if kind == "BASE_TABLE":
        _judge_table(part, own, tables)


def _judge_table(part: dict[str, Any], own: set[str], tables: set[str]) -> None:
    name = part["table_name"].lower()
    if part["schema_name"] or part["catalog_name"] or part["at_clause"] is not None:
        name = ".".join(filter(None, (part["catalog_name"], part["schema_name"], name)))
    elif name in TABLES:
        tables.add(name)
        return
    elif name in own:
        return
    raise QueryError(f"there is no table {name!r}; the tables are {', '.join(TABLES)}")


def _judge_function(part: dict[str, Any]) -> None:
    name = part["function_name"].lower()
    if part.get("schema") or part.get("catalog"):
        raise QueryError(f"write {name!r} without a schema")
    if name in REFUSED:
        raise QueryError(f"function {name!r} is refused")
    if name == "age" and len(part.get("arguments", [])) == 1:
        raise QueryError("age with one argument is refused; write age(now(), x)")
