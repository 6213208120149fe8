"""The report as one HTML file: head, overview, table of trials, and a page for each trial as data.

The file asks for nothing from outside, and its policy forbids it: no source but the one style and
the one script that stand in it, both by their digest. The pages of trials share a budget, so a
browser opens the file at once however long the run is. The same records give the same bytes. Not
here: what the parts say (``overview``, ``trial``), what the script does (``report.js``).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiopslab._version import __version__
from aiopslab.models.context_profile import ContextChoice
from aiopslab.report import curves
from aiopslab.report.entries import Entry, Reading
from aiopslab.report.html.elements import Element, element, markup, script_json
from aiopslab.report.html.overview import section, sections
from aiopslab.report.html.trial import LEAN, Room, page
from aiopslab.report.terminal import heading
from aiopslab.report.text import one_line

BUDGET = 40_000_000
"""Characters that the pages of all trials may take together, about."""
LEAST = 8_000
"""What a trial gets even of a run so large that the budget does not suffice."""
_COARSE = 3.0
"""How many times longer the buckets of curves are where there is little room."""
_COLUMNS = (
    "trial", "outcome", "task", "confidence", "calls", "writes", "virtual s", "cost $", "why",
)  # fmt: skip
_DECIMALS = {3: 2, 4: 0, 5: 0, 6: 0, 7: 4}
"""Columns of figures (from 0) and their decimals."""
_WHY = 120

OnTrial = Callable[[int, int], None]
"""Receives how many trials are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Served:
    """A page that a server has: its trials are asked for one by one."""

    home: str
    """Where all runs are listed, as a relative address."""
    compare: str
    """Where this run is compared with another."""
    seen: str | None = None
    """Which state of a run that is not over this is; None: it is over."""


def document(
    reading: Reading,
    *,
    records: str,
    recordings: curves.Recordings | None = None,
    on_trial: OnTrial | None = None,
    served: Served | None = None,
) -> Iterator[str]:
    """Yield the file in pieces; trials are read one after the other.

    Args:
        reading: The run.
        records: Where the run's directory lies as seen from the file, as a relative path; links
            to the files of a record begin with it. Empty: in the same directory.
        recordings: Reads the trials' telemetry; None: it is not read, and no curves are drawn.
        on_trial: For progress.
        served: The page has a server, and no trial stands in it.

    Raises:
        UsageError: A file of a record is no record.
    """
    style, script = _asset("report.css"), _asset("report.js")
    yield from _head(reading, style, script, connect=served is not None)
    # The data of the trials are part of the body, which ends after them.
    yield markup(_body(reading, served)).removesuffix("</body>") + "\n"
    yield _inert("trials-data", _rows(reading))
    if served is None:
        yield from _trials_data(reading, records, recordings, on_trial)
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _trials_data(
    reading: Reading,
    records: str,
    recordings: curves.Recordings | None,
    on_trial: OnTrial | None,
) -> Iterator[str]:
    room = room_of(len(reading.entries))
    base = f"{records}/trials" if records else "trials"
    for n, entry in enumerate(reading.entries):
        href = quote(f"{base}/{entry.name}")
        made = page(entry, reading.run.trial(entry.plan), href, room, recordings)
        yield _inert(f"trial-data-{n}", made)
        if on_trial is not None:
            on_trial(n + 1, len(reading.entries))


def room_of(trials: int) -> Room:
    """Return how much each of so many trials may take."""
    characters = max(LEAST, BUDGET // max(1, trials))
    coarse = _COARSE if characters < LEAN else 1.0
    return Room(characters, curves.BUCKET_S * coarse)


def policy(style: str, script: str, *, connect: bool = False) -> str:
    """Return the content security policy: this style, this script, and nothing else.

    Args:
        style: The text of the one style.
        script: The text of the one script.
        connect: The script may ask the server that the page came from.
    """
    asking = "connect-src 'self'; " if connect else ""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        f"{asking}img-src data:; base-uri 'none'; form-action 'none'"
    )


def policy_of_served() -> str:
    """Return the policy of a page that a server has, for its header; no frame may hold it."""
    allowed = policy(_asset("report.css"), _asset("report.js"), connect=True)
    return f"{allowed}; frame-ancestors 'none'"


def _head(reading: Reading, style: str, script: str, *, connect: bool) -> Iterator[str]:
    allowed = policy(style, script, connect=connect)
    metas = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=allowed),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="generator", content=f"aiopslab {__version__}"),
        element("link", rel="icon", href="data:,"),
        element("title", one_line(heading(reading.results))),
    ]
    lines = "\n".join(markup(m) for m in metas)
    yield f'<!doctype html>\n<html lang="en">\n<head>\n{lines}\n<style>{style}</style>\n</head>\n'


