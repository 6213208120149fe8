"""The functions of templates, as Loki documents them (sprig's names and argument order).

All are total: an argument of the wrong kind raises ``TemplateError``, results are bounded. Not
here: the template language (``template``). Functions that read a clock or the surroundings of the
process do not exist.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote_plus, unquote_plus

import numpy as np

from aiopslab.telemetry.linesearch import MAX_ATTEMPTS
from aiopslab.telemetry.logql.tokens import parse_bytes, parse_duration, parse_number
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.regex import compile_bounded, repeats

Value = str | int | float | bool
MAX_TEXT = 65_536
"""Characters a function may make."""
_INT64 = 2**63
_VERB = re.compile(r"%([-+ 0#]*)(\d{0,3})(?:\.(\d{1,2}))?([a-zA-Z%])")


class TemplateError(Exception):
    """A function refused its arguments."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function and how many arguments it takes."""

    body: Callable[..., Value]
    least: int
    most: int
    searches: bool = False
    """Whether the first two arguments are a regular expression and the text it is looked for in."""


class Searches:
    """What regular expressions may still try on all lines of a query: they come with the template.

    A search that may take long is paid for before it is made (``linesearch``).
    """

    def __init__(self) -> None:
        self._left = MAX_ATTEMPTS

    def pay(self, pattern: Value, text: Value) -> None:
        """Account for a search.

        Raises:
            TemplateError: The pattern is refused.
            QueryError: All searches together may take too long.
        """
        shown, length = _regex(pattern).pattern, len(_text(text))
        unbounded, choices = _repeats(shown)
        if unbounded or choices > 1.0:
            self._left -= (length + 1) * math.comb(length + unbounded, unbounded) * choices
        if self._left < 0:
            raise QueryError(f"regex {shown!r} may take too long on these lines; use fewer repeats")


_repeats = lru_cache(maxsize=128)(repeats)


def show(value: Value) -> str:
    """Print a value as Go's ``%v``."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.0f}" if value.is_integer() and abs(value) < 1e21 else repr(value)
        case _:
            return str(value)


def truth(value: Value) -> bool:
    """Say whether ``if`` takes a value for true: it is not empty, zero or false."""
    return bool(value)


def _number(value: Value) -> float:
    if isinstance(value, str):
        found = parse_number(value)
        # What is no number counts as 0, as with sprig's casts.
        return 0.0 if found is None else found
    return float(value)


def _int(value: Value) -> int:
    if isinstance(value, int):
        return int(value)
    number = _number(value)
    if not -_INT64 <= number < _INT64:
        raise TemplateError(f"{show(value)!r} is no integer")
    return int(number)


def _wrapped(number: float) -> int:
    """Return what is left of an integer in Go's 64 bits."""
    return (int(number) + _INT64) % (2 * _INT64) - _INT64


def _text(value: Value) -> str:
    return show(value)


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise TemplateError(f"a text of more than {MAX_TEXT} characters")
    return text


def _repeat(count: Value, text: Value) -> str:
    if _int(count) < 0 or _int(count) * len(_text(text)) > MAX_TEXT:
        raise TemplateError(f"repeat makes more than {MAX_TEXT} characters")
    return _text(text) * _int(count) if _text(text) else ""


def _truncated(count: Value, text: Value) -> str:
    n = _int(count)
    return _text(text)[:n] if n >= 0 else _text(text)[n:]


def _substring(start: Value, end: Value, text: Value) -> str:
    first, last, whole = _int(start), _int(end), _text(text)
    if first < 0:
        return whole[: max(last, 0)]
    return whole[first:] if last < 0 or last > len(whole) else whole[first:last]


def _replaced(old: Value, new: Value, text: Value, most: Value = -1) -> str:
    if not _text(old):
        return _text(text)
    grown = _text(text).count(_text(old)) * len(_text(new))
    if grown > MAX_TEXT:
        raise TemplateError(f"replace makes more than {MAX_TEXT} characters")
    return _text(text).replace(_text(old), _text(new), max(-1, min(_int(most), MAX_TEXT)))


def _aligned(count: Value, text: Value, *, left: bool) -> str:
    width = _int(count)
    if not 0 <= width <= MAX_TEXT:
        raise TemplateError(f"a width of {width}")
    plain = _text(text)
    if left:
        return plain[:width].ljust(width)
    return plain[max(0, len(plain) - width) :].rjust(width)


def _indented(count: Value, text: Value) -> str:
    margin = " " * min(max(_int(count), 0), 200)
    return _bounded(margin + _text(text).replace("\n", f"\n{margin}"))


def _regex(pattern: Value) -> re.Pattern[str]:
    try:
        return compile_bounded(_text(pattern))
    except re.error as error:
        raise TemplateError(f"error parsing regexp: {error}") from error


