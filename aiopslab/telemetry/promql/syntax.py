"""A recogniser of PromQL that keeps places and types and says which token does not fit.

Only what promql-parser refused is read here, so what it lets pass does not matter. The words are
those of Prometheus' ``promql/parser``. Not here: the tree that is evaluated (``parsing``), what
promql-parser itself found (``explanations``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from aiopslab.telemetry.promql.functions import KNOWN
from aiopslab.telemetry.promql.lexer import Token

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
WORDS = {"vector": "instant vector", "matrix": "range vector"}
"""Types as Prometheus writes them for people."""
_MAX_DEPTH = 200


class Malformed(Exception):
    """What is wrong, and at which character."""

    def __init__(self, message: str, start: int) -> None:
        super().__init__(message)
        self.start = start


@dataclass(slots=True)
class Node:
    """A part of the query with the type that it gives."""

    start: int
    type: str
    name: str = ""
    """Operator, function or aggregation."""
    parts: list[Node] = field(default_factory=list)
    at: int = 0
    """Where the operator is."""
    grouped: bool = False
    as_bool: bool = False

    def walk(self) -> Iterator[Node]:
        """Yield the parts, children first."""
        for part in self.parts:
            yield from part.walk()
        yield self


def check(node: Node) -> None:
    """Check the types of a binary, unary or aggregating expression and of a subquery."""
    types = [part.type for part in node.parts]
    if node.type == "subquery" and types[0] != "vector":
        raise Malformed(
            f"subquery is only allowed on instant vector, got {types[0]} instead", node.start
        )
    if node.name.startswith("unary") and types[0] not in ("scalar", "vector"):
        raise Malformed(
            "unary expression only allowed on expressions of type scalar or instant vector, got"
            f' "{WORDS.get(types[0], types[0])}"',
            node.start,
        )
    if node.name in _PRECEDENCE:
        _check_binary(node, types)


def _check_binary(node: Node, types: list[str]) -> None:
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


class Reader:
    """Reads tokens by recursive descent; the first that does not fit raises."""

    def __init__(self, found: list[Token]) -> None:
        self.matchers: dict[str, int] = {}
        """Where the label stands that a string is matched with."""
        self._tokens = found
        self._at = 0
        self._depth = 0
        self._aggregations = 0

    def whole(self) -> Node:
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
        context = context or ("aggregation" if self._aggregations else "")
        place = f" in {context}" if context else ""
        wish = f", expected {expected}" if expected else ""
        raise Malformed(f"unexpected {self._here.described()}{place}{wish}", self._here.start)

    def _expression(self, least: int) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Malformed("the query is nested too deeply", self._here.start)
        left = self._unary()
        while self._here.kind == "operator" and _PRECEDENCE.get(self._here.text.lower(), -1) >= max(
            least, 1
        ):
            operator = self._next()
            name = operator.text.lower()
            node = Node(left.start, "vector", name, at=operator.start)
            self._modifiers(node)
            strength = _PRECEDENCE[name]
            node.parts = [left, self._expression(strength if name == "^" else strength + 1)]
            if all(part.type == "scalar" for part in node.parts):
                node.type = "scalar"
            left = node
        self._depth -= 1
        return left

    def _modifiers(self, node: Node) -> None:
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

    def _unary(self) -> Node:
        if self._here.kind == "operator" and self._is("+", "-"):
            sign = self._next()
            inner = self._expression(_UNARY + 1)
            return Node(sign.start, inner.type, f"unary {sign.text}", [inner])
        return self._postfixed(self._primary())

    def _primary(self) -> Node:
        token = self._here
        rest = self._tokens[self._at + 1 :]
        after = rest[0].text if rest else ""
        if token.kind in ("number", "duration"):
            return Node(self._next().start, "scalar")
        if token.kind == "string":
            return Node(self._next().start, "string")
        if token.kind == "aggregator" and after.lower() in ("(", "by", "without"):
            return self._aggregation()
        if token.kind == "identifier" and after == "(":
            self._next()
            kind = "scalar" if token.text in _SCALARS else "vector"
            node = Node(token.start, kind, token.text, self._arguments())
            if token.text not in KNOWN:
                raise Malformed(f'unknown function with name "{token.text}"', token.start)
            return node
        if self._is_name(token, after):
            self._next()
            if self._is("{"):
                self._matchers()
            return Node(token.start, "vector")
        if self._is("{"):
            self._matchers()
            return Node(token.start, "vector")
        if self._is("("):
            self._next()
            inner = self._expression(0)
            if not self._is(")"):
                self._unexpected()
            self._next()
            return Node(token.start, inner.type, "", [inner])
        self._unexpected()
        raise AssertionError("unexpected tokens raise")

    @staticmethod
    def _is_name(token: Token, after: str) -> bool:
        """Tell whether a token can name a metric; words with a meaning can where they have none."""
        if token.kind in ("identifier", "metric identifier"):
            return True
        return token.text.isalpha() and token.kind != "string" and after != "("

    def _aggregation(self) -> Node:
        token = self._next()
        if self._is("by", "without"):
            self._next()
            self._labels()
        if not self._is("("):
            self._unexpected("aggregation")
        self._aggregations += 1
        node = Node(token.start, "vector", "aggregate", self._arguments())
        self._aggregations -= 1
        if self._is("by", "without"):
            self._next()
            self._labels()
        return node

    def _arguments(self) -> list[Node]:
        self._next()
        found: list[Node] = []
        while not self._is(")"):
            found.append(self._expression(0))
            if not self._is(",", ")"):
                self._unexpected()
            if self._is(","):
                comma = self._next()
                if self._here.kind in ("mark", "operator") and not self._is("(", "{", "+", "-"):
                    raise Malformed(
                        "trailing commas not allowed in function call args", comma.start
                    )
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

    def _postfixed(self, node: Node) -> Node:
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

    def _range(self, node: Node) -> Node:
        bracket = self._next()
        self._duration("subquery or range selector", "duration")
        if self._is(":"):
            self._next()
            if not self._is("]"):
                self._duration("subquery selector", 'duration or "]"')
            if not self._is("]"):
                self._unexpected("subquery selector", '"]"')
            self._next()
            check(Node(node.start, "subquery", "", [node]))
            return Node(node.start, "matrix", "", [node])
        if not self._is("]"):
            self._unexpected("subquery or range", '":" or "]"')
        if node.type != "vector" or node.name or node.parts:
            raise Malformed("ranges only allowed for vector selectors", bracket.start)
        self._next()
        return Node(node.start, "matrix")

    def _duration(self, context: str, expected: str) -> None:
        if self._here.kind not in ("duration", "number"):
            self._unexpected(context, expected)
        token = self._next()
        if context != "offset" and not token.text.strip("0smhdwy"):
            raise Malformed("duration must be greater than 0", token.start)
