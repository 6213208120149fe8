"""Tokens of PromQL with their places, for messages about malformed queries.

What is not a token becomes an ``error`` token with Prometheus' words (``promql/parser/lex.go``).
Queries that are fine never come here: they are parsed by promql-parser.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

AGGREGATORS = frozenset(
    {"avg", "bottomk", "count", "count_values", "group", "limit_ratio", "limitk", "max", "min",
     "quantile", "stddev", "stdvar", "sum", "topk"}
)  # fmt: skip
KEYWORDS = frozenset(
    {"bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "without"}
)
WORD_OPERATORS = frozenset({"and", "atan2", "or", "unless"})
Kind = Literal[
    "identifier", "metric identifier", "number", "duration", "string", "operator", "keyword",
    "aggregator", "mark", "end of input", "error",
]  # fmt: skip
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_TOKEN = re.compile(
    rf"(?P<skip>\s+|\#[^\n]*)|(?P<duration>{_DURATION})\b"
    r"|(?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.]))"
    r"|(?P<word>[a-zA-Z_:][\w:]*)"
    r"|(?P<string>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`[^`]*`)"
    r"|(?P<operator>==|=~|!=|!~|>=|<=|[-+*/%^<>])|(?P<mark>[(){}\[\],:=@])",
    re.ASCII,
)
_BAD_NUMBER = re.compile(r"[\d.]+")


@dataclass(frozen=True, slots=True)
class Token:
    """One token and where it begins."""

    kind: Kind
    text: str
    start: int

    def described(self) -> str:
        """Return the token as messages name it."""
        if self.kind == "end of input":
            return self.kind
        if self.kind in ("operator", "keyword", "aggregator"):
            prefix = {"operator": "op:", "keyword": "", "aggregator": "aggr:"}[self.kind]
            return f"<{prefix}{self.text}>"
        shown = json.dumps(self.text, ensure_ascii=False)
        if self.kind not in ("identifier", "metric identifier") and len(self.text) > 10:
            shown = json.dumps(self.text[:10], ensure_ascii=False) + "..."
        return shown if self.kind == "mark" else f"{self.kind} {shown}"


def tokens(query: str) -> list[Token]:
    """Split a query; the last token is the end of the input or an error."""
    found: list[Token] = []
    open_marks: list[str] = []
    at = 0
    while at < len(query):
        # In brackets a colon parts range and step; elsewhere it may begin a name.
        colon = query[at] == ":" and open_marks[-1:] == ["["]
        match = _TOKEN.match(query, at, at + 1 if colon else len(query))
        if colon:
            found.append(Token("mark", ":", at))
        elif match is None:
            return [*found, _unreadable(query, at, open_marks)]
        elif match.lastgroup != "skip":
            token = Token(_kind(match), match[0], at)
            if wrong := _misplaced(token, open_marks) or _nested(token, open_marks):
                return [*found, wrong]
            found.append(token)
        at = match.end() if match else at + 1
    if open_marks:
        return [*found, Token("error", _UNCLOSED[open_marks[-1]], at)]
    return [*found, Token("end of input", "", at)]


def _misplaced(token: Token, open_marks: list[str]) -> Token | None:
    """Return an error for what can only stand outside of braces, or only inside."""
    if open_marks[-1:] == ["{"]:
        if token.kind in ("number", "duration") or token.text in tuple("()[]:@+-*/%^<>"):
            shown = f"unexpected character inside braces: '{token.text[0]}'"
            return Token("error", shown, token.start)
    elif token.text in ("=~", "!~"):
        shown = f"unexpected character after '{token.text[0]}': '~'"
        return Token("error", shown, token.start)
    return None


_UNCLOSED = {
    "(": "unclosed left parenthesis",
    "[": "unclosed left bracket",
    "{": "unexpected end of input inside braces",
}
_STRAY = {
    ")": "unexpected right parenthesis ')'",
    "]": "unexpected right bracket ']'",
    "}": "unexpected character: '}'",
}
_OPENS = {")": "(", "]": "[", "}": "{"}


def _nested(token: Token, open_marks: list[str]) -> Token | None:
    """Keep track of parentheses; return an error for one that closes nothing."""
    if token.kind != "mark":
        return None
    if token.text in _UNCLOSED:
        open_marks.append(token.text)
    elif opening := _OPENS.get(token.text):
        if opening not in open_marks:
            # Prometheus' lexer has passed the parenthesis before it complains.
            place = token.start + (token.text == ")")
            return Token("error", _STRAY[token.text], place)
        while open_marks.pop() != opening:
            pass  # one inside was not closed: the reader will meet the wrong token first
    return None


def _kind(match: re.Match[str]) -> Kind:
    text = match[0].lower()
    match match.lastgroup:
        case "duration":
            return "duration"
        case "number":
            return "number"
        case "string":
            return "string"
        case "operator":
            return "operator"
        case "mark":
            return "mark"
    if text in ("inf", "nan"):
        return "number"
    if text in WORD_OPERATORS:
        return "operator"
    if text in AGGREGATORS:
        return "aggregator"
    if text in KEYWORDS:
        return "keyword"
    return "metric identifier" if ":" in text else "identifier"


def _unreadable(query: str, at: int, open_marks: list[str]) -> Token:
    char = query[at]
    if char in "\"'":
        return Token("error", "unterminated quoted string", at)
    if char == "`":
        return Token("error", "unterminated raw string", at)
    if char == "!":
        after = query[at + 1 : at + 2]
        return Token("error", f"unexpected character after '!': {after!r}", at)
    if open_marks[-1:] == ["{"]:
        return Token("error", f"unexpected character inside braces: {char!r}", at)
    if number := _BAD_NUMBER.match(query, at):
        return Token("error", f'bad number or duration syntax: "{number[0]}"', at)
    return Token("error", f"unexpected character: {char!r}", at)
