"""The frame of the site's own pages: head, heading, ways between pages, and what went wrong.

Style and script are files of this server, so that the policy needs no digests. Not here: the page
of a run, which is the report's (``html.page``), and what else the pages say.
"""

from __future__ import annotations

from typing import Any

from aiopslab._version import __version__
from aiopslab.report.html.elements import Element, Node, element, markup, script_json
from aiopslab.report.text import one_line


def framed(
    title: str, *children: Node | None, root: str = "", told: dict[str, Any] | None = None
) -> str:
    """Return a document.

    Args:
        title: Its heading.
        children: What it says.
        root: Where the site begins as seen from the page, as a relative address.
        told: Data for the script, by the ids of the inert elements that hold them.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=f"aiopslab {__version__}"),
        element("link", rel="icon", href="data:,"),
        element("link", rel="stylesheet", href=f"{root}assets/report.css"),
        element("title", one_line(title)),
    )
    top = element(
        "header",
        element("div", element("h1", title), _ways(root)),
        element("button", "Light or dark", type="button", id="theme"),
        class_="top",
    )
    body = f'<body class="site">{markup(top)}{markup(element("main", *children, id="main"))}'
    held = "".join(
        f'<script type="application/json" id="{id}">{script_json(value)}</script>\n'
        for id, value in (told or {}).items()
    )
    script = f'<script src="{root}assets/site.js"></script>'
    return (
        f'<!doctype html>\n<html lang="en">\n{markup(head)}\n{body}\n{held}{script}</body></html>\n'
    )


def problem(title: str, words: str, hint: str = "", *, root: str = "") -> str:
    """Return the page of an error."""
    said = element("p", words, class_="said")
    return framed(title, said, element("p", hint, class_="note") if hint else None, root=root)


def _ways(root: str) -> Element:
    # An empty address would be the page itself.
    links = (("All runs", root or "./"), ("Compare two runs", f"{root}compare"))
    shown = [node for words, href in links for node in (element("a", words, href=href), "  ")]
    return element("p", *shown)
