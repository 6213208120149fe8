"""What is wrong with a query, and where, in Prometheus' words.

promql-parser decides whether a query is good, but says little about a bad one and never where. So
a bad one is read again here, by a recogniser that keeps places and types. The words are those of
Prometheus' ``promql/parser``. Not here: the tree that is evaluated (``parsing``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiopslab.telemetry.promql.lexer import Token, tokens

_PRECEDENCE = {
    "or": 1, "and": 2, "unless": 2, "==": 3, "!=": 3, ">": 3, "<": 3, ">=": 3, "<=": 3, "+": 4,
    "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip
_UNARY = 5
_COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
_SETS = ("and", "or", "unless")
_MATCHERS = ("=", "==", "!=", "=~", "!~")
_SCALARS = frozenset({"time", "pi", "scalar", "start", "end", "step", "range", "max_of", "min_of"})
"""Functions that give a scalar; all others give an instant vector."""
_WORDS = {"vector": "instant vector", "matrix": "range vector"}
_MAX_DEPTH = 200


class Malformed(Exception):
    """What is wrong, and at which character."""

    def __init__(self, message: str, start: int) -> None:
        super().__init__(message)
        self.start = start


@dataclass(slots=True)
class _Node:
    """A part of the query with the type that it gives."""

    start: int
    type: str
    name: str = ""
    """Operator, function or aggregation."""
    parts: list[_Node] = field(default_factory=list)
    at: int = 0
    """Where the operator is."""
    grouped: bool = False
    as_bool: bool = False

    def walk(self) -> Iterator[_Node]:
        """Yield the parts, children first."""
        for part in self.parts:
            yield from part.walk()
        yield self


def explain(query: str, message: str) -> str:
    """Return ``line:column: parse error: ...`` for a query that promql-parser refused so."""
    try:
        reader = _Reader(tokens(query))
        tree = reader.whole()
        for node in tree.walk():
            _check(node)
        wrong = _translated(tree, reader.matchers, message)
    except Malformed as error:
        wrong = error
    before = query[: wrong.start].encode()
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return f"{line}:{column}: parse error: {wrong}"


def refuse_early_times(query: str) -> None:
    """Refuse what promql-parser would accept and then not survive: ``@`` before 1970.

    Raises:
        Malformed: There is one.
    """
    found = tokens(query)
    for mark, sign, number in zip(found, found[1:], found[2:], strict=False):
        if (mark.text, sign.text) == ("@", "-") and number.kind == "number":
            raise Malformed(f"timestamp out of bounds for @ modifier: -{number.text}", sign.start)


def _check(node: _Node) -> None:
    """Check the types of a binary, unary or aggregating expression and of a subquery."""
    types = [part.type for part in node.parts]
    if node.type == "subquery" and types[0] != "vector":
        raise Malformed(
            f"subquery is only allowed on instant vector, got {types[0]} instead", node.start
        )
    if node.name.startswith("unary") and types[0] not in ("scalar", "vector"):
        raise Malformed(
            "unary expression only allowed on expressions of type scalar or instant vector, got"
            f' "{_WORDS.get(types[0], types[0])}"',
            node.start,
        )
    if node.name in _PRECEDENCE:
        _check_binary(node, types)


def _check_binary(node: _Node, types: list[str]) -> None:
    operator = node.name
    if node.as_bool and operator not in _COMPARISONS:
        raise Malformed("bool modifier can only be used on comparison operators", node.at)
    if operator in _COMPARISONS and types == ["scalar"] * 2 and not node.as_bool:
        raise Malformed("comparisons between scalars must use BOOL modifier", node.at)
    for part, kind in zip(node.parts, types, strict=True):
        if kind not in ("scalar", "vector"):
            raise Malformed(
                "binary expression must contain only scalar and instant vector types", part.start
            )
    if operator in _SETS and "scalar" in types:
        raise Malformed(
            f'set operator "{operator}" not allowed in binary scalar expression', node.start
        )
    if operator in _SETS and node.grouped:
        raise Malformed(f'no grouping allowed for "{operator}" operation', node.start)


_TYPE = re.compile(r"expected type (\w+) in call to function '(\w+)', got (\w+)")
_AGGREGATE_TYPE = re.compile(r"expected type (\w+) in aggregation expression, got (\w+)")
_AGGREGATE_COUNT = re.compile(
    r"((?:no|wrong number of) arguments for aggregate expression)(?: '\w+')?( provided.*)"
)
_COUNT = re.compile(r"(expected .*argument\(s\) in call to) '(\w+)', got (\d+)")
_UNKNOWN = re.compile(r"unknown function with name '(\w+)'")
_SELECTORS = (
    "an vector selector or matrix selector",
    "an instant vector selector or range vector selector",
)
_REGEX = re.compile(r"illegal regex for (.*)", re.DOTALL)


def _translated(tree: _Node, matchers: dict[str, int], message: str) -> Malformed:
    """Put promql-parser's message into Prometheus' words and find its place."""
    nodes = list(tree.walk())
    if found := _UNKNOWN.match(message):
        start = next((n.start for n in nodes if n.name == found[1]), tree.start)
        return Malformed(f'unknown function with name "{found[1]}"', start)
    if found := _TYPE.match(message):
        wanted, given = _WORDS.get(found[1], found[1]), _WORDS.get(found[3], found[3])
        arguments = (p for n in nodes if n.name == found[2] for p in n.parts if p.type == found[3])
        start = next((argument.start for argument in arguments), tree.start)
        return Malformed(
            f'expected type {wanted} in call to function "{found[2]}", got {given}', start
        )
    if found := _AGGREGATE_TYPE.match(message):
        wanted, given = _WORDS.get(found[1], found[1]), _WORDS.get(found[2], found[2])
        place, what = (-1, "expression") if found[1] == "vector" else (0, "parameter")
        arguments = (n.parts[place] for n in nodes if n.name == "aggregate")
        start = next((a.start for a in arguments if a.type == found[2]), tree.start)
        return Malformed(f"expected type {wanted} in aggregation {what}, got {given}", start)
    if found := _COUNT.match(message):
        calls = (n for n in nodes if n.name == found[2] and len(n.parts) == int(found[3]))
        start = next((call.start for call in calls), tree.start)
        return Malformed(f'{found[1]} "{found[2]}", got {found[3]}', start)
    if found := _AGGREGATE_COUNT.match(message):
        start = next((n.start for n in nodes if n.name == "aggregate"), tree.start)
        return Malformed(found[1] + found[2], start)
    if found := _REGEX.match(message):
        start = next((at for text, at in matchers.items() if found[1] in text), tree.start)
        return Malformed(f"error parsing regexp: `^(?:{found[1]})$`", start)
    return Malformed(message.replace("'", '"').replace(*_SELECTORS), tree.start)


class _Reader:
    """Reads tokens by recursive descent; the first that does not fit raises."""

    def __init__(self, found: list[Token]) -> None:
        self.matchers: dict[str, int] = {}
        """Where the label stands that a string is matched with."""
        self._tokens = found
        self._at = 0
        self._depth = 0

    def whole(self) -> _Node:
        """Read a whole query."""
        if len(self._tokens) == 1 and self._here.kind == "end of input":
            raise Malformed("no expression found in input", 0)
        node = self._expression(0)
        if self._here.text or self._at < len(self._tokens) - 1:
            self._unexpected()
        return node

    @property
    def _here(self) -> Token:
        token = self._tokens[self._at]
        if token.kind == "error":
            raise Malformed(token.text, token.start)
        return token

    def _next(self) -> Token:
        token = self._here
        self._at += 1
        return token

    def _is(self, *texts: str) -> bool:
        return self._here.kind not in ("string", "end of input") and (
            self._here.text.lower() in texts
        )

    def _unexpected(self, context: str = "", expected: str = "") -> None:
        """Refuse the token that is here."""
        place = f" in {context}" if context else ""
        wish = f", expected {expected}" if expected else ""
        raise Malformed(f"unexpected {self._here.described()}{place}{wish}", self._here.start)

    def _expression(self, least: int) -> _Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Malformed("the query is nested too deeply", self._here.start)
        left = self._unary()
        while self._here.kind == "operator" and _PRECEDENCE.get(self._here.text.lower(), -1) >= max(
            least, 1
        ):
            operator = self._next()
            name = operator.text.lower()
            node = _Node(left.start, "vector", name, at=operator.start)
            self._modifiers(node)
            strength = _PRECEDENCE[name]
            node.parts = [left, self._expression(strength if name == "^" else strength + 1)]
            if all(part.type == "scalar" for part in node.parts):
                node.type = "scalar"
            left = node
        self._depth -= 1
        return left

    def _modifiers(self, node: _Node) -> None:
        if self._is("bool"):
            self._next()
            node.as_bool = True
        if self._is("on", "ignoring"):
            self._next()
            self._labels()
            if self._is("group_left", "group_right"):
                self._next()
                node.grouped = True
                if self._is("("):
                    self._labels()

    def _labels(self) -> None:
        """Read ``(a, b)``."""
        if not self._is("("):
            self._unexpected("grouping opts", '"("')
        self._next()
        while not self._is(")"):
            if self._here.kind not in ("identifier", "keyword", "aggregator", "operator", "string"):
                self._unexpected("grouping opts", "label")
            self._next()
            if not self._is(",", ")"):
                self._unexpected("grouping opts", '"," or ")"')
            if self._is(","):
                self._next()
        self._next()

    def _unary(self) -> _Node:
        if self._here.kind == "operator" and self._is("+", "-"):
            sign = self._next()
            inner = self._expression(_UNARY + 1)
            return _Node(sign.start, inner.type, f"unary {sign.text}", [inner])
        return self._postfixed(self._primary())

    def _primary(self) -> _Node:
        token = self._here
        rest = self._tokens[self._at + 1 :]
        after = rest[0].text if rest else ""
        if token.kind in ("number", "duration"):
            return _Node(self._next().start, "scalar")
        if token.kind == "string":
            return _Node(self._next().start, "string")
        if token.kind == "aggregator" and after.lower() in ("(", "by", "without"):
            return self._aggregation()
        if token.kind == "identifier" and after == "(":
            self._next()
            kind = "scalar" if token.text in _SCALARS else "vector"
            return _Node(token.start, kind, token.text, self._arguments())
        if self._is_name(token, after):
            self._next()
            if self._is("{"):
                self._matchers()
            return _Node(token.start, "vector")
        if self._is("{"):
            self._matchers()
            return _Node(token.start, "vector")
        if self._is("("):
            self._next()
            inner = self._expression(0)
            if not self._is(")"):
                self._unexpected()
            self._next()
            return _Node(token.start, inner.type, "", [inner])
        self._unexpected()
        raise AssertionError("unexpected tokens raise")

    @staticmethod
    def _is_name(token: Token, after: str) -> bool:
        """Tell whether a token can name a metric; words with a meaning can where they have none."""
        if token.kind in ("identifier", "metric identifier"):
            return True
        return token.text.isalpha() and token.kind != "string" and after != "("

    def _aggregation(self) -> _Node:
        token = self._next()
        if self._is("by", "without"):
            self._next()
            self._labels()
        if not self._is("("):
            self._unexpected("aggregation")
        node = _Node(token.start, "vector", "aggregate", self._arguments())
        if self._is("by", "without"):
            self._next()
            self._labels()
        return node

    def _arguments(self) -> list[_Node]:
        self._next()
        found: list[_Node] = []
        while not self._is(")"):
            found.append(self._expression(0))
            if not self._is(",", ")"):
                self._unexpected()
            if self._is(","):
                self._next()
                if self._is(")"):
                    raise Malformed("trailing commas not allowed in function call args",
                                    self._here.start)  # fmt: skip
        self._next()
        return found

    def _matchers(self) -> None:
        self._next()
        while not self._is("}"):
            label = self._here
            if label.kind == "string":
                self._next()  # a metric name, or a label's
            elif self._here.kind in ("identifier", "keyword", "aggregator", "operator") and (
                not self._is(*_MATCHERS)
            ):
                self._next()
                if not self._is(*_MATCHERS):
                    self._unexpected("label matching", "label matching operator")
            else:
                self._unexpected("label matching", 'identifier or "}"')
            if self._is(*_MATCHERS):
                self._next()
                if self._here.kind != "string":
                    self._unexpected("label matching", "string")
                self.matchers[self._next().text] = label.start
            if not self._is(",", "}"):
                self._unexpected("label matching", '"," or "}"')
            if self._is(","):
                self._next()
        self._next()

    def _postfixed(self, node: _Node) -> _Node:
        while True:
            if self._is("["):
                node = self._range(node)
            elif self._is("offset"):
                self._next()
                if self._is("-", "+"):
                    self._next()
                self._duration("offset", "duration")
            elif self._is("@"):
                self._next()
                if self._is("-", "+"):
                    self._next()
                if self._is("start", "end"):
                    self._next()
                    if not self._is("("):
                        self._unexpected("@", "timestamp")
                    self._arguments()
                elif self._here.kind != "number":
                    self._unexpected("@", "timestamp")
                else:
                    self._next()
            else:
                return node

    def _range(self, node: _Node) -> _Node:
        bracket = self._next()
        self._duration("subquery or range selector", "duration")
        if self._is(":"):
            self._next()
            if not self._is("]"):
                self._duration("subquery selector", 'duration or "]"')
            if not self._is("]"):
                self._unexpected("subquery selector", '"]"')
            self._next()
            _check(_Node(node.start, "subquery", "", [node]))
            return _Node(node.start, "matrix", "", [node])
        if not self._is("]"):
            self._unexpected("subquery or range", '":" or "]"')
        if node.type != "vector" or node.name or node.parts:
            raise Malformed("ranges only allowed for vector selectors", bracket.start)
        self._next()
        return _Node(node.start, "matrix")

    def _duration(self, context: str, expected: str) -> None:
        if self._here.kind not in ("duration", "number"):
            self._unexpected(context, expected)
        token = self._next()
        if context != "offset" and not token.text.strip("0smhdwy"):
            raise Malformed("duration must be greater than 0", token.start)
