"""Both answers to one question, and what is different between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from promql_data import START
from promql_oracle import Oracle, OracleError

from aiopslab.telemetry.promql import Answer, Engine, QueryError

INSTANTS = (START + 630.7, START + 1290.7, START + 1803.7)
RANGE = (START + 903.7, START + 2103.7, 75.0)
RELATIVE = 1e-9
ABSOLUTE = 1e-12
"""Where terms cancel, all digits are rounding errors."""
Points = dict[float, float]
Matrix = dict[tuple[tuple[str, str], ...], Points]


@dataclass(slots=True)
class Comparison:
    """Asks both sides and counts."""

    oracle: Oracle
    engine: Engine
    expressions: set[str] = field(default_factory=set)
    points: int = 0

    def differences(self, expression: str, *, ordered: bool = False, span: bool = True) -> str:
        """Return the first difference of the answers at instants and over the range, or ''."""
        self.expressions.add(expression)
        for at in INSTANTS:
            theirs = self._theirs("query", query=expression, time=f"{at:.3f}")
            ours = self._ours(lambda at=at: self.engine.query(expression, at))
            if found := self._compare(theirs, ours, ordered=ordered):
                return f"at {at - START:g}: {found}"
        if not span:
            return ""
        start, end, step = RANGE
        theirs = self._theirs("query_range", query=expression, start=f"{start:.3f}",
                              end=f"{end:.3f}", step=f"{step:g}")  # fmt: skip
        ours = self._ours(lambda: self.engine.query_range(expression, *RANGE))
        found = self._compare(theirs, ours, ordered=True)
        return f"over the range: {found}" if found else ""

    def errors(self, expression: str) -> tuple[str, str]:
        """Return both sides' error messages; '' where there is none."""
        self.expressions.add(expression)
        theirs = self._theirs("query", query=expression, time=f"{INSTANTS[0]:.3f}")
        ours = self._ours(lambda: self.engine.query(expression, INSTANTS[0]))
        return theirs if isinstance(theirs, str) else "", ours if isinstance(ours, str) else ""

    def _theirs(self, path: str, **form: str) -> Any:
        try:
            return self.oracle.get(path, **form)
        except OracleError as error:
            return str(error)

    def _ours(self, ask: Any) -> Answer | str:
        try:
            answer: Answer = ask()
        except QueryError as error:
            return str(error)
        return answer

    def _compare(self, theirs: Any, ours: Answer | str, *, ordered: bool) -> str:
        if isinstance(theirs, str) or isinstance(ours, str):
            if isinstance(theirs, str) and isinstance(ours, str):
                return ""
            return f"Prometheus says {theirs!r}, we {ours!r}"
        if theirs["resultType"] != ours.kind:
            return f"Prometheus gives a {theirs['resultType']}, we a {ours.kind}"
        if ours.kind == "string":
            return "" if theirs["result"][1] == ours.text else f"{ours.text!r}"
        left = _matrix(theirs)
        right = {tuple(sorted(s.labels.items())): dict(s.points) for s in ours.series}
        if left.keys() != right.keys():
            return f"only Prometheus has {left.keys() - right}, only we {right.keys() - left}"
        if ordered and list(left) != list(right):
            return f"Prometheus' order is {list(left)}, ours {list(right)}"
        for labels, points in left.items():
            self.points += len(points)
            if found := _different(points, right[labels]):
                return f"{labels}: {found}"
        return ""


def _matrix(data: Any) -> Matrix:
    if data["resultType"] == "scalar":
        return {(): {data["result"][0]: float(data["result"][1])}}
    return {
        tuple(sorted(s["metric"].items())): {
            t: float(v) for t, v in (s.get("values") or [s["value"]])
        }
        for s in data["result"]
    }


def _different(left: Points, right: Points) -> str:
    if left.keys() != right.keys():
        return f"points {sorted(left.keys() ^ right.keys())} are on one side only"
    for time, value in left.items():
        if not same(value, right[time]):
            return f"at {time - START:g} Prometheus has {value!r}, we {right[time]!r}"
    return ""


def same(a: float, b: float) -> bool:
    """Tell whether two values agree to the ninth digit."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
