"""Regular expressions from outside, compiled so that matching cannot run away.

Prometheus and Loki use RE2 and GNU grep a DFA: linear time whatever the pattern. Python's ``re``
backtracks, so patterns whose matching may take exponential time are refused, and so is what RE2
does not have (backreferences, conditionals). Not here: where patterns come from.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from functools import lru_cache

MAX_LENGTH = 1000
MAX_COUNT = 1000
"""Largest ``{n}``, as in RE2."""
MAX_UNBOUNDED = 10
"""Repeats without an upper bound in one pattern."""
MAX_ATTEMPTS = 1e9
"""Ways to match one text that a search may try, some seconds' worth."""
_SMALL_COUNT = 4
"""Up to this many rounds, a repeated choice stays affordable: ``(\\d+\\.){3}\\d+``."""
_POSIX = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z",
    "space": r"\s", "blank": r" \t", "xdigit": "0-9A-Fa-f", "word": r"\w",
    "punct": r"!-/:-@\[-`{-~",
}  # fmt: skip
_POSIX_CLASS = re.compile(rf"\[:({'|'.join(_POSIX)}):\]")
_TOKEN = re.compile(
    r"(?P<refused>\\[1-9]|\(\?P=|\(\?\(|\(\?[a-zA-Z-]*x[a-zA-Z-]*[:)])"
    r"|(?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<flags>\(\?[a-zA-Z]+\)|\(\?#[^)]*\))"
    r"|(?P<open>\((?:\?(?:P<\w+>|<[=!]|[:=!>]|[a-zA-Z-]+:))?)"
    r"|(?P<close>\))"
    r"|(?P<or>\|)"
    r"|(?P<repeat>(?:[*+?]|\{(?:(?P<low>\d+)(?P<comma>,)?|(?P<upto>,))(?P<high>\d*)\})[?+]?)"
    r"|(?P<other>.)",
    re.DOTALL,
)


@lru_cache(maxsize=512)
def compile_bounded(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Compile a pattern; POSIX classes such as ``[[:space:]]`` are understood.

    Raises:
        re.error: Malformed, too long, or matching it could take exponential time.
    """
    if len(pattern) > MAX_LENGTH:
        raise re.error(f"longer than {MAX_LENGTH} characters")
    translated = _translated(pattern)
    try:
        with warnings.catch_warnings():
            # "[[" may mean something else in a later Python; here it means what it does now.
            warnings.simplefilter("ignore", FutureWarning)
            compiled = re.compile(translated, flags)
    except (RecursionError, OverflowError) as error:
        raise re.error(f"too complex: {error}") from error
    _check(translated)
    return compiled


def _translated(pattern: str) -> str:
    """Spell out POSIX classes."""
    return _POSIX_CLASS.sub(lambda m: _POSIX[m[1]], pattern)


def _check(pattern: str) -> None:
    """Refuse repeated groups that hold a choice: there backtracking multiplies."""
    choices = [0]
    """For every open group: 1 if it holds a choice, which is a variable repeat or an alternation; 2
    if it holds a repeated choice.
    """
    closed, unbounded = 0, 0
    """The same of the group that just ended; it matters if a repeat follows."""
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup
        if token["repeat"] is not None:
            low, high = _bounds(token)
            rounds = math.inf if high is None else high
            if closed and rounds > (_SMALL_COUNT if closed == 1 else 1):
                raise re.error(
                    f"{token[0]!r} repeats a group that holds a repeat or an alternation;"
                    " write it without, for instance with a character class"
                )
            if (high or low) > MAX_COUNT:
                raise re.error(f"a repeat of more than {MAX_COUNT}")
            unbounded += high is None
            choices[-1] = max(choices[-1], int(low != high), 2 if closed and rounds > 1 else 0)
            closed = 0
            continue
        closed = 0
        if kind == "refused":
            raise re.error("backreferences, conditionals and verbose patterns are not supported")
        if kind == "open":
            choices.append(0)
        elif kind == "or":
            choices[-1] = max(choices[-1], 1)
        elif kind == "close" and len(choices) > 1:
            closed = choices.pop()
            choices[-1] = max(choices[-1], closed)
    if unbounded > MAX_UNBOUNDED:
        raise re.error(f"more than {MAX_UNBOUNDED} repeats without an upper bound")


def attempts(pattern: str, length: int) -> float:
    """Bound how many ways a backtracking matcher may try on a text of so many characters.

    Repeats without an upper bound divide the text among them; others each have their own choice.
    """
    unbounded, choices = 0, 1.0
    for token in _TOKEN.finditer(pattern):
        if token["repeat"] is not None:
            low, high = _bounds(token)
            unbounded += high is None
            choices *= 1 if high is None else min(high - low, length) + 1
    return math.comb(length + unbounded, unbounded) * choices


def search(pattern: str, text: str, flags: int = 0) -> re.Match[str] | None:
    """Search a text for a pattern.

    Raises:
        re.error: As :func:`compile_bounded`, or the text is too long for the pattern.
    """
    compiled = compile_bounded(pattern, flags)
    if attempts(pattern, len(text)) > MAX_ATTEMPTS:
        raise re.error("too complex for a text of this length")
    return compiled.search(text)


def repeats(pattern: str) -> tuple[int, float]:
    """Count what a search may try: repeats that divide a text in many ways, and other choices.

    Returns how many such repeats have no upper bound, and in how many ways the others can go. A
    repeat that cannot swallow what must follow it, as in ``[a-z]+ ``, ends in one place only; the
    last one of a pattern ends where it likes.
    """
    tokens = list(_TOKEN.finditer(_translated(pattern)))
    unbounded, choices = 0, 1.0
    for place, token in enumerate(tokens):
        if token["repeat"] is None:
            continue
        low, high = _bounds(token)
        if high is not None:
            choices *= high - low + 1
        elif not _ends_in_one_place(tokens, place):
            unbounded += 1
    return unbounded, choices


def _ends_in_one_place(tokens: Sequence[re.Match[str]], place: int) -> bool:
    """Say whether the repeat at a place is the last token, or cannot match the one behind it."""
    behind = [t for t in tokens[place + 1 :] if t.lastgroup not in ("open", "close")]
    if not behind:
        return all(t.lastgroup == "close" for t in tokens[place + 1 :])
    follower, repeated = behind[0], tokens[place - 1] if place else None
    literal = follower[0].removeprefix("\\")
    if repeated is None or repeated.lastgroup not in ("atom", "other") or len(literal) != 1:
        return False
    if follower[0] in ".^$" or (follower[0][0] == "\\" and literal.isalnum()):
        return False
    if len(behind) > 1 and behind[1]["repeat"] is not None and _bounds(behind[1])[0] == 0:
        return False
    return compile_bounded(repeated[0], re.IGNORECASE).match(literal) is None


def _bounds(token: re.Match[str]) -> tuple[int, int | None]:
    """Return the least and greatest number of rounds of a repeat; None is unbounded."""
    match token["repeat"][0]:
        case "*":
            return 0, None
        case "+":
            return 1, None
        case "?":
            return 0, 1
    low = int(token["low"] or 0)
    if token["comma"] or token["upto"]:
        return low, int(token["high"]) if token["high"] else None
    return low, low
