"""The list of runs: data for its table, which a script fills, and the folders that are no runs.

Not here: where rows come from (``listing``), what the script does (``site.js``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from aiopslab.report.html.elements import Element, Node, element, table
from aiopslab.report.site.frame import framed
from aiopslab.report.site.listing import LIVE, Broken, Row
from aiopslab.report.terminal import interval
from aiopslab.report.text import MISSING, readable

COLUMNS = (
    "run", "status", "trials", "suite", "agent", "model", "where", "seed",
    "passed (95 % interval)", "outcomes", "began",
)  # fmt: skip


def page(entries: Sequence[Row | Broken], where: str) -> str:
    """Return the page.

    Args:
        entries: What lies in the folder.
        where: Name of the folder.
    """
    return framed(
        f"Runs in {where}",
        _filters(),
        _table(),
        element("div", _refused([e for e in entries if isinstance(e, Broken)]), id="refused"),
        element("noscript", element("p", "Runs are shown by a script.", class_="note")),
        told={"runs-data": data(entries)},
    )


def data(entries: Sequence[Row | Broken]) -> dict[str, Any]:
    """Return the table as plain data: cells, what rows are ordered by, and what chooses them."""
    rows = [entry for entry in entries if isinstance(entry, Row)]
    broken = [[readable(e.name), readable(e.reason)] for e in entries if isinstance(e, Broken)]
    return {
        "columns": list(COLUMNS),
        "rows": [_row(row) for row in rows],
        "live": any(row.status == LIVE for row in rows),
        "broken": broken,
    }


def _row(row: Row) -> dict[str, Any]:
    agents = ", ".join(row.agents)
    passed = row.passed.value if row.passed is not None else None
    outcomes = ", ".join(f"{n} {name}" for name, n in sorted(row.outcomes.items()))
    began = (row.started or MISSING).replace("T", " ")[:16]
    cells = [
        row.name, row.status, f"{row.done}/{row.planned}", row.suite, agents, row.model or MISSING,
        row.environment, str(row.seed), interval(row.passed) if row.passed else row.why, outcomes,
        began,
    ]  # fmt: skip
    order: list[str | float | None] = [*map(readable, cells)]
    order[2], order[7], order[8] = row.done, row.seed, passed
    return {
        "href": f"runs/{quote(row.name, safe='')}/",
        "cells": [readable(cell) for cell in cells],
        "order": order,
        "agents": [readable(agent) for agent in row.agents],
        "outcomes": sorted(row.outcomes),
    }


def _filters() -> Element:
    def labelled(name: str, field: Element) -> Element:
        return element("label", name, field)

    def select(id: str) -> Element:
        return element("select", element("option", "all", value=""), id=id)

    return element(
        "div",
        labelled("Filter", element("input", id="filter", type="search", autocomplete="off")),
        labelled("Suite", select("filter-suite")),
        labelled("Agent", select("filter-agent")),
        labelled("With outcome", select("filter-outcome")),
        element("output", id="count"),
        class_="filters",
    )


def _table() -> Element:
    head = element("thead", element("tr", id="runs-head"))
    made = element("table", head, element("tbody", id="runs-body"), id="runs-table")
    box = {"class_": "wide", "role": "region", "aria_label": "Runs"}
    return element("div", made, tabindex=0, **box)


def _refused(broken: Sequence[Broken]) -> Element | None:
    if not broken:
        return None
    rows: list[list[Node]] = [[entry.name, entry.reason] for entry in broken]
    shown = table("Folders that are not shown", ["folder", "why not"], rows)
    return element("section", element("h2", "Folders that are not shown"), shown)
