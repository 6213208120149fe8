"""The grammar of TraceQL's search, and its errors in Tempo's words.

Span sets in braces with comparisons, ``&&``, ``||``, ``!`` and parentheses, and ``&&`` and ``||``
between sets. Pipelines, structural operators and arithmetic are refused by name. Not here:
meaning (``masks``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from aiopslab.telemetry.logql.tokens import check_text, error, parse_duration, unquoted
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.regex import compile_bounded
from aiopslab.telemetry.traceql.fields import INTRINSICS, KINDS, SPELLINGS, STATUSES, Scalar, Scope
from aiopslab.telemetry.traceql.tree import (
    Comparison,
    Condition,
    Every,
    Logic,
    Not,
    Search,
    SpanSet,
    SpanSets,
)

MAX_LENGTH = 5_000
MAX_DEPTH = 40
MAX_DIGITS = 18
"""Of an integer: more may be none that Go can hold."""
_TOKEN = re.compile(
    r"(?P<blank>[ \t\r\n]+)"
    r'|(?P<STRING>"(?:[^"\\\n]|\\.)*"|`[^`]*`)'
    r"|(?P<DURATION>(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|[smhd]))+)(?![\w.])"
    r"|(?P<NUMBER>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])"
    r'|(?P<FIELD>(?:span|resource|event|link|instrumentation|parent)?\.(?:[\w./-]|"[^"]*")+)'
    r"|(?P<WORD>[A-Za-z_]\w*(?::[A-Za-z]\w*)?)"
    r"|(?P<OPERATOR>&&|\|\||!=|!~|=~|>>|<<|<=|>=|!>|!<|[{}()=<>!|~+\-*/%^,&])"
)
_COMPARE = ("=", "!=", "<", "<=", ">", ">=", "=~", "!~")
_REFUSED = {
    ">>": "the structural operator >>", "<<": "the structural operator <<",
    ">": "the structural operator >", "<": "the structural operator <", "~": "the operator ~",
    "|": "pipelines (count(), avg(), select(), rate(), by())",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


@lru_cache(maxsize=128)
def parse(query: str) -> Search:
    """Parse a search.

    Raises:
        QueryError: Malformed or not supported, with line and column.
    """
    if len(query) > MAX_LENGTH:
        raise QueryError(f"the query is longer than {MAX_LENGTH} characters")
    return _Parser(query).whole()


def field_of(text: str) -> tuple[Scope, str] | None:
    """Read the name of a field: ``resource.x``, ``span.x``, ``.x`` or an intrinsic; else None."""
    if text in INTRINSICS or text in SPELLINGS:
        return "intrinsic", SPELLINGS.get(text, text)
    scope, _, name = text.partition(".")
    name = name.replace('"', "")
    if scope in ("span", "resource") and name:
        return scope, name  # type: ignore[return-value]  # one of the two
    return ("any", name) if not scope and name else None


class _Parser:
    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens = list(_tokens(query))
        self._place = 0
        self._depth = 0

    def whole(self) -> Search:
        if self._token.kind == "$end":
            # An empty query asks for every trace, as in Tempo's search.
            return SpanSet(Every())
        found = self._sets()
        if self._token.kind != "$end":
            refused = _REFUSED.get(self._token.text)
            if refused:
                self._fail(f"not supported between or after span sets: {refused}")
            self._unexpected()
        return found

    # -- tokens -----------------------------------------------------------------------------------

    @property
    def _token(self) -> _Token:
        return self._tokens[self._place]

    def _accept(self, text: str) -> bool:
        found = self._token.kind == "OPERATOR" and self._token.text == text
        self._place += found
        return found

    def _take(self) -> _Token:
        token = self._token
        self._place += token.kind != "$end"
        return token

    def _unexpected(self) -> NoReturn:
        token = self._token
        shown = token.text if token.kind == "OPERATOR" else token.kind
        self._fail(f"syntax error: unexpected {shown}")

    def _fail(self, message: str) -> NoReturn:
        raise error(self._query, self._token.at, message)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"more than {MAX_DEPTH} nested expressions")

    # -- sets of spans ----------------------------------------------------------------------------

    def _sets(self) -> Search:
        left = self._both()
        while self._accept("||"):
            left = SpanSets("||", left, self._both())
        return left

    def _both(self) -> Search:
        left = self._set()
        while self._accept("&&"):
            left = SpanSets("&&", left, self._set())
        return left

    def _set(self) -> Search:
        if self._accept("("):
            self._deeper()
            inner = self._sets()
            self._close(")")
            return inner
        if not self._accept("{"):
            self._unexpected()
        self._deeper()
        condition: Condition = Every()
        if not (self._token.kind == "OPERATOR" and self._token.text == "}"):
            condition = self._condition()
        self._close("}")
        return SpanSet(condition)

    def _close(self, mark: str) -> None:
        if not self._accept(mark):
            self._unexpected()
        self._depth -= 1

    # -- conditions -------------------------------------------------------------------------------

    def _condition(self) -> Condition:
        left = self._conjunction()
        while self._accept("||"):
            left = Logic("||", left, self._conjunction())
        return left

    def _conjunction(self) -> Condition:
        left = self._term()
        while self._accept("&&"):
            left = Logic("&&", left, self._term())
        return left

    def _term(self) -> Condition:
        if self._accept("!"):
            self._deeper()
            inner = self._term()
            self._depth -= 1
            return Not(inner)
        if self._accept("("):
            self._deeper()
            inner = self._condition()
            self._close(")")
            return inner
        if self._token.kind == "WORD" and self._token.text in ("true", "false"):
            return Every() if self._take().text == "true" else Not(Every())
        field = field_of(self._token.text) if self._token.kind in ("FIELD", "WORD") else None
        if field is None:
            if self._token.kind in ("FIELD", "WORD"):
                self._fail(f"the field {self._token.text!r} is not supported")
            self._unexpected()
        self._take()
        return self._comparison(*field)

    def _comparison(self, scope: Scope, name: str) -> Condition:
        token = self._token
        if token.kind != "OPERATOR" or token.text not in _COMPARE:
            if token.text in ("+", "-", "*", "/", "%", "^"):
                self._fail("arithmetic is not supported")
            # A field by itself is a truth value.
            return Comparison(scope, name, "=", True)
        op = self._take().text
        value = self._literal()
        if value is None and op not in ("=", "!="):
            self._fail("nil can only be compared with = and !=")
        if "~" in op:
            self._regex(value)
        elif scope == "intrinsic":
            self._check(name, op, value)
        return Comparison(scope, name, op, value)  # type: ignore[arg-type]  # one of _COMPARE

    def _literal(self) -> Scalar:
        token = self._token
        match token.kind:
            case "STRING":
                value: Scalar = unquoted(self._query, token.at, token.text)
            case "DURATION":
                value = parse_duration(token.text) or 0.0
            case "NUMBER" if re.search(r"[.eE]", token.text):
                value = float(token.text)
            case "NUMBER":
                if len(token.text) > MAX_DIGITS:
                    self._fail("value out of range")
                value = int(token.text)
            case "WORD" if token.text in ("true", "false"):
                value = token.text == "true"
            case "WORD" if token.text in STATUSES or token.text in KINDS:
                value = token.text
            case "WORD" if token.text == "nil":
                value = None
            case "FIELD" | "WORD":
                self._fail("fields can only be compared with literals")
            case _:
                self._unexpected()
        self._take()
        return value

    def _regex(self, value: Scalar) -> None:
        if not isinstance(value, str):
            self._fail("a regular expression is a string")
        try:
            compile_bounded(value)
        except re.error as problem:
            self._fail(f"invalid regex: {problem}")

    def _check(self, name: str, op: str, value: Scalar) -> None:
        """Refuse literals that an intrinsic is never compared with."""
        if value is None:
            return
        timed = name in ("duration", "traceDuration")
        if timed != isinstance(value, float | int) or isinstance(value, bool):
            wanted = "a duration such as 100ms" if timed else "text"
            self._fail(f"binary operations must operate on the same type: {name} is {wanted}")
        known = {"status": STATUSES, "kind": KINDS}.get(name)
        if known is not None and (value not in known or op not in ("=", "!=")):
            self._fail(f"{name} is one of {', '.join(known)}, compared with = or !=")


def _tokens(query: str) -> list[_Token]:
    check_text(query)
    found: list[_Token] = []
    place = 0
    while place < len(query):
        match = _TOKEN.match(query, place)
        if match is None:
            raise error(query, place, f"syntax error: unexpected character {query[place]!r}")
        if match.lastgroup != "blank":
            found.append(_Token(match.lastgroup or "", match[0], place))
        place = match.end()
    return [*found, _Token("$end", "", len(query))]
