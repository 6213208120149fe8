"""What ``psql`` prints: tables in its formats, errors with a caret."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiopslab.world.images.messages import PgError, Rows
from aiopslab.world.images.postgres_options import Options


def error_text(error: PgError, sql: str) -> str:
    """Write an error as psql does, with the line and a caret where the server gave a position."""
    lines = [f"{error.severity}:  {error.message}"]
    if error.position:
        before = sql[: error.position - 1]
        number = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1)
        prefix = f"LINE {number}: "
        lines += [prefix + sql.splitlines()[number - 1], " " * (len(prefix) + column) + "^"]
    lines += [f"DETAIL:  {error.detail}"] if error.detail else []
    lines += [f"HINT:  {error.hint}"] if error.hint else []
    return "\n".join(lines) + "\n"


def render(rows: Rows, options: Options | None = None) -> str:
    """Write a result the way psql prints it."""
    options = options or Options()
    if not rows.columns:
        return f"{rows.tag}\n" if rows.tag else ""
    cells = [[("" if value is None else value) for value in row] for row in rows.values]
    if options.csv:
        table = [list(rows.columns), *cells]
        return "".join(",".join(_csv(cell) for cell in row) + "\n" for row in table)
    if options.expanded:
        return _expanded(list(rows.columns), cells)
    if not options.aligned:
        table = cells if options.tuples_only else [list(rows.columns), *cells]
        text = "".join(options.separator.join(row) + "\n" for row in table)
        return text if options.tuples_only else text + _count(len(cells))
    widths = [
        max(len(name), *(len(row[i]) for row in cells)) if cells else len(name)
        for i, name in enumerate(rows.columns)
    ]
    numeric = [
        bool(cells) and all(re.fullmatch(r"-?[\d.]+|", row[i]) for row in cells)
        for i in range(len(widths))
    ]
    lines = [_aligned(row, widths, numeric) for row in cells]
    if options.tuples_only:
        return "".join(f"{line}\n" for line in lines)
    head = "|".join(f" {n.center(w)} " for n, w in zip(rows.columns, widths, strict=True))
    rule = "+".join("-" * (width + 2) for width in widths)
    return "\n".join([head, rule, *lines, _count(len(cells))]) + "\n"


def _aligned(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    cells = [
        f" {cell.rjust(width) if right else cell.ljust(width)} "
        for cell, width, right in zip(row, widths, numeric, strict=True)
    ]
    return "|".join(cells).rstrip()


def _expanded(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    width = max(map(len, columns))
    lines = []
    for number, row in enumerate(cells, start=1):
        lines.append(f"-[ RECORD {number} ]".ljust(width + 10, "-"))
        lines += [f"{n.ljust(width)} | {c}" for n, c in zip(columns, row, strict=True)]
    return "\n".join(lines or ["(0 rows)"]) + "\n"


def _count(rows: int) -> str:
    return f"({rows} row{'' if rows == 1 else 's'})\n"


def _csv(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if re.search(r'[",\n]', cell) else cell
