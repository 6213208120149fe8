"""The JSONPath templates of ``kubectl -o jsonpath=...``, ``--sort-by`` and ``custom-columns``.

Text, ``{.path}``, ``{range .items[*]}...{end}``, quoted text, filters ``[?(@.x=="y")]``, slices,
unions, ``..name``. A key that is missing gives nothing. Not here: where the values come from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiopslab.tools.context import ToolRefused

Step = Callable[[list[Any]], list[Any]]
Path = list[Step]

_TOKEN = re.compile(
    r"""(?P<name>\.?(?P<word>(?:[^\s.\[\]{}()'"=<>!?@$,*\\]|\\.)+))
    |(?P<deep>\.\.)|(?P<all>\.?\*)|(?P<open>\[)|(?P<root>[$@])|(?P<dot>\.)""",
    re.VERBOSE,
)
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_COMPARE = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_MOST = 50_000
"""Values that a path may find: recursive descent, repeated, would find the same ones for ever."""
_SLICE = re.compile(r"(-?\d{1,9})?:(-?\d{1,9})?(?::(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Range:
    path: Path
    body: list[Any]


def render(template: str, value: Any) -> str:
    """Fill in a template.

    Raises:
        ToolRefused: It cannot be parsed, or an index lies outside its array.
    """
    nodes, _ = _parse(template, 0, inside=False)
    return _Filling(template).write(nodes, value)


def find(expression: str, value: Any) -> list[Any]:
    """Return what one path finds; braces and the first dot may be left out.

    Raises:
        ToolRefused: As ``render``.
    """
    plain = expression.strip()
    if plain.startswith("{") and plain.endswith("}"):
        plain = plain[1:-1].strip()
    if plain[:1] not in (".", "[", "$", "@", ""):
        plain = f".{plain}"
    path, end = _path(plain, 0)
    if end < len(plain):
        raise _broken(expression, f"unexpected {plain[end]!r}")
    return _follow(path, value, expression)


def show(value: Any) -> str:
    """Print a found value: text as it is, objects and arrays as JSON."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        case _:
            return str(value)


# -- reading a template ---------------------------------------------------------------------------


def _parse(text: str, at: int, *, inside: bool) -> tuple[list[Any], int]:
    """Read nodes up to ``{end}`` or the end of the text."""
    nodes: list[Any] = []
    while at < len(text):
        opening = text.find("{", at)
        if opening < 0:
            nodes.append(text[at:])
            break
        if opening > at:
            nodes.append(text[at:opening])
        closing = _closing(text, opening)
        inner, at = text[opening + 1 : closing].strip(), closing + 1
        if inner == "end":
            if not inside:
                raise _broken(text, "not in range, nothing to end")
            return nodes, at
        if inner.split(" ", 1)[0] == "range":
            path, end = _path(inner, len("range"))
            if end < len(inner):
                raise _broken(text, f"unexpected {inner[end]!r}")
            body, at = _parse(text, at, inside=True)
            nodes.append(_Range(path, body))
        else:
            nodes += _pieces(inner)
    if inside:
        raise _broken(text, "unclosed range")
    return nodes, at


def _closing(text: str, opening: int) -> int:
    at = opening + 1
    while at < len(text):
        quoted = _QUOTED.match(text, at)
        if quoted is not None:
            at = quoted.end()
        elif text[at] == "}":
            return at
        else:
            at += 1
    raise _broken(text, "unclosed action")


def _pieces(inner: str) -> Iterator[Any]:
    """Read what stands between braces: paths and quoted texts, one after the other."""
    at = 0
    while at < len(inner):
        if inner[at].isspace():
            at += 1
            continue
        quoted = _QUOTED.match(inner, at)
        if quoted is not None:
            yield _unquoted(quoted.group())
            at = quoted.end()
            continue
        path, end = _path(inner, at)
        if end == at:
            raise _broken(inner, f"unrecognized character in action: {inner[at]!r}")
        yield path
        at = end


def _path(text: str, at: int) -> tuple[Path, int]:
    """Read one path; stops where it cannot go on."""
    path: Path = []
    while at < len(text) and text[at].isspace() and not path:
        at += 1
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            break
        at = token.end()
        match token.lastgroup:
            case "word" | "name":
                if not path and token.group()[0] != ".":
                    raise _broken(text, f"unrecognized identifier {token.group()!r}")
                path.append(_key(re.sub(r"\\(.)", r"\1", token["word"])))
            case "deep":
                path.append(_deep)
            case "all":
                path.append(_each)
            case "open":
                step, at = _bracket(text, at)
                path.append(step)
            case _:
                # The root itself, which every path begins at.
                path.append(_same)
    return path, at


def _bracket(text: str, at: int) -> tuple[Step, int]:
    """Read what follows ``[``."""
    if text.startswith("?(", at):
        end = text.find(")]", at)
        if end < 0:
            raise _broken(text, "unterminated filter")
        return _filter(text[at + 2 : end]), end + 2
    parts: list[Step] = []
    while True:
        quoted = _QUOTED.match(text, at)
        if quoted is not None:
            parts.append(_key(_unquoted(quoted.group())))
            at = quoted.end()
        else:
            end = min((i for i in (text.find("]", at), text.find(",", at)) if i >= 0), default=-1)
            if end < 0:
                raise _broken(text, "unterminated array")
            parts.append(_places(text, text[at:end].strip()))
            at = end
        if text[at : at + 1] == "]":
            return (parts[0] if len(parts) == 1 else _union(parts)), at + 1
        if text[at : at + 1] != ",":
            raise _broken(text, "unterminated array")
        at += 1


def _places(text: str, inner: str) -> Step:
    """Read ``*``, ``3``, ``-1`` or ``1:3:2``."""
    if inner == "*":
        return _each
    if re.fullmatch(r"-?\d{1,9}", inner, re.ASCII):
        return _index(int(inner))
    match = _SLICE.fullmatch(inner)
    if match is None:
        raise _broken(text, f"invalid array index {inner}")
    start, end, step = (int(part) if part else None for part in match.groups())
    if step == 0:
        raise _broken(text, "step must be > 0")
    return lambda values: [
        v for x in values if isinstance(x, list) for v in x[start : end : step or 1]
    ]


# -- steps ----------------------------------------------------------------------------------------


def _same(values: list[Any]) -> list[Any]:
    return values


def _key(name: str) -> Step:
    return lambda values: [v[name] for v in values if isinstance(v, dict) and name in v]


def _each(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found += (
            value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        )
    return found


def _deep(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    waiting = list(reversed(values))
    while waiting:
        value = waiting.pop()
        found.append(value)
        if len(found) > _MOST:
            raise IndexError(f"more than {_MOST} values")
        inner = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict | list):
            waiting.extend(reversed(list(inner)))
    return found


def _index(place: int) -> Step:
    def step(values: list[Any]) -> list[Any]:
        found = []
        for value in values:
            if not isinstance(value, list):
                continue
            if not -len(value) <= place < len(value):
                raise IndexError(f"array index out of bounds: index {place}, length {len(value)}")
            found.append(value[place])
        return found

    return step


def _union(parts: Sequence[Step]) -> Step:
    return lambda values: [found for part in parts for found in part(values)]


def _filter(inner: str) -> Step:
    """Compile ``@.x=="y"`` or ``@.x``."""
    left, at = _operand(inner, 0)
    operator = _COMPARE.match(inner, at)
    if operator is None:
        if inner[at:].strip():
            raise _broken(inner, "unrecognized filter")
        return lambda values: [v for x in values for v in _items(x) if left(v)]
    right, end = _operand(inner, operator.end())
    if inner[end:].strip():
        raise _broken(inner, "unrecognized filter")
    test = _TESTS[operator[1]]

    def step(values: list[Any]) -> list[Any]:
        return [v for x in values for v in _items(x) if _holds(test, left(v), right(v))]

    return step


def _operand(inner: str, at: int) -> tuple[Callable[[Any], list[Any]], int]:
    while inner[at : at + 1].isspace():
        at += 1
    quoted = _QUOTED.match(inner, at)
    if quoted is not None:
        text = _unquoted(quoted.group())
        return (lambda _: [text]), quoted.end()
    number = _NUMBER.match(inner, at)
    if number is not None:
        value = float(number.group())
        return (lambda _: [value]), number.end()
    if inner.startswith("true", at):
        return (lambda _: [True]), at + len("true")
    if inner.startswith("false", at):
        return (lambda _: [False]), at + len("false")
    path, end = _path(inner, at)
    return (lambda item: _follow(path, item, inner)), end


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip


def _holds(test: Callable[[Any, Any], bool], left: list[Any], right: list[Any]) -> bool:
    try:
        return bool(left) and bool(right) and test(left[0], right[0])
    except TypeError:
        return False  # values of different types have no order


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, dict) else []


# -- filling in -----------------------------------------------------------------------------------


def _follow(path: Path, value: Any, template: str) -> list[Any]:
    found = [value]
    try:
        for step in path:
            found = step(found)
            if len(found) > _MOST:
                raise IndexError(f"more than {_MOST} values")
    except IndexError as error:
        raise ToolRefused(
            f'error: error executing jsonpath "{template}": Error executing template: {error}'
        ) from error
    return found


@dataclass(slots=True)
class _Filling:
    """One template being filled in; nested ranges must come to an end."""

    template: str
    left: int = _MOST

    def write(self, nodes: Sequence[Any], value: Any) -> str:
        out = []
        for node in nodes:
            if isinstance(node, str):
                out.append(node)
            elif isinstance(node, _Range):
                out.extend(self.write(node.body, item) for item in self._found(node.path, value))
            else:
                out.append(" ".join(show(v) for v in self._found(node, value)))
        return "".join(out)

    def _found(self, path: Path, value: Any) -> list[Any]:
        found = _follow(path, value, self.template)
        self.left -= 1 + len(found)
        if self.left < 0:
            raise ToolRefused(f"error: the template finds more than {_MOST} values; narrow it")
        return found


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1])


def _broken(template: str, problem: str) -> ToolRefused:
    return ToolRefused(f"error: error parsing jsonpath {template}, {problem}")
