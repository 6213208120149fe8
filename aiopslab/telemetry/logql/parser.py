"""The grammar of log queries: stream selectors and pipeline stages.

Recursive descent over ``tokens``; errors carry Loki's words and a place. Metric expressions, which
are built around log queries, are in ``expressions``; what stages do is in ``stages``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from aiopslab.telemetry.logql import tokens
from aiopslab.telemetry.logql.tokens import Kind, Token
from aiopslab.telemetry.logql.tree import (
    Capture,
    Decolorize,
    Extract,
    LabelFilter,
    LabelFormat,
    LabelLogic,
    LabelNumber,
    LabelText,
    LineFilter,
    LineFormat,
    LogQuery,
    Matcher,
    Select,
    Stage,
    Unwrap,
)
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.regex import compile_bounded

MAX_LENGTH = 5_000
"""Characters of a query."""
MAX_DEPTH = 40
"""Parentheses inside each other."""
_MATCH = ("=", "!=", "=~", "!~")
_LINE = ("|=", "|~", "!=", "!~")
_COMPARE = ("==", "=", "!=", ">", ">=", "<", "<=")
_CONVERSIONS = {
    "duration": "duration", "duration_seconds": "duration", "bytes": "bytes",
}  # fmt: skip


class Parser:
    """Reads one query from left to right.

    Args:
        query: The text.

    Raises:
        QueryError: It is too long or cannot be split into tokens.
    """

    def __init__(self, query: str) -> None:
        if len(query) > MAX_LENGTH:
            raise QueryError(f"input size too long ({len(query)} > {MAX_LENGTH})")
        self.query = query
        self._tokens = tokens.tokenize(query)
        self._place = 0
        self._depth = 0
        self._stages: dict[str, Callable[[], Stage]] = {
            "json": self._json, "logfmt": self._logfmt, "regexp": self._capture,
            "pattern": self._capture, "line_format": self._line_format,
            "label_format": self._label_format, "drop": self._select, "keep": self._select,
            "decolorize": self._decolorize,
        }  # fmt: skip

    # -- tokens -----------------------------------------------------------------------------------

    @property
    def token(self) -> Token:
        """The token that comes next."""
        return self._tokens[self._place]

    def ahead(self) -> Token:
        """Return the token behind the next one."""
        return self._tokens[min(self._place + 1, len(self._tokens) - 1)]

    def ahead_is(self, *texts: str) -> bool:
        """Say whether an operator or word stands behind the next token."""
        return self.ahead().kind in ("OPERATOR", "IDENTIFIER") and self.ahead().text in texts

    def take(self) -> Token:
        """Go on by one token and return it."""
        token = self.token
        self._place = min(self._place + 1, len(self._tokens) - 1)
        return token

    def at(self, *texts: str) -> bool:
        """Say whether an operator or word comes next."""
        return self.token.kind in ("OPERATOR", "IDENTIFIER") and self.token.text in texts

    def accept(self, *texts: str) -> bool:
        """Take an operator or word if it comes next."""
        found = self.at(*texts)
        if found:
            self.take()
        return found

    def expect(self, text: str) -> None:
        """Take an operator or word that must come next."""
        if not self.accept(text):
            self.unexpected(text)

    def expect_kind(self, kind: Kind) -> str:
        """Take a token of a kind that must come next; returns its text."""
        if self.token.kind != kind:
            self.unexpected(kind)
        return self.take().text

    def unexpected(self, *wanted: str) -> NoReturn:
        """Refuse the next token."""
        message = f"syntax error: unexpected {self.token.shown}"
        if wanted:
            message += f", expecting {' or '.join(wanted)}"
        self.fail(message)

    def fail(self, message: str, token: Token | None = None) -> NoReturn:
        """Refuse the query at a token, by default the next one."""
        raise self.refusal(message, token)

    def refusal(self, message: str, token: Token | None = None) -> QueryError:
        """Word the refusal of the query at a token, by default the next one."""
        return tokens.error(self.query, (token or self.token).at, message)

    def deeper(self) -> None:
        """Enter a parenthesis; refuse what is nested beyond reason."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} nested expressions")

    def shallower(self) -> None:
        """Leave a parenthesis."""
        self._depth -= 1

    # -- selectors --------------------------------------------------------------------------------

    def log_query(self) -> LogQuery:
        """Read a selector and the stages behind it."""
        if self.accept("("):
            self.deeper()
            inner = self.log_query()
            self.expect(")")
            self.shallower()
            return LogQuery(inner.matchers, (*inner.stages, *self.stages()))
        return LogQuery(self.selector(), self.stages())

    def selector(self) -> tuple[Matcher, ...]:
        """Read ``{name="value", ...}``."""
        self.expect("{")
        found: list[Matcher] = []
        while not self.at("}"):
            if found:
                self.expect(",")
                if self.at("}"):
                    break
            found.append(self._matcher())
        self.expect("}")
        if not any(_selects(m) for m in found):
            raise QueryError(
                "parse error : queries require at least one regexp or equality matcher that does"
                ' not have an empty-compatible value. For instance, app=~".*" does not meet this'
                ' requirement, but app=~".+" will'
            )
        return tuple(found)

    def _matcher(self) -> Matcher:
        name = self.expect_kind("IDENTIFIER")
        if not self.at(*_MATCH):
            self.unexpected(*_MATCH)
        op = self.take().text
        place = self.token
        value = self.expect_kind("STRING")
        if op in ("=~", "!~"):
            self._regex(value, place)
        return Matcher(name, op, value)  # type: ignore[arg-type]  # one of _MATCH

    def _regex(self, pattern: str, place: Token) -> None:
        """Refuse a regular expression that cannot be compiled."""
        try:
            compile_bounded(pattern)
        except re.error as error:
            self.fail(f"error parsing regexp: {error}: `{pattern}`", place)

    # -- stages -----------------------------------------------------------------------------------

    def stages(self) -> tuple[Stage, ...]:
        """Read stages up to what cannot begin one; ``unwrap`` belongs to metric expressions."""
        found: list[Stage] = []
        while True:
            if self.at(*_LINE):
                found.append(self._line_filter())
            elif self.at("|>", "!>"):
                self.fail(f"pattern line filters ({self.token.text}) are not supported; use |~")
            elif self.at("|") and not self.ahead_is("unwrap"):
                self.take()
                found.append(self._stage())
            else:
                return tuple(found)

    def unwrap(self) -> Unwrap | None:
        """Read ``| unwrap x`` with the filters behind it, if it comes next."""
        if not (self.at("|") and self.ahead_is("unwrap")):
            return None
        self.take()
        self.take()
        name, convert = self.expect_kind("IDENTIFIER"), "number"
        if self.at("("):
            if name not in _CONVERSIONS:
                self.fail(f"unwrap conversion {name!r} is not supported; use duration or bytes")
            self.take()
            convert, name = _CONVERSIONS[name], self.expect_kind("IDENTIFIER")
            self.expect(")")
        filters: list[LabelFilter] = []
        while self.accept("|"):
            filters.append(self.label_filter())
        return Unwrap(name, convert, tuple(filters))  # type: ignore[arg-type]  # a conversion

    def _line_filter(self) -> LineFilter:
        op = self.take().text
        texts = [self._filter_text(op)]
        while self.at("or") and self.ahead().kind in ("STRING", "IDENTIFIER"):
            self.take()
            texts.append(self._filter_text(op))
        return LineFilter(op, tuple(texts))  # type: ignore[arg-type]  # one of _LINE

    def _filter_text(self, op: str) -> str:
        if self.at("ip") and self.ahead_is("("):
            self.fail("ip() filters are not supported; use |~ with a regular expression")
        place = self.token
        text = self.expect_kind("STRING")
        if "~" in op:
            self._regex(text, place)
        return text

    def _stage(self) -> Stage:
        token = self.token
        # A label may be called like a stage: what follows tells.
        if token.kind == "IDENTIFIER" and not self.ahead_is(*_COMPARE, "=~", "!~"):
            if token.text in self._stages:
                return self._stages[token.text]()
            if token.text in ("unpack", "distinct"):
                self.fail(f"the stage {token.text!r} is not supported")
        return self.label_filter()

    def _json(self) -> Stage:
        self.take()
        return Extract("json", self._parameters())

    def _logfmt(self) -> Stage:
        self.take()
        flags = set()
        while self.token.kind == "FLAG":
            if self.token.text not in ("--strict", "--keep-empty"):
                self.fail(f"unknown flag {self.token.text!r} of logfmt")
            flags.add(self.take().text)
        return Extract("logfmt", self._parameters(), "--strict" in flags, "--keep-empty" in flags)

    def _parameters(self) -> tuple[tuple[str, str], ...]:
        """Read ``label="path", other`` behind a parser."""
        found: list[tuple[str, str]] = []
        while self.token.kind == "IDENTIFIER":
            name = self.take().text
            found.append((name, self.expect_kind("STRING") if self.accept("=") else name))
            if not (self.at(",") and self.ahead().kind == "IDENTIFIER"):
                break
            self.take()
        return tuple(found)

    def _capture(self) -> Stage:
        kind = self.take().text
        place = self.token
        text = self.expect_kind("STRING")
        if kind == "regexp":
            self._regex(text, place)
            if not compile_bounded(text).groupindex:
                self.fail("at least one named capture must be supplied", place)
            return Capture("regexp", text)
        return Capture("pattern", text)

    def _line_format(self) -> Stage:
        self.take()
        return LineFormat(self.expect_kind("STRING"))

    def _label_format(self) -> Stage:
        self.take()
        changes: list[tuple[str, str, bool]] = []
        while not changes or self.accept(","):
            place = self.token
            target = self.expect_kind("IDENTIFIER")
            if target in [name for name, _, _ in changes]:
                self.fail(f"multiple label name '{target}' not allowed in a single format", place)
            self.expect("=")
            if self.token.kind == "STRING":
                changes.append((target, self.take().text, True))
            else:
                changes.append((target, self.expect_kind("IDENTIFIER"), False))
        return LabelFormat(tuple(changes))

    def _select(self) -> Stage:
        keep = self.take().text == "keep"
        names: list[str] = []
        matchers: list[Matcher] = []
        while not (names or matchers) or self.accept(","):
            if self.ahead_is(*_MATCH):
                matchers.append(self._matcher())
            else:
                names.append(self.expect_kind("IDENTIFIER"))
        return Select(keep, tuple(names), tuple(matchers))

    def _decolorize(self) -> Stage:
        self.take()
        return Decolorize()

    # -- label filters ----------------------------------------------------------------------------

    def label_filter(self) -> LabelFilter:
        """Read a label filter; ``and`` and a comma bind tighter than ``or``."""
        left = self._conjunction()
        while self.accept("or"):
            left = LabelLogic("or", left, self._conjunction())
        return left

    def _conjunction(self) -> LabelFilter:
        left = self._comparison()
        while self.accept("and", ",") or self.at("(") or self.token.kind == "IDENTIFIER":
            if self.at("or", "by", "without", "offset", "on", "ignoring", "bool", "unless"):
                return left
            left = LabelLogic("and", left, self._comparison())
        return left

    def _comparison(self) -> LabelFilter:
        if self.accept("("):
            self.deeper()
            inner = self.label_filter()
            self.expect(")")
            self.shallower()
            return inner
        name = self.expect_kind("IDENTIFIER")
        op = self.token
        if not self.at(*_COMPARE, "=~", "!~"):
            self.unexpected(*_COMPARE, "=~", "!~")
        self.take()
        value = self.token
        if value.kind == "STRING":
            if op.text not in _MATCH:
                self.unexpected("NUMBER", "DURATION", "BYTES")
            if "~" in op.text:
                self._regex(value.text, value)
            self.take()
            return LabelText(Matcher(name, op.text, value.text))  # type: ignore[arg-type]
        if self.at("ip"):
            self.fail("ip() filters are not supported; use a regular expression")
        if "~" in op.text:
            self.unexpected("STRING")
        return self._quantity(name, op.text)

    def _quantity(self, name: str, op: str) -> LabelNumber:
        sign = -1.0 if self.accept("-") else 1.0
        token = self.token
        match token.kind:
            case "NUMBER":
                value, unit = tokens.literal(token.text), "number"
            case "DURATION":
                value, unit = tokens.parse_duration(token.text) or 0.0, "duration"
            case "BYTES":
                value, unit = tokens.parse_bytes(token.text) or 0.0, "bytes"
            case _:
                self.unexpected("STRING", "NUMBER", "DURATION", "BYTES")
        self.take()
        return LabelNumber(name, op, sign * value, unit)  # type: ignore[arg-type]


def _selects(matcher: Matcher) -> bool:
    """Say whether a matcher needs the label to be there."""
    if matcher.op == "=":
        return matcher.value != ""
    return matcher.op == "=~" and compile_bounded(matcher.value).fullmatch("") is None
