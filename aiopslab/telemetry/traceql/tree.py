"""The syntax tree of TraceQL's search: conditions on one span, and sets of spans of one trace.

Built by ``parser``, made masks by ``masks`` and traces by ``engine``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aiopslab.telemetry.traceql.fields import Scalar, Scope

CompareOp = Literal["=", "!=", "<", "<=", ">", ">=", "=~", "!~"]
LogicOp = Literal["&&", "||"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """``scope.name op value``; durations are seconds, ``nil`` is None."""

    scope: Scope
    name: str
    op: CompareOp
    value: Scalar


@dataclass(frozen=True, slots=True)
class Every:
    """``{}``: every span."""


@dataclass(frozen=True, slots=True)
class Not:
    """``!(...)``."""

    inner: Condition


@dataclass(frozen=True, slots=True)
class Logic:
    """Two conditions on the same span."""

    op: LogicOp
    left: Condition
    right: Condition


Condition = Comparison | Every | Not | Logic


@dataclass(frozen=True, slots=True)
class SpanSet:
    """``{ ... }``: the spans of a trace that meet a condition."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class SpanSets:
    """Two sets of one trace: both must have spans, or one of them."""

    op: LogicOp
    left: Search
    right: Search


Search = SpanSet | SpanSets
