"""What users experienced: outcome and latency of every intended request.

The truth that grading uses, kept by the generator and out of an agent's reach. A request is
recorded when its outcome is known: an answer, or its user gave up. Until then it is not counted.
Not here: the app's own metrics, which agents can see (``telemetry``).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aiopslab.models.evidence import SliWindow
from aiopslab.models.journey import Slo


class Slis:
    """Outcomes by intended start, in columns (18 bytes a request).

    Args:
        slos: Journey to promise; a journey without one is recorded but never reported.
    """

    def __init__(self, slos: Mapping[str, Slo]) -> None:
        self._slos = dict(slos)
        self._codes = {name: code for code, name in enumerate(sorted(slos))}
        self._start = array("d")
        self._latency = array("d")
        self._ok = array("b")
        self._journey = array("b")

    def __len__(self) -> int:
        return len(self._start)

    def record(self, journey: str, start: float, latency_s: float, *, ok: bool) -> None:
        """Add an outcome: intended start (unix seconds), seconds until it was known."""
        code = self._codes.get(journey)
        if code is None:
            return
        self._start.append(start)
        self._latency.append(latency_s)
        self._ok.append(ok)
        self._journey.append(code)

    def window(self, start: float, end: float) -> list[SliWindow]:
        """Summarise the requests intended within [start, end), one entry a journey, by name."""
        columns = self._columns()
        inside = (columns.start >= start) & (columns.start < end)
        return [
            self._summary(name, start, end, columns, inside & (columns.journey == code))
            for name, code in self._codes.items()
        ]

    def _summary(
        self,
        journey: str,
        start: float,
        end: float,
        columns: _Columns,
        chosen: NDArray[np.bool_],
    ) -> SliWindow:
        slo = self._slos[journey]
        ok = columns.ok[chosen]
        p50, p95, p99 = _percentiles_ms(columns.latency[chosen][ok])
        return SliWindow(
            journey=journey,
            start=start,
            end=end,
            offered=len(ok),
            succeeded=int(ok.sum()),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            slo_success=slo.success,
            slo_p95_ms=slo.p95_ms,
            met=_met(slo, ok, columns.latency[chosen]),
        )

    def _columns(self) -> _Columns:
        return _Columns(
            np.array(self._start, dtype=np.float64),
            np.array(self._latency, dtype=np.float64),
            np.array(self._ok, dtype=np.bool_),
            np.array(self._journey, dtype=np.int8),
        )


class _Columns:
    """A copy of the arrays: an ``array`` that is viewed cannot grow."""

    __slots__ = ("journey", "latency", "ok", "start")

    def __init__(
        self,
        start: NDArray[np.float64],
        latency: NDArray[np.float64],
        ok: NDArray[np.bool_],
        journey: NDArray[np.int8],
    ) -> None:
        self.start = start
        self.latency = latency
        self.ok = ok
        self.journey = journey


def _met(slo: Slo, ok: NDArray[np.bool_], latency_s: NDArray[np.float64]) -> bool:
    """Success ratio and p95 of the successful ones keep the promise; without requests, not met."""
    if not len(ok) or not ok.any() or ok.mean() < slo.success:
        return False
    return float(np.percentile(latency_s[ok], 95)) * 1000.0 <= slo.p95_ms


def _percentiles_ms(
    latency_s: NDArray[np.float64],
) -> tuple[float | None, float | None, float | None]:
    """p50, p95, p99 in milliseconds of successful requests (linear interpolation); or None."""
    if not len(latency_s):
        return None, None, None
    p50, p95, p99 = (float(q) for q in np.percentile(latency_s, (50, 95, 99)) * 1000.0)
    return p50, p95, p99
