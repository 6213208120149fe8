"""Labels out of lines: JSON, logfmt, regular expressions and patterns.

Each extractor takes a line and returns (label, value) pairs in the order of the line, or raises
``ExtractError`` with the name of Loki's error label. Not here: what becomes of the labels
(``stages``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from aiopslab.telemetry.linesearch import LineSearch
from aiopslab.telemetry.promql.values import QueryError

Pairs = Sequence[tuple[str, str]]
Extractor = Callable[[str], Pairs]
MAX_LABELS = 200
"""Labels taken from one line; what follows is ignored."""
MAX_DEPTH = 50
"""Objects inside each other; deeper ones are ignored."""
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Leaves numbers as they were written."""
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_]")
_STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_FIELD = re.compile(r'(?<![^\s])([^\s="]+)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*)|(?=\s|$))')
_HOLE = re.compile(r"<([A-Za-z_]\w*)>")


class ExtractError(Exception):
    """The line has not the form; ``kind`` is the value of ``__error__``."""

    def __init__(self, kind: str, details: str) -> None:
        super().__init__(details)
        self.kind = kind


@lru_cache(maxsize=4096)
def label_name(key: str) -> str:
    """Make a label name of any key.

    >>> label_name("http.status-code"), label_name("2xx")
    ('http_status_code', '_2xx')
    """
    name = _UNNAMEABLE.sub("_", key.strip())
    return f"_{name}" if name[:1].isdigit() else name


def json_all(line: str) -> Pairs:
    """Take every value of a JSON object; nested keys are joined with ``_``, arrays are skipped."""
    found: list[tuple[str, str]] = []
    _flatten(_loaded(line), "", found, 0)
    return found[:MAX_LABELS]


def json_some(wanted: Pairs) -> Extractor:
    """Take values by paths such as ``response.status``, ``servers[0]``, ``h["User-Agent"]``.

    Raises:
        QueryError: A path is malformed.
    """
    paths = [(name, _path(path)) for name, path in wanted]

    def extract(line: str) -> Pairs:
        whole = _loaded(line)
        return [(name, _text(_reached(whole, path))) for name, path in paths]

    return extract


def logfmt_all(*, strict: bool = False, keep_empty: bool = False) -> Extractor:
    """Take every ``key=value``; of equal keys the first. Not ``strict`` passes over other text."""

    def extract(line: str) -> Pairs:
        found: dict[str, str] = {}
        for key, value in _fields(line, strict=strict):
            if (value or keep_empty) and len(found) < MAX_LABELS:
                found.setdefault(label_name(key), value)
        return list(found.items())

    return extract


def logfmt_some(wanted: Pairs, *, strict: bool = False) -> Extractor:
    """Take the values of keys; a key that is missing gives an empty value."""

    def extract(line: str) -> Pairs:
        found: dict[str, str] = {}
        for key, value in _fields(line, strict=strict):
            found.setdefault(key, value)
        return [(name, found.get(key, "")) for name, key in wanted]

    return extract


def regexp(expression: str) -> Extractor:
    """Take the named groups of the first match.

    The extractor raises QueryError where all lines together may take too long.
    """
    search = LineSearch(expression, exact=True).match

    def extract(line: str) -> Pairs:
        match = search(line)
        return [] if match is None else [(k, v or "") for k, v in match.groupdict().items()]

    return extract


def pattern(expression: str) -> Extractor:
    """Take ``<name>`` holes between literals: ``<ip> - <_> "<method> <path>"``.

    Raises:
        QueryError: No named hole, or two holes without a literal between them.
    """
    parts = _HOLE.split(expression)
    literals, names = parts[::2], parts[1::2]
    if not any(name != "_" for name in names):
        raise QueryError(f"parse error : at least one capture is required: {expression!r}")
    if any(not text for text in literals[1:-1]):
        raise QueryError(f"parse error : found consecutive capture: {expression!r}")

    def extract(line: str) -> Pairs:
        if not line.startswith(literals[0]):
            return []
        found: list[tuple[str, str]] = []
        place = len(literals[0])
        for name, literal in zip(names, literals[1:], strict=True):
            end = line.find(literal, place) if literal else len(line)
            if name != "_":
                found.append((name, line[place : end if end >= 0 else len(line)]))
            if end < 0:
                break
            place = end + len(literal)
        return found

    return extract


def _loaded(line: str) -> dict[str, Any]:
    # Most lines that are no JSON are told by their first character, which is cheaper.
    if not line.startswith("{") and not line.lstrip().startswith("{"):
        raise ExtractError("JSONParserErr", "expecting json object, but it is not")
    try:
        value: dict[str, Any] = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        raise ExtractError("JSONParserErr", f"the line is no JSON: {error}") from error
    return value


def _flatten(value: dict[str, Any], prefix: str, out: list[tuple[str, str]], depth: int) -> None:
    for key, inner in value.items():
        name = f"{prefix}_{label_name(key)}" if prefix else label_name(key)
        if type(inner) is str:
            out.append((name, inner))
        elif isinstance(inner, dict):
            if depth < MAX_DEPTH:
                _flatten(inner, name, out, depth + 1)
        elif not isinstance(inner, list) and inner is not None:
            out.append((name, _text(inner)))


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case _:
            return json.dumps(value, separators=(",", ":"))


def _path(text: str) -> list[str | int]:
    """Split a path into keys and indices."""
    steps: list[str | int] = []
    place = 0
    while place < len(text):
        match = _STEP.match(text, place)
        if match is None:
            raise QueryError(
                f"parse error : cannot parse expression [{text}]: unexpected character"
            )
        if match[2] is not None:
            steps.append(int(match[2][:9]))
        else:
            steps.append(match[1] if match[1] is not None else match[3].replace('\\"', '"'))
        place = match.end()
    if not steps:
        raise QueryError("parse error : a json expression is empty")
    return steps


def _reached(value: Any, path: list[str | int]) -> Any:
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _fields(line: str, *, strict: bool) -> Pairs:
    found: list[tuple[str, str]] = []
    place = 0
    for match in _FIELD.finditer(line):
        if strict and line[place : match.start()].strip():
            raise ExtractError("LogfmtParserErr", f"logfmt syntax error at pos {place + 1}")
        place = match.end()
        value = match[2] or ""
        if value[:1] == '"':
            value = value[1:-1].replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
        found.append((match[1], value))
    if strict and line[place:].strip():
        raise ExtractError("LogfmtParserErr", f"logfmt syntax error at pos {place + 1}")
    return found
