"""LogQL text to tokens, each with its place for error messages, and the quantities in it.

Durations and sizes are read as Loki reads them (``model.ParseDuration``, ``humanize.ParseBytes``).
Not here: grammar (``parser``, ``expressions``).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from aiopslab.telemetry.promql.durations import UNITS_S
from aiopslab.telemetry.promql.values import QueryError

Kind = Literal["IDENTIFIER", "STRING", "NUMBER", "DURATION", "BYTES", "FLAG", "OPERATOR", "$end"]

_BYTE_UNITS = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15, "eb": 10**18,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "pib": 2**50, "eib": 2**60,
    "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15, "e": 10**18,
    "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40, "pi": 2**50, "ei": 2**60, "": 1,
}  # fmt: skip
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_DURATION = rf"(?:{_NUMBER}(?:ns|us|µs|μs|ms|[smhdwy]))+"
_BYTES = rf"{_NUMBER}(?:[KMGTPEkmgtpe][iI]?)?[bB]"
_TOKEN = re.compile(
    rf"(?P<blank>[ \t\r\n]+|#[^\n]*)"
    rf'|(?P<STRING>"(?:[^"\\\n]|\\.)*"|`[^`]*`)'
    rf"|(?P<DURATION>{_DURATION})(?![\w.])"
    rf"|(?P<BYTES>{_BYTES})(?![\w.])"
    rf"|(?P<NUMBER>0[xX][0-9a-fA-F]+|{_NUMBER}(?:[eE][+-]?\d+)?)(?![\w.])"
    rf"|(?P<FLAG>--[a-z][a-z-]*)"
    rf"|(?P<IDENTIFIER>[A-Za-z_][A-Za-z0-9_]*)"
    rf"|(?P<OPERATOR>\|=|\|~|\|>|!=|!~|!>|=~|==|>=|<=|[{{}}()\[\],|=<>+\-*/%^@])"
)
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Token:
    """One token: ``text`` as written, or what a string says; ``at`` is its offset."""

    kind: Kind
    text: str
    at: int

    @property
    def shown(self) -> str:
        """The token in Loki's error messages: its kind, or itself for operators."""
        return self.text if self.kind == "OPERATOR" else self.kind


def tokenize(query: str) -> list[Token]:
    """Split a query; the last token is ``$end``.

    Raises:
        QueryError: A character or a string cannot be read; says where.
    """
    check_text(query)
    tokens: list[Token] = []
    place = 0
    while place < len(query):
        match = _TOKEN.match(query, place)
        if match is None:
            broken = "literal not terminated" if query[place] in "\"`'" else (
                f"syntax error: unexpected character {query[place]!r}"
            )  # fmt: skip
            raise error(query, place, broken)
        kind = match.lastgroup
        if kind != "blank":
            text = match[0]
            if kind == "STRING":
                text = unquoted(query, place, text)
            tokens.append(Token(kind, text, place))  # type: ignore[arg-type]  # a group's name
        place = match.end()
    tokens.append(Token("$end", "", len(query)))
    return tokens


def check_text(query: str) -> None:
    """Refuse halves of surrogate pairs: no answer that repeats them could be written down.

    Raises:
        QueryError: There is one.
    """
    try:
        query.encode()
    except UnicodeEncodeError as problem:
        raise error(query, problem.start, "invalid UTF-8 encoding") from problem


def error(query: str, place: int, message: str) -> QueryError:
    """Word an error as Loki does, with line and column counted from 1."""
    line = query.count("\n", 0, place) + 1
    column = place - (query.rfind("\n", 0, place) + 1) + 1
    return QueryError(f"parse error at line {line}, col {column}: {message}")


def parse_duration(text: str) -> float | None:
    """Return the seconds of ``1h30m``, ``250ms``, ``-5s``; None if it is no duration.

    >>> parse_duration("1m30s"), parse_duration("12"), parse_duration("0")
    (90.0, None, 0.0)
    """
    sign, plain = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if plain == "0":
        return 0.0
    if not re.fullmatch(_DURATION, plain):
        return None
    parts = re.findall(rf"({_NUMBER})(ns|us|µs|μs|ms|[smhdwy])", plain)
    return sign * sum(float(number) * UNITS_S[unit] for number, unit in parts)


def parse_bytes(text: str) -> float | None:
    """Return the bytes of ``12KB``, ``1.5 MiB``, ``300``; None if it is no size.

    >>> parse_bytes("1.5KiB"), parse_bytes("2 MB"), parse_bytes("x")
    (1536.0, 2000000.0, None)
    """
    match = re.fullmatch(rf"({_NUMBER})\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].lower() not in _BYTE_UNITS:
        return None
    return float(match[1]) * _BYTE_UNITS[match[2].lower()]


def literal(text: str) -> float:
    """Return the value of a NUMBER token; what no float can hold is infinite."""
    if text[:2].lower() != "0x":
        return float(text)
    try:
        return float(int(text, 16))
    except OverflowError:
        return math.inf


def parse_number(text: str) -> float | None:
    """Return a number as Go's ``ParseFloat`` reads it; None if it is none."""
    try:
        # Python also takes "1_000" and blanks around, Go does not.
        return None if "_" in text or text != text.strip() else float(text)
    except ValueError:
        return None


def unquoted(query: str, place: int, text: str) -> str:
    """Return what a quoted string says, with Go's escapes.

    Raises:
        QueryError: An escape is unknown.
    """
    if text[0] == "`":
        return text[1:-1]

    def replaced(match: re.Match[str]) -> str:
        code = match[1]
        if code in _ESCAPES:
            return _ESCAPES[code]
        point = int(code[1:], 16) if code[0] in "xuU" and len(code) > 1 else -1
        if len(code) == 3 and code.isdigit():
            point = int(code, 8)
        # Half a surrogate pair is no character: no answer could carry it.
        if 0 <= point < 0xD800 or 0xE000 <= point < 0x110000:
            return chr(point)
        raise error(query, place, "invalid syntax in string literal: unknown escape sequence")

    return _ESCAPE.sub(replaced, text[1:-1])
