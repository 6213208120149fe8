"""Templates of log lines: what stays when numbers, ids, addresses and times are masked.

A small cousin of Drain (He et al., ICWS 2017): masking by expression, then one generalisation
over words that take many values in one place. Not here: counting (``logs``).
"""

from __future__ import annotations

import re
from collections import defaultdict

Pattern = tuple[str, str, int, float, float]
"""Service, template, count, first time, last time."""

_MASKS = re.compile(
    # No mask begins with any other character: most places are left at this look.
    r"(?=[-\da-fslH])(?:"
    r"(?P<keep>\b(?:status(?:_code)?|code|level)\"?[=: ]{1,2}\d+\b|HTTP/[\d.]+\"? \d{3}\b)"
    r"|(?P<time>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)"
    r"|(?P<uuid>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)"
    r"|(?P<ip>\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b)"
    r"|(?P<hex>\b(?=[0-9a-f]{8})(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}\b|\b0x[0-9a-f]+\b)"
    r"|(?P<num>(?<![A-Za-z_])-?\d+(?:\.\d+)?)"
    r")"
)
_MOST_WORDS = 200
"""Longer templates are left as they are: the work is quadratic in the words."""
_MANY = 8
"""A place in otherwise equal templates with more values than this is a variable."""


def template(line: str) -> str:
    """Mask what varies from line to line; status codes and levels stay.

    >>> template("GET /rates/42 took 3.5ms from 198.19.0.7:8080")
    'GET /rates/<num> took <num>ms from <ip>'
    """
    return _MASKS.sub(lambda m: m[0] if m.lastgroup == "keep" else f"<{m.lastgroup}>", line)


def generalise(patterns: list[Pattern]) -> list[Pattern]:
    """Merge templates of a service that differ in one word only, if that word has many values."""
    places: dict[tuple[str, tuple[str, ...]], set[int]] = defaultdict(set)
    split = [tuple(text.split(" ")) for _, text, *_ in patterns]
    for index, words in enumerate(split):
        for place in range(len(words) if len(words) <= _MOST_WORDS else 0):
            masked = (*words[:place], "<*>", *words[place + 1 :])
            places[patterns[index][0], masked].add(index)
    merged: list[Pattern] = []
    used: set[int] = set()
    # Largest families first; ties by text, so that the result does not depend on arrival.
    for (service, words), members in sorted(places.items(), key=lambda f: (-len(f[1]), f[0])):
        family = sorted(members - used)
        if len(members) <= _MANY or len(family) <= _MANY:
            continue
        used.update(family)
        count = sum(patterns[i][2] for i in family)
        first, last = min(patterns[i][3] for i in family), max(patterns[i][4] for i in family)
        merged.append((service, " ".join(words), count, first, last))
    return merged + [p for i, p in enumerate(patterns) if i not in used]
