"""Every query in ``docs/queries.md`` runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import traces_cases
from logql_cases import START, table

from aiopslab.telemetry.logql import LogEngine
from aiopslab.telemetry.sql import SqlEngine
from aiopslab.telemetry.store import Store
from aiopslab.telemetry.traceql import TraceEngine

PAGE = (Path(__file__).parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
LINES = [line for language, text in BLOCKS for line in text.splitlines() if language == "logql"]
SEARCHES = [
    line for language, text in BLOCKS for line in text.splitlines() if language == "traceql"
]
STATEMENTS = [text for language, text in BLOCKS if language == "sql"]


@pytest.mark.parametrize("query", LINES)
def test_logql_examples_run(query: str) -> None:
    LogEngine(table()).range(query, START, START + 60, step=15.0)


@pytest.mark.parametrize("query", SEARCHES)
def test_traceql_examples_run(query: str) -> None:
    TraceEngine(traces_cases.table()).query(query, traces_cases.START, traces_cases.START + 100)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_sql_examples_run(statement: str) -> None:
    assert SqlEngine(Store(), lambda: START).query(statement).ordered


def test_there_are_examples_of_each_language() -> None:
    assert min(len(LINES), len(SEARCHES), len(STATEMENTS)) >= 3
