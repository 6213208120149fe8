"""Two runs side by side: a form to choose them, and what ``aiopslab compare`` says of them.

Not here: figures (``grading.comparison``) and their words (``report.comparison``).
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.errors import UsageError
from aiopslab.models.comparison import Comparison
from aiopslab.report import comparison as words
from aiopslab.report.html.elements import Element, Node, element, table
from aiopslab.report.site.frame import framed
from aiopslab.report.site.listing import Row

SEPARATOR = "/"
"""Between a run and one of its agents; no folder's name has it."""


def page(rows: Sequence[Row], a: str, b: str, found: Comparison | UsageError | None) -> str:
    """Return the page.

    Args:
        rows: The runs to choose from.
        a: What was chosen to compare with: ``RUN`` or ``RUN/AGENT``; may be empty.
        b: What was chosen to be judged.
        found: What came of it; None: nothing was asked.
    """
    shown: list[Node]
    match found:
        case None:
            said = "Choose two runs of the same problems with the same seed. Differences are B - A."
            shown = [element("p", said, class_="note")]
        case UsageError():
            shown = [element("p", f"They cannot be compared: {found}.", class_="said error")]
        case Comparison():
            shown = _shown(found)
    return framed("Compare two runs", _form(rows, a, b), *shown)


def chosen(value: str) -> tuple[str, str | None]:
    """Return the run and the agent of a choice."""
    name, _, agent = value.partition(SEPARATOR)
    return name, agent or None


def choices(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return (value, words) of everything that can be chosen: runs, or agents of one."""
    found: list[tuple[str, str]] = []
    for row in rows:
        if len(row.agents) > 1:
            several = ((f"{row.name}{SEPARATOR}{a}", f"{row.name}: {a}") for a in row.agents)
            found += several
        else:
            found.append((row.name, row.name))
    return found


def _form(rows: Sequence[Row], a: str, b: str) -> Element:
    def select(letter: str, value: str) -> Element:
        options = (
            element("option", said, value=key, selected="" if key == value else None)
            for key, said in choices(rows)
        )
        return element("label", letter, element("select", *options, name=letter.lower()))

    button = element("button", "Compare", type="submit")
    return element(
        "form", select("A", a), select("B", b), button,
        method="get", action="compare", class_="filters", id="compare",
    )  # fmt: skip


def _shown(found: Comparison) -> list[Node]:
    columns, rows = words.difference_rows(found)
    parts: list[Node] = [
        element("p", line) for line in [*words.heading(found), words.verdict(found)]
    ]
    parts.append(element("h2", "Shares passed"))
    parts.append(table("Shares passed", columns, rows, numeric=range(1, len(columns))))
    if found.scores:
        columns, rows = words.score_rows(found)
        parts.append(element("h2", "Scores; lower is better"))
        parts.append(table("Scores", columns, rows, numeric=range(2, len(columns))))
    flips = element("pre", "\n".join(words.flip_lines(found)), tabindex=0)
    pairing = element("pre", "\n".join(words.pairing_lines(found)), tabindex=0)
    return [*parts, element("h2", "What flipped"), flips, element("h2", "What was paired"), pairing]
