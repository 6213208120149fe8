"""A run as Markdown that fits a pull request: scores with intervals, and what did not pass.

Everything from a record is escaped: it can make no link, no image, no mention and no markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiopslab.models.comparison import Comparison
from aiopslab.models.run import Results
from aiopslab.report import comparison, task_figures
from aiopslab.report.entries import Entry, Reading
from aiopslab.report.terminal import heading, interval, no_headline, number, score_rows
from aiopslab.report.text import one_line

MOST = 50
"""Trials that are named; the others are counted."""
_LONGEST = 300
_ACTIVE = re.compile(r"([\\`*_{}\[\]()<>#+!|~&@:-])")


def as_markdown(reading: Reading) -> str:
    """Return the document."""
    results = reading.results
    lines = [f"## {escape(' '.join(heading(results).split()))}", "", _headline(results), ""]
    lines += _table(*score_rows(results))
    lines += ["", _coverage(results), ""]
    wall = task_figures.wall([e.trial for e in reading.entries if e.trial is not None])
    for shown in (task_figures.figures(results), task_figures.process(results, wall)):
        if shown.rows:
            lines += [f"**{escape(shown.title)}**", "", *_table(shown.columns, shown.rows), ""]
    lines += _calibration(results)
    lines += _against(reading.against)
    lines += _unpassed([e for e in reading.entries if e.outcome != "passed"])
    return "\n".join(lines).rstrip() + "\n"


def escape(text: str) -> str:
    """Return text of one line in which Markdown finds nothing to act on."""
    return _ACTIVE.sub(r"\\\1", one_line(text))


def _headline(results: Results) -> str:
    head = results.headline
    if head.completed is None:
        return f"{no_headline(results).capitalize()}."
    passed = interval(results.overall.completed)
    return f"**{passed}** of completed trials passed; {number(head.strict)} of all planned."


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    aligned = ["---", *("---:" for _ in columns[1:])]
    written = [[escape(c) for c in columns], aligned, *([escape(c) for c in r] for r in rows)]
    return [f"| {' | '.join(row)} |" for row in written]


def _coverage(results: Results) -> str:
    overall = results.overall
    outcomes = ", ".join(f"{n} {name}" for name, n in sorted(overall.outcomes.items()))
    said = [f"coverage {overall.n_completed}/{overall.n_planned}", outcomes or "nothing ran"]
    if results.cost_usd is not None:
        said.append(f"cost ${results.cost_usd:.2f}")
    if results.tokens_in is not None and results.tokens_out is not None:
        said.append(f"tokens {results.tokens_in} in, {results.tokens_out} out")
    return escape(" · ".join([*said, f"scoring version {results.scoring_version}"]))


def _calibration(results: Results) -> list[str]:
    found = results.overall.calibration
    if found is None:
        return []
    error = found.ece_mass
    return [
        f"Calibration error (equal mass) {error.value:.3f}; a perfectly calibrated agent with these"
        f" {found.n} answers shows {error.floor.mean:.3f} on average, up to {error.floor.p95:.3f}"
        f" by chance. Less what chance adds: {number(found.debiased)}.",
        "",
    ]


def _against(found: Comparison | None) -> list[str]:
    """Show the paired differences to another run, which is A."""
    if found is None:
        return []
    lines = ["### Paired differences", ""]
    lines += [line for side in comparison.heading(found) for line in (escape(side), "")]
    lines += _table(*comparison.difference_rows(found))
    if found.scores:
        lines += ["", *_table(*comparison.score_rows(found))]
    said = [*comparison.pairing_lines(found), comparison.verdict(found)]
    return [*lines, "", *(f"- {escape(line)}" for line in said), ""]


def _unpassed(entries: Sequence[Entry]) -> list[str]:
    if not entries:
        return ["Every planned trial passed."]
    rows = [[e.name, e.outcome, _cut(e.why())] for e in entries[:MOST]]
    lines = [f"<details><summary>{len(entries)} trials that did not pass</summary>", ""]
    lines += _table(["trial", "outcome", "why"], rows)
    if len(entries) > MOST:
        lines += ["", f"{len(entries) - MOST} more are not listed."]
    return [*lines, "", "</details>"]


def _cut(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
