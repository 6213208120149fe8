"""The syntax tree of LogQL: selectors, pipeline stages, metric expressions.

Built by ``parser`` and ``expressions``, compiled by ``stages`` (lines) and ``metrics`` (numbers).
Not here: text, positions, meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MatchOp = Literal["=", "!=", "=~", "!~"]
LineOp = Literal["|=", "!=", "|~", "!~"]
CompareOp = Literal["==", "=", "!=", ">", ">=", "<", "<="]


@dataclass(frozen=True, slots=True)
class Matcher:
    """``name op "value"`` of a stream selector, a label filter, ``drop`` or ``keep``."""

    name: str
    op: MatchOp
    value: str


@dataclass(frozen=True, slots=True)
class LineFilter:
    """A line filter; ``texts`` after the first come from ``or``."""

    op: LineOp
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Extract:
    """``json`` or ``logfmt``; (label, path) pairs where parameters choose what is taken."""

    format: Literal["json", "logfmt"]
    wanted: tuple[tuple[str, str], ...] = ()
    strict: bool = False
    keep_empty: bool = False


@dataclass(frozen=True, slots=True)
class Capture:
    """``regexp "..."`` or ``pattern "..."``."""

    format: Literal["regexp", "pattern"]
    expression: str


@dataclass(frozen=True, slots=True)
class LineFormat:
    """``line_format "template"``."""

    template: str


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """``label_format``: (target, source, whether the source is a template)."""

    changes: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True, slots=True)
class Select:
    """``drop`` or ``keep``: labels by name, or by name and value."""

    keep: bool
    names: tuple[str, ...]
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class Decolorize:
    """``decolorize``: strips ANSI colours."""


@dataclass(frozen=True, slots=True)
class LabelText:
    """A label filter on text."""

    matcher: Matcher


@dataclass(frozen=True, slots=True)
class LabelNumber:
    """A label filter on a number, a duration in seconds or a size in bytes."""

    name: str
    op: CompareOp
    value: float
    unit: Literal["number", "duration", "bytes"]


@dataclass(frozen=True, slots=True)
class LabelLogic:
    """Two label filters combined."""

    op: Literal["and", "or"]
    left: LabelFilter
    right: LabelFilter


LabelFilter = LabelText | LabelNumber | LabelLogic
Stage = (
    LineFilter | Extract | Capture | LineFormat | LabelFormat | Select | Decolorize
    | LabelText | LabelNumber | LabelLogic
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A selector and its pipeline."""

    matchers: tuple[Matcher, ...]
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True)
class Unwrap:
    """``unwrap label``; filters behind it see the samples that could not be read."""

    label: str
    convert: Literal["number", "duration", "bytes"]
    filters: tuple[LabelFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class By:
    """``by (...)`` or ``without (...)``."""

    by: bool
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RangeAggregation:
    """``operation(query [window] offset)``, with its parameter and grouping if it has any."""

    operation: str
    query: LogQuery
    window: float
    offset: float = 0.0
    unwrap: Unwrap | None = None
    parameter: float | None = None
    grouping: By | None = None


@dataclass(frozen=True, slots=True)
class VectorAggregation:
    """``operation by (...) (inner)``; ``topk`` and ``bottomk`` have a parameter."""

    operation: str
    inner: Metric
    grouping: By | None = None
    parameter: int | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    """``left op right``."""

    op: str
    left: Metric
    right: Metric
    matching: By | None = None
    """``on`` is ``by``, ``ignoring`` is ``without``."""
    group: Literal["", "left", "right"] = ""
    include: tuple[str, ...] = ()
    as_bool: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float


@dataclass(frozen=True, slots=True)
class VectorOf:
    """``vector(number)``."""

    value: float


@dataclass(frozen=True, slots=True)
class LabelReplace:
    """``label_replace(inner, target, replacement, source, regex)``."""

    inner: Metric
    target: str
    replacement: str
    source: str
    regex: str


Metric = RangeAggregation | VectorAggregation | Binary | Number | VectorOf | LabelReplace
Query = LogQuery | Metric
