"""Templates of ``line_format`` and ``label_format``: Go's text/template with Loki's functions.

Known: fields (``{{.status}}``), literals, parentheses, pipelines, ``if / else if / else / end``,
trim marks, and the functions of ``functions``. Loops, variables and definitions are refused by
name. Nothing is evaluated by Python; what a template writes is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from aiopslab.telemetry.logql.functions import (
    FUNCTIONS,
    Searches,
    TemplateError,
    Value,
    show,
    truth,
)
from aiopslab.telemetry.promql.values import QueryError

MAX_OUTPUT = 65_536
"""Characters a template may write for one line."""
MAX_DEPTH = 30
Render = Callable[[Mapping[str, str]], str]
_INSIDE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|`[^`]*`|[^\"`}]+|\}(?!\})", re.DOTALL)
"""One part of an action: a string, or what is none and does not end it."""
_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"(?:[^\"\\]|\\.)*\"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<field>\.[A-Za-z_]\w*)|(?P<word>[A-Za-z_]\w*)|(?P<mark>[()|])|(?P<dot>\.)|(?P<bad>\S))"
)
_REFUSED = ("range", "with", "define", "template", "block", "break", "continue")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    arguments: tuple[_Expression, ...]


_Expression = _Field | _Call | str | int | float | bool


@dataclass(slots=True)
class _If:
    """``branches`` are (condition, body); the body of ``else`` has the condition true."""

    branches: list[tuple[_Expression, list[_Node]]]


_Node = str | _Field | _Call | _If | int | float | bool


def compile_template(text: str) -> Render:
    """Compile a template; the result takes labels (with ``__line__`` and ``__timestamp__``).

    Rendering raises ``TemplateError`` where a function refuses its arguments, and ``QueryError``
    where regular expressions may take too long on all that was rendered.

    Raises:
        QueryError: Malformed or not supported.
    """
    nodes, searches = _nodes(text), Searches()

    def render(labels: Mapping[str, str]) -> str:
        out: list[str] = []
        _write(nodes, labels, searches, out)
        return "".join(out)

    return render


@lru_cache(maxsize=128)
def _nodes(text: str) -> Sequence[_Node]:
    return _Compiler(text).nodes()


class _Compiler:
    """Reads a template into nodes."""

    def __init__(self, text: str) -> None:
        self._pieces = list(_pieces(text))
        self._place = 0

    def nodes(self) -> list[_Node]:
        """Read the whole template."""
        nodes, end = self._block(0)
        if end:
            raise _malformed(f"unexpected {{{{{end}}}}}")
        return nodes

    def _block(self, depth: int) -> tuple[list[_Node], str]:
        """Read up to ``else`` or ``end``, which is returned."""
        if depth > MAX_DEPTH:
            raise _malformed(f"more than {MAX_DEPTH} nested conditions")
        nodes: list[_Node] = []
        while self._place < len(self._pieces):
            is_action, text = self._pieces[self._place]
            self._place += 1
            if not is_action:
                nodes.append(text)
                continue
            word = text.split(maxsplit=1)[0] if text else ""
            if word in ("else", "end"):
                return nodes, text
            if word in _REFUSED or text.startswith("$"):
                raise _malformed(f"{word!r} is not supported in templates")
            nodes.append(self._if(text[2:], depth) if word == "if" else _expression(text))
        return nodes, ""

    def _if(self, condition: str, depth: int) -> _If:
        branches: list[tuple[_Expression, list[_Node]]] = []
        test = _expression(condition)
        while True:
            body, end = self._block(depth + 1)
            branches.append((test, body))
            if end == "end":
                return _If(branches)
            if not end:
                raise _malformed("unexpected EOF: {{if}} without {{end}}")
            rest = end.removeprefix("else").strip()
            if rest and not rest.startswith("if "):
                raise _malformed(f"unexpected {{{{{end}}}}}")
            test = _expression(rest[3:]) if rest else True


def _pieces(text: str) -> Sequence[tuple[bool, str]]:
    """Split into (is an action, text); trim marks are applied, comments dropped."""
    found: list[tuple[bool, str]] = []
    place, trim = 0, False
    while (begin := text.find("{{", place)) >= 0:
        # Part by part and none tried twice: the work is linear in the text.
        end = begin + 2
        while inside := _INSIDE.match(text, end):
            end = inside.end()
        if not text.startswith("}}", end):
            raise _malformed("unclosed action")
        action = text[begin + 2 : end]
        literal = text[place:begin].lstrip() if trim else text[place:begin]
        trims = action[:1] == "-" and action[1:2].isspace()
        found.append((False, literal.rstrip() if trims else literal))
        trim = action[-1:] == "-" and action[-2:-1].isspace()
        action = action[trims : len(action) - trim].strip()
        if not (action.startswith("/*") and action.endswith("*/")):
            found.append((True, action))
        place = end + 2
    return [*found, (False, text[place:].lstrip() if trim else text[place:])]


def _expression(text: str) -> _Expression:
    """Read a pipeline: ``.x | replace "a" "b"``."""
    tokens: list[tuple[str, str]] = []
    for match in _TOKEN.finditer(text.rstrip()):
        kind = match.lastgroup or "bad"
        if kind == "bad":
            raise _malformed(f"unexpected {match[kind]!r} in {{{{{text}}}}}")
        tokens.append((kind, match[kind]))
    expression, place = _pipeline(tokens, 0, 0)
    if place < len(tokens):
        raise _malformed(f"unexpected {tokens[place][1]!r} in {{{{{text}}}}}")
    return expression


def _pipeline(tokens: Sequence[tuple[str, str]], place: int, depth: int) -> tuple[_Expression, int]:
    if depth > MAX_DEPTH:
        raise _malformed(f"more than {MAX_DEPTH} nested parentheses")
    piped: _Expression | None = None
    while True:
        words: list[_Expression] = []
        name = ""
        while place < len(tokens) and tokens[place][1] not in ("|", ")"):
            kind, text = tokens[place]
            place += 1
            if kind == "word" and text not in ("true", "false") and not words and not name:
                name = text
            elif kind == "mark":
                inner, place = _pipeline(tokens, place, depth + 1)
                if place >= len(tokens):
                    raise _malformed("unclosed left paren")
                words.append(inner)
                place += 1
            else:
                words.append(_operand(kind, text))
        piped = _command(name, words, piped)
        if place >= len(tokens) or tokens[place][1] == ")":
            return piped, place
        place += 1


def _command(name: str, words: list[_Expression], piped: _Expression | None) -> _Expression:
    if name:
        function = FUNCTIONS.get(name)
        if function is None:
            raise _malformed(f"function {name!r} not defined")
        arguments = (*words, *(() if piped is None else (piped,)))
        if not function.least <= len(arguments) <= function.most:
            raise _malformed(f"wrong number of args for {name}: got {len(arguments)}")
        return _Call(name, arguments)
    if len(words) != 1 or piped is not None:
        raise _malformed("missing value for command" if not words else "a value takes no argument")
    return words[0]


def _operand(kind: str, text: str) -> _Expression:
    match kind:
        case "string" if text[0] == "`":
            return text[1:-1]
        case "string":
            return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), text[1:-1])
        case "number":
            return float(text) if "." in text else int(text[:18])
        case "field":
            return _Field(text[1:])
        case "word" if text in ("true", "false"):
            return text == "true"
        case "word":
            # A function without arguments, such as __line__.
            return _command(text, [], None)
    raise _malformed(f"unexpected {text!r}")


def _write(
    nodes: Sequence[_Node], labels: Mapping[str, str], searches: Searches, out: list[str]
) -> None:
    for node in nodes:
        if isinstance(node, _If):
            for test, body in node.branches:
                if truth(_value(test, labels, searches)):
                    _write(body, labels, searches, out)
                    break
            continue
        text = node if isinstance(node, str) else show(_value(node, labels, searches))
        out.append(text)
        if len(text) > MAX_OUTPUT or sum(map(len, out)) > MAX_OUTPUT:
            raise TemplateError(f"the template writes more than {MAX_OUTPUT} characters")


def _value(expression: _Expression, labels: Mapping[str, str], searches: Searches) -> Value:
    match expression:
        case _Field(name):
            return labels.get(name, "")
        case _Call("__line__" | "__timestamp__" as name):
            return labels.get(name, "")
        case _Call(name, arguments):
            function, values = FUNCTIONS[name], [_value(a, labels, searches) for a in arguments]
            if function.searches:
                searches.pay(*values[:2])
            return function.body(*values)
        case _:
            return expression


def _malformed(message: str) -> QueryError:
    return QueryError(f"parse error : invalid template: {message}")
