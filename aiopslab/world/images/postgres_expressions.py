"""SQL expressions: tokens, syntax trees, and the parser for them.

Not here: statements (``postgres_sql``), evaluation (``postgres_values``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiopslab.world.images.messages import PgError

Value = Any
"""None, bool, int, float, str, datetime, timedelta or a list of them: a cell."""
_DEPTH = 200
"""Levels of an expression."""
BIGINT = 2**63  # whole numbers lie below this; larger ones are numeric, that is, floats


class SqlFailure(Exception):
    """A statement ends with an error of the server."""

    def __init__(self, error: PgError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Token:
    """A lexical unit: ``at`` is its offset."""

    kind: Literal["name", "quoted", "string", "number", "op", "end"]
    value: str
    at: int

    @property
    def upper(self) -> str:
        """The keyword it may be."""
        return self.value.upper() if self.kind == "name" else ""


@dataclass(slots=True)
class Expr:
    """A node: ``op`` is its kind, ``value`` its literal, name or operator."""

    op: Literal[
        "literal", "column", "star", "call", "unary", "binary", "in", "isnull", "between", "case",
        "cast",
    ]  # fmt: skip
    value: Value = None
    args: list[Expr] = field(default_factory=list)
    qualifier: str = ""
    negated: bool = False
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        # Long chains of operators lean to the left; reading them nests no deeper, running does.
        self.depth = 1 + max((arg.depth for arg in self.args), default=0)
        if self.depth > _DEPTH:
            raise SqlFailure(PgError("54001", "stack depth limit exceeded"))

    def output_name(self) -> str:
        """Return the column name PostgreSQL gives to it."""
        if self.op in ("column", "call"):
            return str(self.value)
        if self.op == "cast":
            inner = self.args[0].output_name()
            return str(self.value) if inner == "?column?" else inner
        return "case" if self.op == "case" else "?column?"

    def walk(self) -> list[Expr]:
        """Return this node and all below it."""
        found = [self]
        for arg in self.args:
            found += arg.walk()
        return found


_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<string>[eE]?'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_$]*)
    |(?P<op>::|<>|!=|<=|>=|\|\||!~\*|!~|~\*|[-+*/%<>=(),.;~\[\]])""",
    re.VERBOSE | re.DOTALL,
)
KEYWORDS = frozenset(
    {
        "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "JOIN", "LEFT",
        "INNER", "CROSS", "OUTER", "ON", "USING", "AS", "AND", "OR", "NOT", "IN", "IS", "NULL",
        "LIKE", "ILIKE", "BETWEEN", "CASE", "WHEN", "THEN", "ELSE", "END", "DESC", "ASC", "UNION",
        "SET", "VALUES", "INTO", "DISTINCT", "TRUE", "FALSE", "FOR", "RETURNING", "FULL", "RIGHT",
        "NATURAL", "EXCEPT", "INTERSECT", "WITH",
    }
)  # fmt: skip


def whole(text: str) -> int | None:
    """Read decimal digits; None if the number is larger than a bigint."""
    number = int(text) if len(text) < 100 else BIGINT
    return number if number < BIGINT else None


def tokenize(sql: str) -> list[Token]:
    """Split SQL into tokens, comments left out.

    Raises:
        SqlFailure: 42601 at a character that starts no token.
    """
    found: list[Token] = []
    at = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        if match is None:
            rest = sql[at:]
            if rest[0] in "'\"":
                what = "quoted string" if rest[0] == "'" else "quoted identifier"
                raise SqlFailure(
                    PgError("42601", f'unterminated {what} at or near "{rest}"', position=at + 1)
                )
            raise SqlFailure(
                PgError("42601", f'syntax error at or near "{rest[0]}"', position=at + 1)
            )
        kind, text = str(match.lastgroup), match.group()
        if kind == "string":
            found.append(Token("string", text[text.index("'") + 1 : -1].replace("''", "'"), at))
        elif kind == "quoted":
            found.append(Token("quoted", text[1:-1].replace('""', '"'), at))
        elif kind == "name":
            found.append(Token("name", text.lower(), at))
        elif kind != "space":
            found.append(Token("number" if kind == "number" else "op", text, at))
        at = match.end()
    found.append(Token("end", "", len(sql)))
    return found


