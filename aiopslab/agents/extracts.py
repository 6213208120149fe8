"""Fewer lines of a long observation: whole lines, chosen by rule, in their order.

A language model rereads everything it has seen at every turn, so old observations have to become
shorter without a second model that words them anew: what is left is what stood there. Not here:
how many observations stay whole (each agent), paging of a single answer (``tools.pages``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from statistics import median

HEADER_LINES = 2
"""Lines at the start that say what the others are: a range, the head of a table."""
_COMMON_SHARE = 0.25
"""A name on more of the lines than this tells none of them from the others."""
_COLUMN = 5
"""Lines of one shape from which on a number can be told from its column."""
_DEVIATIONS = 5.0
"""Median absolute deviations from the column's median at which a number stands out."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?")
_NUMBER = re.compile(
    r"(?<![\w.-])-?[0-9]{1,15}(?:\.[0-9]{1,15})?(?=(?:[mu]?s|[mhd%x]|[kKMG]i?B?|B)?(?!\w))"
)
"""Numbers with or without a unit; digits inside an id are none."""
_WORD = re.compile(r"[\w.-]+")
_TROUBLE = re.compile(
    r"error|fail|fatal|panic|exception|refused|denied|forbidden|timeout|timed out|deadline"
    r"|unavailable|unhealthy|not ready|crash|backoff|\boom|kill|evict|exhaust|exceeded|throttl"
    r"|reset by peer|warn|critical|firing|pending|\b5\d\d\b",
    re.IGNORECASE,
)
_COMMON = frozenset({
    "about", "above", "alert", "all", "and", "any", "are", "been", "below", "but", "for", "from",
    "has", "have", "its", "last", "more", "much", "not", "over", "page", "than", "that", "the",
    "there", "these", "this", "was", "were", "when", "where", "which", "with",
})  # fmt: skip
"""Words that name nothing."""


def entities(*texts: str) -> frozenset[str]:
    """Return the words of texts that may name something: three characters or more, lower case."""
    words = (w.strip(".-").lower() for text in texts for w in _WORD.findall(text))
    return frozenset(w for w in words if len(w) > 2 and w[0].isalpha() and w not in _COMMON)


def extract(text: str, limit: int, terms: Collection[str] = ()) -> str:
    """Keep the lines of a text that say most, in their order.

    The first lines, lines of trouble, lines that name one of the terms and lines whose numbers
    stand out from their column go before others; of lines alike but for numbers the first do. A
    name that is on more than a quarter of the lines is no reason. A text within the limit is
    returned as it is; so extracting twice changes nothing.

    Args:
        text: Lines separated by newlines.
        limit: Characters of the result, at most.
        terms: Names to look for, in lower case.
    """
    if len(text) <= limit:
        return text
    lines = text.split("\n")
    scores = _scores(lines, frozenset(terms))
    kept: list[int] = []
    room = limit + 1  # the last line has no newline
    for index in sorted(range(len(lines)), key=lambda i: (-scores[i], i)):
        if len(lines[index]) < room:
            room -= len(lines[index]) + 1
            kept.append(index)
    return "\n".join(lines[i] for i in sorted(kept))


def digest(text: str, limit: int, terms: Collection[str] = ()) -> str:
    """Shorten what a model read of an observation; its first line, with the id, stays.

    The second line then says how much is left. Where no whole line fits, the text is cut.

    Args:
        text: As ``tools.openai.reading`` words an observation.
        limit: Characters of the result, at most; 200 or more.
        terms: Names to look for, in lower case.
    """
    if len(text) <= limit:
        return text
    head, _, body = text.partition("\n")
    total = body.count("\n") + 1
    room = limit - len(head) - len(_note(total, total)) - 2
    kept = extract(body, room, terms).strip("\n")
    if not kept:
        return f"{head}\n(the beginning of it)\n{body[: max(0, room)]}"[:limit]
    return f"{head}\n{_note(kept.count(chr(10)) + 1, total)}\n{kept}"[:limit]


def _note(kept: int, total: int) -> str:
    return f"({kept} of {total} lines; call again to see all)"


def _scores(lines: Sequence[str], terms: frozenset[str]) -> list[int]:
    plain = [_TIME.sub("", line) for line in lines]
    outliers = _outliers(plain)
    named = [_names(line, terms) for line in plain]
    seen = Counter(term for found in named for term in found)
    telling = {term for term, count in seen.items() if count <= max(1, _COMMON_SHARE * len(lines))}
    alike: Counter[str] = Counter()
    scores = []
    for index, line in enumerate(plain):
        score = 0
        score += 2 * (index < HEADER_LINES and bool(line.strip()))
        score += 3 * bool(_TROUBLE.search(line))
        score += 3 * bool(named[index] & telling)
        shape = _NUMBER.sub("#", line)
        scores.append(max(0, score - alike[shape]) + 2 * (index in outliers))
        alike[shape] += 1
    return scores


def _names(line: str, terms: frozenset[str]) -> set[str]:
    """Return the terms that a line names, also by objects called after one (``web-6f9c``)."""
    found: set[str] = set()
    for word in map(str.lower, _WORD.findall(line) if terms else ()):
        stems = (word[: match.start()] for match in re.finditer("-", word))
        found |= terms & {word, *stems}
    return found


def _outliers(lines: Sequence[str]) -> set[int]:
    """Return the lines with a number that stands out among those at its place in like lines."""
    shapes: dict[int, list[tuple[int, list[float]]]] = {}
    for index, line in enumerate(lines):
        numbers = [float(n) for n in _NUMBER.findall(line)]
        if numbers:
            shapes.setdefault(len(numbers), []).append((index, numbers))
    found: set[int] = set()
    for rows in shapes.values():
        if len(rows) < _COLUMN:
            continue
        for column in zip(*(numbers for _, numbers in rows), strict=True):
            middle = median(column)
            spread = median(abs(n - middle) for n in column)
            far = (abs(n - middle) > _DEVIATIONS * spread for n in column)
            found |= {index for (index, _), out in zip(rows, far, strict=True) if out}
    return found
