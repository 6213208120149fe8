"""Regular expressions on log lines, fast for what people write and with an end in sight.

Loki has RE2, which takes linear time; Python's matcher backtracks. So ``.*`` at the ends is cut
off, words are looked for as words, a line without the pattern's first word is passed over, and the
work of what is left is bounded over all lines. Not here: which patterns are refused at once
(``regex``).
"""

from __future__ import annotations

import math
import re

from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.regex import compile_bounded, repeats

MAX_ATTEMPTS = 2e9
"""Steps of matching all lines at worst: some seconds. One takes about a nanosecond."""
_PLAIN = r"[A-Za-z0-9_ :/=\"',<>@;%#~!&-]"
_LITERALS = re.compile(rf"\(?(?:\?:)?({_PLAIN}+(?:\|{_PLAIN}+)*)\)?")
_WORD = re.compile(rf"(?:{_PLAIN}(?![*?{{|]))+")
_FOLD = "(?i)"


class LineSearch:
    """A pattern that is searched for anywhere in lines.

    Args:
        pattern: The expression.
        exact: What the match and its groups cover matters, not only whether there is one.

    Raises:
        re.error: The pattern is malformed or refused.
    """

    def __init__(self, pattern: str, *, exact: bool = False) -> None:
        self._shown = pattern
        self._compiled = compile_bounded(pattern)
        self._fold = pattern.startswith(_FOLD)
        core = pattern.removeprefix(_FOLD)
        if not exact:
            core = _core(core)
            self._compiled = compile_bounded(_FOLD + core if self._fold else core)
        literal = _LITERALS.fullmatch(core)
        balanced = core.startswith("(") == core.endswith(")")
        self._words = self._cased(literal[1]).split("|") if literal and balanced else []
        first = None if "|" in core else _WORD.match(core)
        self._first = self._cased(first[0]) if first else ""
        self._unbounded, self._choices = repeats(core)
        self._left = MAX_ATTEMPTS

    def found(self, line: str) -> bool:
        """Say whether the pattern is found.

        Raises:
            QueryError: All lines together may take too long.
        """
        text = self._folded(line)
        if text is not None and self._words:
            return any(word in text for word in self._words)
        return self._worthwhile(line, text) and self._compiled.search(line) is not None

    def match(self, line: str) -> re.Match[str] | None:
        """Return the first match; raises as ``found``."""
        return self._compiled.search(line) if self._worthwhile(line, self._folded(line)) else None

    def _folded(self, line: str) -> str | None:
        """Return the line as words are looked for in it; None where folding is not that simple."""
        if not self._fold:
            return line
        return line.lower() if line.isascii() else None

    def _worthwhile(self, line: str, text: str | None) -> bool:
        """Say whether the first word is there, and account for the ways to match from it on."""
        known = text is not None and self._first
        starts = text.count(self._first) if text is not None and known else len(line) + 1
        if known and not starts:
            return False
        if not self._unbounded and self._choices == 1.0:
            return True
        ways = math.comb(len(line) + self._unbounded, self._unbounded) * self._choices
        self._left -= starts * ways
        if self._left < 0:
            raise QueryError(
                f"regex {self._shown!r} may take too long on these lines; use fewer repeats, or"
                " filter for a word first"
            )
        return True

    def _cased(self, text: str) -> str:
        return text.lower() if self._fold else text


def _core(pattern: str) -> str:
    """Cut ``.*`` off the ends, which changes nothing about whether a pattern is found.

    With a choice at the top, the ends belong to its first and last branch: the same holds there.
    """
    core = pattern
    while core.startswith(".*"):
        core = core[2:].removeprefix("?")
        if core[:1] in ("+", "{"):
            return pattern
    while core.endswith(".*") and not core.endswith("\\.*"):
        core = core[:-2]
    return core
