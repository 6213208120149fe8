"""Pipeline stages as functions on one line: filter, extract, format, unwrap.

A stage takes a ``Line`` and says whether it stays; what it learns goes into the line's labels.
Errors of a stage become the labels ``__error__`` and ``__error_details__``, as in Loki. Not here:
which lines are looked at (``engine``), numbers over windows (``metrics``).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import assert_never

from aiopslab.models.timestamps import rfc3339
from aiopslab.telemetry.linesearch import LineSearch
from aiopslab.telemetry.logql import extract
from aiopslab.telemetry.logql.extract import ExtractError, Extractor
from aiopslab.telemetry.logql.functions import TemplateError
from aiopslab.telemetry.logql.template import Render, compile_template
from aiopslab.telemetry.logql.tokens import parse_bytes, parse_duration, parse_number
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
    Matcher,
    Select,
    Stage,
    Unwrap,
)
from aiopslab.telemetry.promql.matching import Regex

ERROR = "__error__"
DETAILS = "__error_details__"
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "=": operator.eq, "!=": operator.ne, ">": operator.gt,
    ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_READ: Mapping[str, Callable[[str], float | None]] = {
    "number": parse_number, "duration": parse_duration, "bytes": parse_bytes,
}  # fmt: skip


class Line:
    """One line on its way through a pipeline."""

    __slots__ = ("base", "labels", "text", "time")

    def __init__(self, time: float, text: str, base: Mapping[str, str]) -> None:
        self.time = time
        self.text = text
        self.base = base
        """Labels of the stream; extracted ones of the same name get ``_extracted``."""
        self.labels = dict(base)

    def set(self, name: str, value: str) -> None:
        """Set a label; an empty value removes it."""
        if value:
            self.labels[name] = value
        else:
            self.labels.pop(name, None)

    def fail(self, kind: str, details: str) -> None:
        """Mark the line as one that a stage could not handle."""
        self.labels[ERROR] = kind
        self.labels[DETAILS] = details


Run = Callable[[Line], bool]


def compile_stages(stages: Sequence[Stage]) -> list[Run]:
    """Compile stages in their order.

    Raises:
        QueryError: A pattern, path or template is malformed.
    """
    return [_compile(stage) for stage in stages]


def line_test(stage: LineFilter) -> Callable[[str], bool]:
    """Compile a line filter to a test of text; ``engine`` runs the first ones by themselves."""
    if stage.op in ("|=", "!="):
        if len(stage.texts) == 1:
            text = stage.texts[0]
            return (lambda s: text in s) if stage.op == "|=" else (lambda s: text not in s)
        texts = stage.texts
        if stage.op == "|=":
            return lambda s: any(t in s for t in texts)
        return lambda s: not any(t in s for t in texts)
    searches = [LineSearch(pattern).found for pattern in stage.texts]
    if stage.op == "|~":
        return lambda s: any(found(s) for found in searches)
    return lambda s: not any(found(s) for found in searches)


def text_test(matcher: Matcher) -> Callable[[str], bool]:
    """Compile a matcher; regular expressions are anchored."""
    value = matcher.value
    match matcher.op:
        case "=":
            return lambda s: s == value
        case "!=":
            return lambda s: s != value
        case "=~":
            matches = Regex(value).match
            return lambda s: matches(s) is not None
        case "!~":
            matches = Regex(value).match
            return lambda s: matches(s) is None
        case _:
            assert_never(matcher.op)


def filter_run(stage: LabelFilter) -> Run:
    """Compile a label filter."""
    match stage:
        case LabelText(matcher):
            name, test = matcher.name, text_test(matcher)
            return lambda line: test(line.labels.get(name, ""))
        case LabelNumber():
            return partial(_number, stage, _COMPARE[stage.op], _READ[stage.unit])
        case LabelLogic(op, left, right):
            first, second = filter_run(left), filter_run(right)
            if op == "and":
                return lambda line: first(line) and second(line)
            return lambda line: first(line) or second(line)
        case _:
            assert_never(stage)


def unwrapped(unwrap: Unwrap) -> Callable[[Line], float | None]:
    """Compile ``unwrap``: the sample of a line, or None if it has none.

    A label that cannot be read marks the line with ``SampleExtractionErr`` and counts as 0.
    """
    read, filters = _READ[unwrap.convert], [filter_run(f) for f in unwrap.filters]

    def sample(line: Line) -> float | None:
        text = line.labels.pop(unwrap.label, None)
        if text is None:
            return None
        value = read(text)
        if value is None:
            line.fail("SampleExtractionErr", f"{unwrap.convert} of {text!r} cannot be read")
            value = 0.0
        return value if all(keep(line) for keep in filters) else None

    return sample


def _compile(stage: Stage) -> Run:
    match stage:
        case LineFilter():
            test = line_test(stage)
            return lambda line: test(line.text)
        case Extract() | Capture():
            return partial(_extract, _extractor(stage))
        case LineFormat(template):
            return partial(_format_line, compile_template(template))
        case LabelFormat(changes):
            compiled = [
                (target, compile_template(source) if is_template else source)
                for target, source, is_template in changes
            ]
            return partial(_format_labels, compiled)
        case Select(keep, names, matchers):
            tests = [(m.name, text_test(m)) for m in matchers]
            return partial(_keep if keep else _drop, frozenset(names), tests)
        case Decolorize():
            return _decolorize
        case LabelText() | LabelNumber() | LabelLogic():
            return filter_run(stage)
        case _:
            assert_never(stage)


def _extractor(stage: Extract | Capture) -> Extractor:
    if isinstance(stage, Capture):
        make = extract.regexp if stage.format == "regexp" else extract.pattern
        return make(stage.expression)
    if stage.format == "json":
        return extract.json_some(stage.wanted) if stage.wanted else extract.json_all
    if stage.wanted:
        return extract.logfmt_some(stage.wanted, strict=stage.strict)
    return extract.logfmt_all(strict=stage.strict, keep_empty=stage.keep_empty)


def _extract(extractor: Extractor, line: Line) -> bool:
    try:
        pairs = extractor(line.text)
    except ExtractError as error:
        line.fail(error.kind, str(error))
        return True
    base, labels = line.base, line.labels
    for name, value in pairs:
        if name in base:
            line.set(f"{name}_extracted", value)
        elif value:
            labels[name] = value
        else:
            labels.pop(name, None)
    return True


def _number(
    stage: LabelNumber,
    compare: Callable[[float, float], bool],
    read: Callable[[str], float | None],
    line: Line,
) -> bool:
    text = line.labels.get(stage.name)
    if ERROR in line.labels:
        # Only text filters decide about lines with an error.
        return True
    if text is None:
        return False
    value = read(text)
    if value is None:
        line.fail("LabelFilterErr", f"{stage.unit} filter: {stage.name}={text!r} cannot be read")
        return True
    return compare(value, stage.value)


def _surroundings(line: Line) -> dict[str, str]:
    return {**line.labels, "__line__": line.text, "__timestamp__": rfc3339(line.time)}


def _format_line(render: Render, line: Line) -> bool:
    try:
        line.text = render(_surroundings(line))
    except TemplateError as error:
        line.fail("TemplateFormatErr", str(error))
    return True


def _format_labels(changes: Sequence[tuple[str, Render | str]], line: Line) -> bool:
    for target, source in changes:
        if isinstance(source, str):
            value = line.labels.pop(source, None)
            if value is not None:
                line.set(target, value)
            continue
        try:
            line.set(target, source(_surroundings(line)))
        except TemplateError as error:
            line.fail("TemplateFormatErr", str(error))
            break
    return True


def _drop(
    names: frozenset[str], tests: Sequence[tuple[str, Callable[[str], bool]]], line: Line
) -> bool:
    gone = [n for n in line.labels if n in names]
    gone += [n for n, test in tests if n in line.labels and test(line.labels[n])]
    for name in gone:
        line.labels.pop(name, None)
    return True


def _keep(
    names: frozenset[str], tests: Sequence[tuple[str, Callable[[str], bool]]], line: Line
) -> bool:
    held = names | {n for n, test in tests if n in line.labels and test(line.labels[n])}
    line.labels = {k: v for k, v in line.labels.items() if k in held or k in (ERROR, DETAILS)}
    return True


def _decolorize(line: Line) -> bool:
    line.text = _COLOURS.sub("", line.text)
    return True
