"""Trees of HTML and SVG elements, and the two ways to send them: as markup, and as inert data.

Markup is escaped here and nowhere else. Data is JSON that a script of the page turns into elements
with ``createElement`` and ``textContent``: text in it is never parsed as markup, by no browser.
Both make text readable first (``report.text``). Not here: what is shown.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiopslab.report.text import readable

_VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta"})
Value: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True)
class Element:
    """An element; attributes are in the order in which they were given."""

    tag: str
    attributes: tuple[tuple[str, str], ...]
    children: tuple[Node, ...]


Node: TypeAlias = Element | str


def element(tag: str, *children: Node | None, **attributes: Value) -> Element:
    """Make an element; what is None is left out.

    A trailing underscore of an attribute's name is dropped (``class_``), others become hyphens.
    """
    named = ((k.rstrip("_").replace("_", "-"), v) for k, v in attributes.items())
    given = tuple((k, _text(v)) for k, v in named if v is not None)
    return Element(tag, given, tuple(c for c in children if c is not None))


def markup(node: Node) -> str:
    """Return a tree as HTML."""
    return "".join(_markup(node))


def data(node: Node) -> Any:
    """Return a tree as plain data: text, or ``[tag, {attribute: value}, child...]``."""
    if isinstance(node, str):
        return readable(node)
    attributes = {name: readable(value) for name, value in node.attributes}
    return [node.tag, attributes, *(data(child) for child in node.children)]


def script_json(value: Any) -> str:
    """Encode plain data so that it can stand in a script element: ASCII without ``<``.

    Neither ``</script>`` nor ``<!--`` can occur in it, whatever the data is.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _markup(node: Node) -> Iterator[str]:
    if isinstance(node, str):
        yield html.escape(readable(node), quote=False)
        return
    written = "".join(f' {k}="{html.escape(readable(v))}"' for k, v in node.attributes)
    yield f"<{node.tag}{written}>"
    if node.tag in _VOID:
        return
    for child in node.children:
        yield from _markup(child)
    yield f"</{node.tag}>"


def _text(value: str | int | float) -> str:
    """Write a number of an attribute with at most one decimal: a tenth of a pixel."""
    if isinstance(value, str):
        return value
    # Adding 0.0 makes a positive zero of a negative one.
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def table(
    label: str,
    columns: Iterable[str],
    rows: Iterable[Iterable[Node | None]],
    *,
    numeric: Iterable[int] = (),
) -> Element:
    """Return a table with a heading, in a box that scrolls sideways where it is too wide.

    Args:
        label: What the table is, for those who do not see it.
        columns: Headings.
        rows: Cells; the first of each row heads it. None is an empty cell.
        numeric: Columns (from 0) of figures: right-aligned, digits of one width.
    """
    figures = set(numeric)

    def style(n: int) -> str | None:
        return "n" if n in figures else None

    head = (element("th", c, scope="col", class_=style(i)) for i, c in enumerate(columns))
    body = [
        element(
            "tr",
            *(
                element("td", cell, class_=style(i)) if i else element("th", cell, scope="row")
                for i, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    parts = element("thead", element("tr", *head)), element("tbody", *body)
    box = {"class_": "wide", "role": "region", "aria_label": label}
    return element("div", element("table", *parts), tabindex=0, **box)
