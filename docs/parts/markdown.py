"""Markdown of what is generated: tables, code, and texts of docstrings in a cell.

Not here: what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; cells are text already (``cell``)."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def fenced(text: str, language: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text}\n```\n"


def first_sentence(text: str) -> str:
    """Return the first sentence of a text."""
    return cell(re.split(r"(?<=[.])\s", text.strip().replace("``", "`"), maxsplit=1)[0])


def cell(text: str) -> str:
    """Return a text of the code as one cell: in one line, its bars escaped."""
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


def as_code(names: Sequence[str]) -> str:
    """List names as code."""
    return ", ".join(f"`{name}`" for name in names) or "none"
