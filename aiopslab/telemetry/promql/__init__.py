"""PromQL over the sample table: ``Engine`` evaluates, ``QueryError`` says what is wrong."""

from aiopslab.telemetry.promql.engine import Engine, parse
from aiopslab.telemetry.promql.values import QueryError

__all__ = ["Engine", "QueryError", "parse"]
