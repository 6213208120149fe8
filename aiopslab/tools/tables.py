"""Plain-text tables and numbers, as people and language models read them.

Not here: what goes into a table; that is each tool's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Align rows under upper-case column heads, two blanks apart, the last column ragged."""
    cells = [[head.upper() for head in columns], *([show(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    widths[-1] = 0
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def show(value: object) -> str:
    """Print one value: six significant digits, ``-`` for what is not known."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)


def selector(labels: Mapping[str, str]) -> str:
    """Print labels as a PromQL selector, the metric's name first.

    >>> selector({"__name__": "up", "job": "geo"})
    'up{job="geo"}'
    """
    inner = ", ".join(f'{k}="{labels[k]}"' for k in sorted(labels) if k != "__name__")
    return labels.get("__name__", "") + "{" + inner + "}"
