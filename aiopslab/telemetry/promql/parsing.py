"""Text to syntax tree: the grammar is promql-parser's, the words about errors ``explanations``."""

from __future__ import annotations

from functools import lru_cache

import promql_parser as ast

from aiopslab.telemetry.promql.explanations import explain, placed, refuse_extremes
from aiopslab.telemetry.promql.syntax import Malformed
from aiopslab.telemetry.promql.values import ParseError

MAX_LENGTH = 4_000
"""Characters of a query; the parser's recursion is native code and has no other bound."""


@lru_cache(maxsize=512)
def parse(query: str) -> ast.Expr:
    """Parse a query.

    Raises:
        ParseError: With line, column and Prometheus' words; or it is longer than
            :data:`MAX_LENGTH`.
    """
    if len(query) > MAX_LENGTH:
        raise ParseError(f"the query is longer than {MAX_LENGTH} characters")
    try:
        refuse_extremes(query)
        return ast.parse(query)
    except Malformed as error:
        raise ParseError(placed(query, error)) from error
    except ValueError as error:
        try:
            raise ParseError(explain(query, str(error))) from error
        except RecursionError as deep:
            raise ParseError("the query is nested too deeply") from deep
