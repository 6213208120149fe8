"""Prometheus' text format, read: what a target answers to a scrape.

Lines that are no samples are passed over: a target of another make must not cost the rest. Not
here: the format written (``export.openmetrics``), what becomes of the samples.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_LINE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*"
    r"(?:\{(?P<labels>(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?[ \t]*"
    r"(?P<value>[^ \t{}]+)(?:[ \t]+-?\d+(?:\.\d+)?)?[ \t]*"
)
_LABEL = re.compile(r"[ \t]*([a-zA-Z_]\w*)[ \t]*=[ \t]*\"((?:[^\"\\]|\\.)*)\"[ \t]*(?:,|$)", re.A)
_ESCAPED = re.compile(r"\\(.)")
_MEANT = {"n": "\n", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Exposed:
    """One sample of a scrape."""

    name: str
    labels: dict[str, str]
    value: float


def read(text: str, names: Collection[str]) -> list[Exposed]:
    """Return the samples of some metrics, in order.

    >>> read('up{job="a"} 1 1700000000000', ["up"])
    [Exposed(name='up', labels={'job': 'a'}, value=1.0)]

    Args:
        text: What the target answered.
        names: The metrics that are wanted.
    """
    wanted = frozenset(names)
    # An answer has thousands of lines, of which few are wanted: most are not even parsed.
    return [found for line in text.split("\n") if _name(line) in wanted for found in _sample(line)]


def _name(line: str) -> str:
    return line.partition("{")[0].partition(" ")[0].partition("\t")[0]


def _sample(line: str) -> Iterator[Exposed]:
    match = _LINE.fullmatch(line.rstrip("\r"))
    labels = _labels(match["labels"] or "") if match is not None else None
    if match is None or labels is None:
        return
    try:
        value = float(match["value"].replace("_", "?"))
    except ValueError:
        return
    yield Exposed(match["name"], labels, value)


def _labels(text: str) -> dict[str, str] | None:
    """Read the pairs between braces; None if they are malformed."""
    found: dict[str, str] = {}
    at, text = 0, text.strip()
    while at < len(text):
        match = _LABEL.match(text, at)
        if match is None:
            return None
        found[match[1]] = _ESCAPED.sub(lambda m: _MEANT.get(m[1], m[0]), match[2])
        at = match.end()
    return found
