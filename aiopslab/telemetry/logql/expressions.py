"""The grammar of metric queries: range and vector aggregations, operators, functions.

Extends the parser of log queries; ``parse`` reads either kind. Not here: evaluation (``metrics``).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from aiopslab.telemetry.logql import tokens
from aiopslab.telemetry.logql.parser import Parser
from aiopslab.telemetry.logql.tree import (
    Binary,
    By,
    LabelReplace,
    LogQuery,
    Metric,
    Number,
    Query,
    RangeAggregation,
    Unwrap,
    VectorAggregation,
    VectorOf,
)
from aiopslab.telemetry.promql.durations import LONGEST_S
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.regex import compile_bounded

LINES = ("rate", "count_over_time", "bytes_rate", "bytes_over_time", "absent_over_time")
"""Range aggregations of lines; of these ``rate`` and ``absent_over_time`` also take samples."""
SAMPLES = (
    "sum_over_time", "avg_over_time", "max_over_time", "min_over_time", "first_over_time",
    "last_over_time", "stdvar_over_time", "stddev_over_time", "quantile_over_time",
)  # fmt: skip
"""Range aggregations of unwrapped samples."""
_BOTH = ("rate", "absent_over_time")
_UNGROUPED = ("sum_over_time", *LINES)
VECTOR = (
    "sum", "avg", "min", "max", "count", "stddev", "stdvar", "topk", "bottomk", "sort",
    "sort_desc",
)  # fmt: skip
_REFUSED = ("approx_topk", "variants", "quantile", "count_values", "rate_counter")
_LEVELS = (
    ("or",), ("and", "unless"), ("==", "!=", "<=", "<", ">=", ">"), ("+", "-"), ("*", "/", "%"),
    ("^",),
)  # fmt: skip
"""Binary operators by binding strength, the weakest first."""
_POWER = len(_LEVELS) - 1
_MOST_DIGITS = 18
"""Of an integer that Go reads for certain."""


@lru_cache(maxsize=256)
def parse(query: str) -> Query:
    """Parse a log query or a metric query.

    Raises:
        QueryError: Malformed or not supported, with line and column.
    """
    parser = _Expressions(query)
    found: Query = parser.log_query() if parser.is_log_query() else parser.expression(0)
    if parser.token.kind != "$end":
        parser.unexpected()
    return found


def parse_selector(query: str) -> LogQuery:
    """Parse a stream selector without stages.

    Raises:
        QueryError: Anything else.
    """
    found = parse(query)
    if not isinstance(found, LogQuery) or found.stages:
        raise QueryError(f"only label matchers are supported, not {query!r}")
    return found


class _Expressions(Parser):
    """The parser with metric expressions."""

    def is_log_query(self) -> bool:
        """Say whether a selector stands behind the parentheses that come next."""
        for token in self._tokens:
            if token.kind == "OPERATOR" and token.text == "(":
                continue
            return token.kind == "OPERATOR" and token.text == "{"
        return False

    def expression(self, level: int) -> Metric:
        """Read operators from a binding strength up."""
        if level == len(_LEVELS):
            return self._operand()
        left = self.expression(level + 1)
        while self.at(*_LEVELS[level]):
            op = self.take().text
            as_bool, matching, group, include = self._modifiers(op)
            # Powers bind to the right, everything else to the left.
            self.deeper()
            right = self.expression(level if level == _POWER else level + 1)
            self.shallower()
            left = _checked(Binary(op, left, right, matching, group, include, as_bool))
        return left

    def _modifiers(
        self, op: str
    ) -> tuple[bool, By | None, Literal["", "left", "right"], tuple[str, ...]]:
        as_bool = self.accept("bool")
        if as_bool and op not in _LEVELS[2]:
            self.fail("bool modifier can only be used on comparison operators")
        if not self.at("on", "ignoring"):
            return as_bool, None, "", ()
        matching = By(self.take().text == "on", self._names())
        if not self.at("group_left", "group_right"):
            return as_bool, matching, "", ()
        side: Literal["left", "right"] = "left" if self.take().text == "group_left" else "right"
        return as_bool, matching, side, self._names() if self.at("(") else ()

    def _operand(self) -> Metric:
        token = self.token
        if self.at("(") and not self._selector_follows():
            self.take()
            self.deeper()
            inner = self.expression(0)
            self.expect(")")
            self.shallower()
            return inner
        if self.accept("+") or self.at("-"):
            sign = -1.0 if self.accept("-") else 1.0
            return Number(sign * tokens.literal(self.expect_kind("NUMBER")))
        if token.kind == "NUMBER":
            return Number(tokens.literal(self.take().text))
        if token.kind != "IDENTIFIER":
            if self.at("{", "("):
                self.fail("a log query stands where a metric query must; use rate({...}[5m])")
            self.unexpected()
        if token.text in LINES or token.text in SAMPLES:
            return self._range_aggregation()
        if token.text in VECTOR:
            return self._vector_aggregation()
        if token.text == "label_replace":
            return self._label_replace()
        if token.text == "vector":
            return self._vector_of()
        if token.text in _REFUSED:
            self.fail(f"{token.text} is not supported")
        raise self.refusal(f"syntax error: unexpected IDENTIFIER, unknown function {token.text!r}")

    def _selector_follows(self) -> bool:
        place = self._place
        while self._tokens[place].kind == "OPERATOR" and self._tokens[place].text == "(":
            place += 1
        return self._tokens[place].kind == "OPERATOR" and self._tokens[place].text == "{"

    # -- range aggregations -----------------------------------------------------------------------

    def _range_aggregation(self) -> RangeAggregation:
        name = self.take()
        self.expect("(")
        parameter = None
        if name.text == "quantile_over_time":
            parameter = tokens.literal(self.expect_kind("NUMBER"))
            self.expect(",")
        query, window, offset, unwrap = self._log_range()
        self.expect(")")
        grouping = self._grouping()
        if unwrap is None and name.text not in LINES:
            self.fail(f"invalid aggregation {name.text} without unwrap", name)
        if unwrap is not None and name.text not in SAMPLES + _BOTH:
            self.fail(f"invalid aggregation {name.text} with unwrap", name)
        if grouping is not None and name.text in _UNGROUPED:
            self.fail(f"grouping not allowed for {name.text} aggregation", name)
        return RangeAggregation(name.text, query, window, offset, unwrap, parameter, grouping)

    def _log_range(self) -> tuple[LogQuery, float, float, Unwrap | None]:
        """Read ``{...} stages [5m] offset 1m``; the range may also stand before the stages."""
        if self.at("(") and self._selector_follows():
            self.take()
            self.deeper()
            query, window, offset, unwrap = self._open_range()
            self.expect(")")
            self.shallower()
        else:
            query, window, offset, unwrap = self._open_range()
        if window is None:
            window, offset = self._range()
        return query, window, offset, unwrap

    def _open_range(self) -> tuple[LogQuery, float | None, float, Unwrap | None]:
        window, offset = None, 0.0
        if self.at("("):
            query = self.log_query()
        else:
            matchers = self.selector()
            if self.at("["):
                window, offset = self._range()
            query = LogQuery(matchers, self.stages())
        unwrap = self.unwrap()
        if window is None and self.at("["):
            window, offset = self._range()
        return query, window, offset, unwrap

    def _range(self) -> tuple[float, float]:
        self.expect("[")
        window = self._duration()
        if window <= 0:
            self.fail("the range must be positive")
        self.expect("]")
        offset = 0.0
        if self.accept("offset"):
            sign = -1.0 if self.accept("-") else 1.0
            offset = sign * self._duration()
        if self.at("@"):
            self.fail("the @ modifier is not part of LogQL")
        return window, offset

    def _duration(self) -> float:
        place = self.token
        seconds = tokens.parse_duration(self.expect_kind("DURATION")) or 0.0
        if seconds > LONGEST_S:
            self.fail("duration out of range", place)
        return seconds

    # -- vector aggregations and functions --------------------------------------------------------

    def _vector_aggregation(self) -> VectorAggregation:
        name = self.take()
        grouping = self._grouping()
        self.expect("(")
        self.deeper()
        parameter = None
        if name.text in ("topk", "bottomk"):
            place = self.token
            text = self.expect_kind("NUMBER")
            if not text.isdigit() or len(text) > _MOST_DIGITS or int(text) < 1:
                self.fail(f"invalid parameter {name.text}({text},", place)
            parameter = int(text)
            self.expect(",")
        inner = self.expression(0)
        self.expect(")")
        self.shallower()
        if grouping is None:
            grouping = self._grouping()
        if grouping is not None and name.text in ("sort", "sort_desc"):
            self.fail(f"grouping not allowed for {name.text} aggregation", name)
        return VectorAggregation(name.text, inner, grouping, parameter)

    def _grouping(self) -> By | None:
        if not self.at("by", "without"):
            return None
        return By(self.take().text == "by", self._names())

    def _names(self) -> tuple[str, ...]:
        self.expect("(")
        names: list[str] = []
        while not self.at(")"):
            if names:
                self.expect(",")
            names.append(self.expect_kind("IDENTIFIER"))
        self.expect(")")
        return tuple(names)

    def _vector_of(self) -> VectorOf:
        self.take()
        self.expect("(")
        sign = -1.0 if self.accept("-") else 1.0
        value = sign * tokens.literal(self.expect_kind("NUMBER"))
        self.expect(")")
        return VectorOf(value)

    def _label_replace(self) -> LabelReplace:
        self.take()
        self.expect("(")
        inner = self.expression(0)
        texts: list[str] = []
        for _ in range(4):
            self.expect(",")
            place = self.token
            texts.append(self.expect_kind("STRING"))
        self.expect(")")
        try:
            compile_bounded(texts[3])
        except re.error as error:
            self.fail(f"invalid regex in label_replace: {error}", place)
        return LabelReplace(inner, *texts)


def _checked(binary: Binary) -> Binary:
    """Refuse set operators on literals."""
    if binary.op in ("and", "or", "unless") and (
        isinstance(binary.left, Number) or isinstance(binary.right, Number)
    ):
        side = "left" if isinstance(binary.left, Number) else "right"
        raise QueryError(
            f"parse error : unexpected literal for {side} leg of logical/set binary operation"
            f" ({binary.op})"
        )
    return binary
