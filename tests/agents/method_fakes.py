"""Made telemetry for agents that compute: metrics by query, traces by window, and spans by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from agents_fakes import FakeTrial

from aiopslab.agents.sampling import Span, Trace
from aiopslab.models.observation import Observation
from aiopslab.models.task import Task

NOW = datetime.fromisoformat("2026-03-10T09:00:00Z").timestamp()
"""Hand-over of every ``FakeTrial``."""
SERVICES = [
    {"component": "web", "kind": "Deployment"},
    {"component": "cart", "kind": "Deployment"},
    {"component": "cart-db", "kind": "StatefulSet"},
    {"component": "node-a", "kind": "Node"},
]
Values = Callable[[str], dict[str, list[float]]]
"""PromQL to component -> values, one each 15 s up to hand-over."""


def span(
    id: str,
    parent: str = "",
    *,
    service: str = "web",
    start: float = 0.0,
    end: float = 1.0,
    kind: str = "server",
    callee: str = "",
    failed: bool = False,
    name: str = "GET /",
    pod: str | None = None,
) -> Span:
    return Span(
        id, parent, service, f"{service}-7d9f-x2" if pod is None else pod, name, kind, failed,
        callee, start, end,
    )  # fmt: skip


def request(number: int, *, slow_s: float = 0.0, at: float = 0.0, failed: bool = False) -> Trace:
    """Web calls cart, cart asks its store, which takes so much longer; or cart is not there."""
    jitter = 0.001 * (number % 7)
    own, store = 0.010 + jitter, 0.005 + slow_s
    whole = 2 * own + store
    t = f"{number:04x}"
    top = span(f"{t}a", start=at, end=at + whole + own, failed=failed)
    call = span(
        f"{t}b", top.id, kind="client", callee="cart", name="GET /cart", failed=failed,
        start=at + own / 2, end=at + own / 2 + whole,
    )  # fmt: skip
    if failed:
        return (top, call)
    served = span(f"{t}c", call.id, service="cart", start=call.start, end=call.end)
    asked = span(
        f"{t}d", served.id, service="cart", kind="client", callee="cart-db", name="SELECT carts",
        start=call.start + own / 2, end=call.start + own / 2 + store,
    )  # fmt: skip
    return (top, call, served, asked)


def told(trace: Trace) -> dict[str, Any]:
    """A trace as the tool ``telemetry_sql`` returns it."""
    rows = [
        [s.id, s.parent, s.service, s.pod, s.name, s.kind, "Error" if s.failed else "Unset",
         s.callee, str(s.start), str(s.duration * 1000.0)]
        for s in trace
    ]  # fmt: skip
    return {"trace_id": trace[0].id, "spans": rows}


class MadeTrial(FakeTrial):
    """Answers metrics by their query, and traces by their window.

    Args:
        task: The task.
        healthy: Traces of the first window.
        recent: Those of the last.
        values: PromQL to series.
        **more: Answers of other tools.
    """

    def __init__(
        self,
        task: Task,
        *,
        healthy: Sequence[Trace] = (),
        recent: Sequence[Trace] = (),
        values: Values = lambda query: {},
        **more: Any,
    ) -> None:
        answers = {"services": (True, "", SERVICES)} | more
        super().__init__(task, answers)
        self._healthy, self._recent, self._values = healthy, recent, values
        self.kept: dict[str, bytes] = {}

    def keep(self, name: str, content: bytes) -> None:
        self.kept[name] = content

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        seen = await super().call(name, **arguments)
        match name:
            case "metrics_range":
                return seen.model_copy(update={"data": self._series(arguments["query"])})
            case "telemetry_sql":
                return seen.model_copy(update={"data": self._rows(arguments["sql"])})
            case _:
                return seen

    def _series(self, query: str) -> list[dict[str, Any]]:
        return [
            {
                "labels": {"service": name},
                "points": [[NOW - 15.0 * (len(row) - 1 - i), v] for i, v in enumerate(row)],
            }
            for name, row in self._values(query).items()
        ]

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        if "AS first" in sql:
            return [{"first": NOW - 600.0, "traces": 2000}]
        end = re.search(r"< ([\d.]+)", sql)
        assert end is not None
        return [told(t) for t in (self._recent if float(end[1]) > NOW - 100.0 else self._healthy)]