def _body(reading: Reading, served: Served | None) -> Element:
    """Return the visible document; the scripts' data follow it."""
    results = reading.results
    choice = reading.record.config.context
    told = None if choice == ContextChoice() else f"context {choice.name}"
    what = [results.agent, results.model, results.environment, told]
    attempts = f"{results.attempts} attempt{'s' if results.attempts != 1 else ''}"
    status = "" if reading.record.status == "success" else f", run {reading.record.status}"
    top = element(
        "header",
        element(
            "div",
            element("h1", results.label),
            element(
                "p", f"{' · '.join(w for w in what if w)}, {attempts}, seed {results.seed}{status}"
            ),
            *(_ways(served) if served is not None else ()),
        ),
        element("button", "Light or dark", type="button", id="theme"),
        class_="top",
    )
    overview = element("div", *sections(reading), _trials(), _footer(reading), id="overview")
    main = element("main", overview, _trial_frame(), id="main")
    return element(
        "body", element("a", "Skip to the scores", href="#main", class_="skip"), top, main
    )


def _ways(served: Served) -> list[Element]:
    """Return the links from a served page to its neighbours, and the button of a live run."""
    links = element(
        "p",
        element("a", "All runs", href=served.home),
        " · ",
        element("a", "Compare with another run", href=served.compare),
    )
    if served.seen is None:
        return [links]
    words = "Further trials have ended: show them"
    return [
        links,
        element("button", words, type="button", id="live", hidden="", data_seen=served.seen),
    ]


def _trials() -> Element:
    def labelled(name: str, field: Element) -> Element:
        return element("label", name, field)

    every = element("option", "all", value="")
    filters = element(
        "div",
        labelled("Filter", element("input", id="filter", type="search", autocomplete="off")),
        labelled("Outcome", element("select", every, id="filter-outcome")),
        labelled("Task", element("select", every, id="filter-task")),
        element("output", id="count"),
        class_="filters",
    )
    body = element(
        "table",
        element("thead", element("tr", id="trials-head")),
        element("tbody", id="trials-body"),
        id="trials-table",
    )
    box = element("div", body, class_="wide", role="region", aria_label="Trials", tabindex=0)
    more = element("button", "Show more", type="button", id="more", class_="more", hidden="")
    without = element("noscript", element("p", "Trials are shown by a script.", class_="note"))
    return section("trials", "Trials", filters, box, more, without)


def _trial_frame() -> Element:
    def button(id: str, text: str) -> Element:
        return element("button", text, type="button", id=id)

    back = element("a", "All trials", href="#trials")
    position = element("span", id="position")
    buttons = (button("previous", "Previous"), button("next", "Next"))
    bar = element("nav", back, *buttons, position, class_="bar-nav", aria_label="Trials")
    return element("div", bar, element("div", id="trial-page"), id="trial", hidden="")


def _footer(reading: Reading) -> Element:
    keys = [("j", "next trial"), ("k", "previous trial"), ("u", "all trials"), ("/", "filter"),
            ("t", "light or dark")]  # fmt: skip
    told = [part for key, does in keys for part in (element("kbd", key), f" {does}  ")]
    return element(
        "footer",
        element("p", *told),
        element("p", f"aiopslab {__version__}, scoring version {reading.results.scoring_version}"),
    )


def _rows(reading: Reading) -> dict[str, Any]:
    """Return the table of trials; its cells are text, numbers or None."""
    rows = [_row(entry) for entry in reading.entries]
    return {"columns": list(_COLUMNS), "decimals": _DECIMALS, "rows": rows}


def _row(entry: Entry) -> list[str | float | None]:
    used = entry.trial.usage if entry.trial is not None else None
    why = one_line(entry.why())
    return [
        entry.name if entry.plan.agent is None else f"{entry.name} ({entry.agent})",
        entry.outcome,
        entry.plan.task,
        entry.grade.confidence if entry.grade is not None else None,
        used.steps if used else None,
        used.writes if used else None,
        round(used.virtual_s) if used else None,
        used.cost_usd if used else None,
        why if len(why) <= _WHY else f"{why[:_WHY]}...",
    ]


def _inert(id: str, value: Any) -> str:
    return f'<script type="application/json" id="{id}">{script_json(value)}</script>\n'


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