def expand(template: str) -> Callable[[re.Match[str]], str]:
    """Replace ``$1``, ``${1}`` and ``${name}`` by groups."""

    def group(match: re.Match[str], name: str) -> str:
        if name.isdigit():
            number = int(name[:9])
            return match[number] or "" if number <= (match.re.groups) else ""
        return match.groupdict().get(name) or ""

    def expand(match: re.Match[str]) -> str:
        return re.sub(
            r"\$(?:\{(\w+)\}|(\w+)|(\$))",
            lambda m: "$" if m[3] else group(match, m[1] or m[2]),
            template,
        )

    return expand


def _regex_replaced(pattern: Value, text: Value, replacement: Value, *, literal: bool) -> str:
    template = _text(replacement)
    replaced = (lambda _: template) if literal else expand(template)
    if len(_text(text)) * (len(template) + 1) > MAX_TEXT * 16:
        raise TemplateError("the replacement is too long")
    return _bounded(_regex(pattern).sub(replaced, _text(text)))


def _format(form: Value, *values: Value) -> str:
    """Go's ``printf`` for ``%s %v %d %f %g %e %q %x %t %%``."""
    rest = list(values)

    def put(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        value = rest.pop(0)
        digits = f".{precision}" if precision else ""
        match verb:
            case "s" | "v":
                shown = show(value)
                plain = shown[: int(precision)] if precision else shown
            case "q":
                plain = '"' + show(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
            case "t":
                plain = show(truth(value))
            case "d":
                plain = f"{_int(value):{'+' if '+' in flags else ''}d}"
            case "x":
                plain = f"{_int(value):x}"
            case "f" | "g" | "e":
                plain = f"{_number(value):{'+' if '+' in flags else ''}{digits}{verb}}"
            case _:
                raise TemplateError(f"printf: %{verb} is not supported")
        if "-" in flags:
            return plain.ljust(int(width or 0))
        zero = "0" in flags and verb in "dfgex"
        return plain.zfill(int(width or 0)) if zero else plain.rjust(int(width or 0))

    return _bounded(_VERB.sub(put, _text(form)))


def _fold(step: Callable[[float, float], float], *, whole: bool) -> Callable[..., Value]:
    def fold(first: Value, *others: Value) -> Value:
        read = _int if whole else _number
        total: float = read(first)
        try:
            for other in others:
                total = step(total, read(other))
                total = _wrapped(total) if whole else total
        except (ZeroDivisionError, OverflowError) as error:
            raise TemplateError(str(error)) from error
        return total

    return fold


def _divided(a: float, b: float) -> float:
    """Divide integers as Go does, towards zero."""
    return abs(int(a)) // abs(int(b)) * (1 if (a < 0) == (b < 0) else -1)


def _remainder(a: float, b: float) -> float:
    """Return the remainder of that division: it has the sign of what was divided."""
    rest = abs(int(a)) % abs(int(b))
    return rest if a >= 0 else -rest


def _same(first: Value, *others: Value) -> bool:
    return any(_comparable(first, o)[0] == _comparable(first, o)[1] for o in others)


def _comparable(a: Value, b: Value) -> tuple[Value, Value]:
    """Labels are text: beside a number they are read as one."""
    if isinstance(a, str) != isinstance(b, str):
        return _number(a), _number(b)
    return a, b


def _compare(test: Callable[[Value, Value], bool]) -> Callable[..., Value]:
    return lambda a, b: test(*_comparable(a, b))


def _and(*values: Value) -> Value:
    return next((v for v in values if not truth(v)), values[-1])


def _or(*values: Value) -> Value:
    return next((v for v in values if truth(v)), values[-1])


def _decoded(text: Value) -> str:
    try:
        return base64.b64decode(_text(text), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError) as error:
        raise TemplateError(f"illegal base64 data: {error}") from error


def _seconds(text: Value) -> float:
    found = parse_duration(_text(text))
    if found is None:
        raise TemplateError(f"{_text(text)!r} is no duration")
    return found


def _bytes(text: Value) -> float:
    found = parse_bytes(_text(text))
    if found is None:
        raise TemplateError(f"{_text(text)!r} is no size")
    return found


def _rounded(value: Value, digits: Value = 0) -> float:
    return round(_number(value), min(max(_int(digits), 0), 15))


def _prefixed(prefix: Value, text: Value) -> str:
    return _text(text).removeprefix(_text(prefix))


def _suffixed(suffix: Value, text: Value) -> str:
    return _text(text).removesuffix(_text(suffix))


_MANY = 20
_TABLE: Mapping[str, tuple[Callable[..., Value], int, int]] = {
    "lower": (lambda s: _text(s).lower(), 1, 1),
    "upper": (lambda s: _text(s).upper(), 1, 1),
    "title": (lambda s: _text(s).title(), 1, 1),
    "trim": (lambda s: _text(s).strip(), 1, 1),
    "trimAll": (lambda cut, s: _text(s).strip(_text(cut)), 2, 2),
    "trimPrefix": (_prefixed, 2, 2),
    "trimSuffix": (_suffixed, 2, 2),
    "trunc": (_truncated, 2, 2),
    "substr": (_substring, 3, 3),
    "replace": (_replaced, 3, 3),
    "repeat": (_repeat, 2, 2),
    "contains": (lambda part, s: _text(part) in _text(s), 2, 2),
    "hasPrefix": (lambda part, s: _text(s).startswith(_text(part)), 2, 2),
    "hasSuffix": (lambda part, s: _text(s).endswith(_text(part)), 2, 2),
    "alignLeft": (lambda n, s: _aligned(n, s, left=True), 2, 2),
    "alignRight": (lambda n, s: _aligned(n, s, left=False), 2, 2),
    "indent": (_indented, 2, 2),
    "nindent": (lambda n, s: "\n" + _indented(n, s), 2, 2),
    "count": (lambda pattern, s: len(_regex(pattern).findall(_text(s))), 2, 2),
    "regexReplaceAll": (lambda p, s, r: _regex_replaced(p, s, r, literal=False), 3, 3),
    "regexReplaceAllLiteral": (lambda p, s, r: _regex_replaced(p, s, r, literal=True), 3, 3),
    "default": (lambda other, s: s if truth(s) else other, 2, 2),
    "printf": (_format, 1, _MANY),
    "len": (lambda s: len(_text(s)), 1, 1),
    "add": (_fold(lambda a, b: a + b, whole=True), 2, _MANY),
    "sub": (_fold(lambda a, b: a - b, whole=True), 2, 2),
    "mul": (_fold(lambda a, b: a * b, whole=True), 2, _MANY),
    "div": (_fold(_divided, whole=True), 2, 2),
    "mod": (_fold(_remainder, whole=True), 2, 2),
    "addf": (_fold(lambda a, b: a + b, whole=False), 2, _MANY),
    "subf": (_fold(lambda a, b: a - b, whole=False), 2, _MANY),
    "mulf": (_fold(lambda a, b: a * b, whole=False), 2, _MANY),
    "divf": (_fold(lambda a, b: a / b, whole=False), 2, _MANY),
    "max": (_fold(max, whole=True), 2, _MANY),
    "min": (_fold(min, whole=True), 2, _MANY),
    "maxf": (_fold(max, whole=False), 2, _MANY),
    "minf": (_fold(min, whole=False), 2, _MANY),
    "ceil": (lambda x: float(np.ceil(_number(x))), 1, 1),
    "floor": (lambda x: float(np.floor(_number(x))), 1, 1),
    "round": (_rounded, 1, 2),
    "int": (_int, 1, 1),
    "float64": (_number, 1, 1),
    "bytes": (_bytes, 1, 1),
    "duration": (_seconds, 1, 1),
    "duration_seconds": (_seconds, 1, 1),
    "b64enc": (lambda s: base64.b64encode(_text(s).encode()).decode(), 1, 1),
    "b64dec": (_decoded, 1, 1),
    "urlencode": (lambda s: quote_plus(_text(s)), 1, 1),
    "urldecode": (lambda s: unquote_plus(_text(s)), 1, 1),
    "eq": (_same, 2, _MANY),
    "ne": (lambda a, b: not _same(a, b), 2, 2),
    "lt": (_compare(lambda a, b: a < b), 2, 2),  # type: ignore[operator]  # of one kind by then
    "le": (_compare(lambda a, b: a <= b), 2, 2),  # type: ignore[operator]
    "gt": (_compare(lambda a, b: a > b), 2, 2),  # type: ignore[operator]
    "ge": (_compare(lambda a, b: a >= b), 2, 2),  # type: ignore[operator]
    "and": (_and, 1, _MANY),
    "or": (_or, 1, _MANY),
    "not": (lambda x: not truth(x), 1, 1),
    "__line__": (lambda: "", 0, 0),
    "__timestamp__": (lambda: "", 0, 0),
    # The first generation, whose arguments stand in Go's order.
    "ToLower": (lambda s: _text(s).lower(), 1, 1),
    "ToUpper": (lambda s: _text(s).upper(), 1, 1),
    "Title": (lambda s: _text(s).title(), 1, 1),
    "Replace": (lambda s, old, new, n=-1: _replaced(old, new, s, n), 3, 4),
    "Trim": (lambda s, cut: _text(s).strip(_text(cut)), 2, 2),
    "TrimLeft": (lambda s, cut: _text(s).lstrip(_text(cut)), 2, 2),
    "TrimRight": (lambda s, cut: _text(s).rstrip(_text(cut)), 2, 2),
    "TrimPrefix": (lambda s, cut: _prefixed(cut, s), 2, 2),
    "TrimSuffix": (lambda s, cut: _suffixed(cut, s), 2, 2),
    "TrimSpace": (lambda s: _text(s).strip(), 1, 1),
}
_SEARCHES = ("count", "regexReplaceAll", "regexReplaceAllLiteral")
FUNCTIONS = {name: Function(*row, name in _SEARCHES) for name, row in _TABLE.items()}
