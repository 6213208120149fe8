"""How commands speak: results to stdout, everything else to stderr, one JSON envelope.

``{"schema": ..., "data": ...}`` or ``{"error": {"kind", "message", "hint"}}``. Tables are rich on
a terminal and aligned plain text elsewhere; ``NO_COLOR`` is honoured by rich.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiopslab.errors import AIOpsLabError

if TYPE_CHECKING:
    from aiopslab.models.run import Results


def envelope(schema: str, data: Any) -> None:
    """Print a machine-readable result."""
    print(enveloped(schema, data))


def enveloped(schema: str, data: Any) -> str:
    """Return a machine-readable result as one JSON document."""
    return json.dumps({"schema": schema, "data": data}, indent=2, sort_keys=True)


def failure(error: AIOpsLabError, *, as_json: bool) -> None:
    """Print a user's or the lab's error: one line and what to type."""
    hint = getattr(error, "hint", "")
    if as_json:
        kind = type(error).__name__
        print(json.dumps({"error": {"kind": kind, "message": str(error), "hint": hint}}))
        return
    problem(str(error), hint=hint)


def problem(message: str, *, hint: str = "") -> None:
    """Print ``error: message`` and the hint to stderr."""
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)


def note(text: str) -> None:
    """Print a line of progress to stderr."""
    print(text, file=sys.stderr, flush=True)


def abandon() -> None:
    """Send what is still buffered nowhere: nobody reads standard output any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def usage_message(error: Exception) -> str | None:
    """Return the one-line text of a command-line mistake, or None if it is not one."""
    from cyclopts import CycloptsError

    if not isinstance(error, CycloptsError):
        return None
    text = " ".join(str(error).split())
    command = " ".join(error.command_chain or ())
    return text if "--help" in text else f"{text} ({f'aiopslab {command}'.strip()} --help)"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> None:
    """Print a table: rich on a terminal, aligned text elsewhere. Numbers are right-aligned."""
    cells = [["-" if v is None else str(v) for v in row] for row in rows]
    if not sys.stdout.isatty():
        _plain(columns, cells, title)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=title or None, title_justify="left", header_style="bold", box=None)
    for i, column in enumerate(columns):
        shown.add_column(column, justify="right" if _numeric(cells, i) else "left")
    for row in cells:
        shown.add_row(*(Text(c) for c in row))
    Console().print(shown)


def scores(results: Results) -> None:
    """Print what was run, what it scored, and how far stated confidence can be trusted."""
    from aiopslab.report import terminal

    print(terminal.heading(results))
    table(*terminal.score_rows(results))
    columns, rows = terminal.calibration_rows(results)
    if rows:
        print()
        table(columns, rows)
    for line in terminal.calibration_notes(results):
        print(line)


def _numeric(cells: Sequence[Sequence[str]], i: int) -> bool:
    values = [row[i] for row in cells if row[i] not in ("", "-")]
    return bool(values) and all(v[:1].isdigit() or v[:1] in "-+." for v in values)


def _plain(columns: Sequence[str], cells: Sequence[Sequence[str]], title: str) -> None:
    if title:
        print(title)
    widths = [max(len(c), *(len(r[i]) for r in cells), 0) for i, c in enumerate(columns)]
    right = [_numeric(cells, i) for i in range(len(columns))]
    for row in [list(columns), *cells]:
        parts = [
            v.rjust(w) if r else v.ljust(w) for v, w, r in zip(row, widths, right, strict=True)
        ]
        print("  ".join(parts).rstrip())
