"""PromQL over the sample table: ``Engine`` evaluates, ``QueryError`` says what is wrong."""

from aiopslab.telemetry.promql.answers import Answer, format_value
from aiopslab.telemetry.promql.engine import Engine
from aiopslab.telemetry.promql.parsing import parse
from aiopslab.telemetry.promql.values import ParseError, QueryError

__all__ = ["Answer", "Engine", "ParseError", "QueryError", "format_value", "parse"]