class ExprParser:
    """Reads tokens; parses expressions by precedence climbing."""

    def __init__(self, sql: str, tokens: list[Token]) -> None:
        self._sql = sql
        self._tokens = tokens
        self._index = 0
        self._depth = 0

    @property
    def token(self) -> Token:
        """The next token."""
        return self._tokens[self._index]

    def done(self) -> bool:
        """Tell whether all is read."""
        return self.token.kind == "end"

    def next(self) -> Token:
        """Read a token; the end is never passed."""
        token = self.token
        if token.kind == "end":
            raise self.error()
        self._index += 1
        return token

    def peek(self, word: str) -> bool:
        """Tell whether the next token is this keyword or operator."""
        token = self.token
        return token.upper == word or (token.kind == "op" and token.value == word)

    def take(self, word: str) -> bool:
        """Read the keyword or operator if it is next."""
        if not self.peek(word):
            return False
        self._index += 1
        return True

    def expect(self, word: str) -> None:
        """Read the keyword or operator, or fail."""
        if not self.take(word):
            raise self.error()

    def error(self) -> SqlFailure:
        """Build the syntax error at the next token."""
        token = self.token
        if token.kind == "end":
            return SqlFailure(PgError("42601", "syntax error at end of input"))
        end = self._tokens[self._index + 1].at
        text = self._sql[token.at : end].strip() or token.value
        message = f'syntax error at or near "{text}"'
        return SqlFailure(PgError("42601", message, position=token.at + 1))

    def is_name(self) -> bool:
        """Tell whether an identifier is next."""
        return self.token.kind in ("name", "quoted")

    def is_keyword(self) -> bool:
        """Tell whether a reserved word is next."""
        return self.token.upper in KEYWORDS

    def name(self) -> str:
        """Read an identifier."""
        if not self.is_name():
            raise self.error()
        return self.next().value

    def relation(self) -> str:
        """Read a relation; ``public.`` and ``pg_catalog.`` are the search path."""
        first = self.name()
        if not self.take("."):
            return first
        second = self.name()
        return second if first in ("public", "pg_catalog") else f"{first}.{second}"

    def names(self) -> list[str]:
        """Read a comma-separated list of relations."""
        found = [self.relation()]
        while self.take(","):
            found.append(self.relation())
        return found

    def integer(self) -> int:
        """Read an integer, with a sign."""
        sign = -1 if self.take("-") else 1
        if self.token.kind != "number" or not self.token.value.isdecimal():
            raise self.error()
        number = whole(self.next().value)
        if number is None:
            raise SqlFailure(PgError("22003", "bigint out of range"))
        return sign * number

    def string(self) -> str:
        """Read a string literal."""
        if self.token.kind != "string":
            raise self.error()
        return self.next().value

    def expressions(self) -> list[Expr]:
        """Read a comma-separated list."""
        found = [self.expression()]
        while self.take(","):
            found.append(self.expression())
        return found

    def expression(self) -> Expr:
        """Read an expression."""
        self._depth += 1
        if self._depth > 60:
            raise SqlFailure(PgError("54001", "stack depth limit exceeded"))
        left = self._and()
        while self.take("OR"):
            left = Expr("binary", "or", [left, self._and()])
        self._depth -= 1
        return left

    def _and(self) -> Expr:
        left = self._not()
        while self.take("AND"):
            left = Expr("binary", "and", [left, self._not()])
        return left

    def _not(self) -> Expr:
        return self._prefixed("NOT", self._comparison)

    def _prefixed(self, op: str, read: Callable[[], Expr]) -> Expr:
        """Read an operand with an operator before it, as often as that comes."""
        times = 0
        while self.take(op):
            times += 1
        expr = read()
        for _ in range(times):
            expr = Expr("unary", op.lower(), [expr])
        return expr

    def _comparison(self) -> Expr:
        left = self._sum()
        while True:
            if self.token.kind == "op" and self.token.value in (
                "=", "<>", "!=", "<", ">", "<=", ">=", "~", "~*", "!~", "!~*"
            ):  # fmt: skip
                left = Expr("binary", self.next().value, [left, self._sum()])
            elif self.take("IS"):
                negated = self.take("NOT")
                if self.take("NULL"):
                    left = Expr("isnull", args=[left], negated=negated)
                else:
                    literal = Expr("literal", self.next().upper == "TRUE")
                    left = Expr("binary", "<>" if negated else "=", [left, literal])
            else:
                negated = self.peek("NOT")
                if negated:
                    self.next()
                if self.take("IN"):
                    self.expect("(")
                    left = Expr("in", args=[left, *self.expressions()], negated=negated)
                    self.expect(")")
                elif self.peek("LIKE") or self.peek("ILIKE"):
                    word = self.next().value
                    left = Expr("binary", word, [left, self._sum()])
                    left = Expr("unary", "not", [left]) if negated else left
                elif self.take("BETWEEN"):
                    low = self._sum()
                    self.expect("AND")
                    left = Expr("between", args=[left, low, self._sum()], negated=negated)
                elif negated:
                    raise self.error()
                else:
                    return left

    def _sum(self) -> Expr:
        left = self._product()
        while self.token.kind == "op" and self.token.value in ("+", "-", "||"):
            left = Expr("binary", self.next().value, [left, self._product()])
        return left

    def _product(self) -> Expr:
        left = self._postfix()
        while self.token.kind == "op" and self.token.value in ("*", "/", "%"):
            left = Expr("binary", self.next().value, [left, self._postfix()])
        return left

    def _postfix(self) -> Expr:
        expr = self._primary()
        while self.take("::"):
            expr = Expr("cast", self.name(), [expr])
            if self.take("["):
                self.expect("]")
        return expr

    def _primary(self) -> Expr:
        token = self.token
        if self.take("("):
            if self.peek("SELECT"):
                raise SqlFailure(PgError("0A000", "subqueries are not supported"))
            inner = self.expression()
            self.expect(")")
            return inner
        if self.peek("-"):
            return self._prefixed("-", self._postfix)
        if self.take("*"):
            return Expr("star", "")
        if token.kind == "string":
            return Expr("literal", self.next().value)
        if token.kind == "number":
            text = self.next().value
            number = whole(text) if text.isdecimal() else None
            return Expr("literal", float(text) if number is None else number)
        if token.upper in ("TRUE", "FALSE", "NULL"):
            self.next()
            return Expr("literal", {"TRUE": True, "FALSE": False, "NULL": None}[token.upper])
        if token.upper == "CASE":
            return self._case()
        if token.upper == "INTERVAL" and self._tokens[self._index + 1].kind == "string":
            self.next()
            return Expr("cast", "interval", [Expr("literal", self.string())])
        if token.kind == "quoted" or (token.kind == "name" and not self.is_keyword()):
            return self._reference()
        if token.upper == "LEFT":  # the string function; a join cannot stand here
            return self._reference()
        raise self.error()

    def _case(self) -> Expr:
        self.next()
        args: list[Expr] = []
        while self.take("WHEN"):
            args.append(self.expression())
            self.expect("THEN")
            args.append(self.expression())
        args.append(self.expression() if self.take("ELSE") else Expr("literal", None))
        self.expect("END")
        return Expr("case", args=args)

    def _reference(self) -> Expr:
        name = self.next().value
        if self.take("."):
            if self.take("*"):
                return Expr("star", name)
            second = self.name()
            if name != "pg_catalog":
                return Expr("column", second, qualifier=name)
            name = second
        if self.take("("):
            return self._call(name)
        if name in ("current_user", "session_user", "current_timestamp", "user", "current_role"):
            return Expr("call", name)
        return Expr("column", name)

    def _call(self, name: str) -> Expr:
        args: list[Expr] = []
        if name == "extract":
            part = self.name()
            self.expect("FROM")
            args = [Expr("literal", part), self.expression()]
        elif not self.peek(")"):
            if self.take("DISTINCT"):
                name = f"{name}_distinct"
            args = self.expressions()
        self.expect(")")
        return Expr("call", name, args)
