"""Text to syntax tree. The grammar is promql-parser's; words and position of errors are here."""

from __future__ import annotations

from functools import lru_cache

import promql_parser as ast

from aiopslab.telemetry.promql.values import QueryError

MAX_LENGTH = 4_000
"""Characters of a query; the parser's recursion is native code and has no other bound."""


@lru_cache(maxsize=512)
def parse(query: str) -> ast.Expr:
    """Parse a query.

    Raises:
        QueryError: With the parser's words, or longer than :data:`MAX_LENGTH`.
    """
    if len(query) > MAX_LENGTH:
        raise QueryError(f"the query is longer than {MAX_LENGTH} characters")
    try:
        return ast.parse(query)
    except ValueError as error:
        raise QueryError(f"{query!r} cannot be parsed: {error}") from error
