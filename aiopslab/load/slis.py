"""What users experienced: outcome and latency of every intended request.

The truth that grading uses, kept by the generator and out of an agent's reach. A request is
recorded when its outcome is known: an answer, or its user gave up. Until then it is not counted.
Of streamed answers the time to the first part and the pauses between parts are kept as well. Not
here: the app's own metrics, which agents can see (``telemetry``).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aiopslab.models.evidence import SliWindow
from aiopslab.models.journey import Slo
from aiopslab.models.sli_series import JourneySeries, SliSeries


class Slis:
    """Outcomes by intended start, in columns (26 bytes a request, 20 more a distinct pause).

    Args:
        slos: Journey to promise; a journey without one is recorded but never reported.
    """

    def __init__(self, slos: Mapping[str, Slo]) -> None:
        self._slos = dict(slos)
        self._codes = {name: code for code, name in enumerate(sorted(slos))}
        self._start = array("d")
        self._latency = array("d")
        self._first = array("d")
        self._ok = array("b")
        self._journey = array("b")
        self._pause_of = array("q")
        self._pause = array("d")
        self._pause_count = array("l")
        self._recorded = False

    def __len__(self) -> int:
        return len(self._start)

    def record(self, journey: str, start: float, latency_s: float, *, ok: bool) -> None:
        """Add an outcome: intended start (unix seconds), seconds until it was known."""
        code = self._codes.get(journey)
        self._recorded = code is not None
        if code is None:
            return
        self._start.append(start)
        self._latency.append(latency_s)
        self._first.append(np.nan)
        self._ok.append(ok)
        self._journey.append(code)

    def streamed(self, first_s: float, pauses: Sequence[tuple[float, int]]) -> None:
        """Say of the outcome recorded last how its answer was streamed.

        Args:
            first_s: Seconds from the intended start to the first part.
            pauses: Pauses between parts: (seconds, how often).
        """
        if not self._recorded:
            return
        row = len(self._start) - 1
        self._first[row] = first_s
        for seconds, count in pauses:
            self._pause_of.append(row)
            self._pause.append(seconds)
            self._pause_count.append(count)

    def window(self, start: float, end: float) -> list[SliWindow]:
        """Summarise the requests intended within [start, end), one entry a journey, by name."""
        columns = self._columns()
        inside = (columns.start >= start) & (columns.start < end)
        return [
            self._summary(name, start, end, columns, inside & (columns.journey == code))
            for name, code in self._codes.items()
        ]

    def series(self, start: float, bucket_s: float, n: int) -> SliSeries:
        """Summarise the requests intended from ``start`` on, in n buckets of so many seconds."""
        columns = self._columns()
        slot = np.floor((columns.start - start) / bucket_s).astype(np.int64)
        inside = (slot >= 0) & (slot < n)
        journeys = []
        for name, code in self._codes.items():
            mine = inside & (columns.journey == code)
            good = mine & columns.ok
            slo = self._slos[name]
            journeys.append(
                JourneySeries(
                    journey=name, slo_success=slo.success, slo_p95_ms=slo.p95_ms,
                    offered=np.bincount(slot[mine], minlength=n).tolist(),
                    succeeded=np.bincount(slot[good], minlength=n).tolist(),
                    p95_ms=_p95_ms_by(slot[good], columns.latency[good], n),
                )
            )  # fmt: skip
        return SliSeries(start=start, bucket_s=bucket_s, journeys=journeys)

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
        latency = columns.latency[chosen][ok]
        p50, p95, p99 = _percentiles_ms(latency)
        first = columns.first[chosen & columns.ok]
        ttft = _percentile_ms(first[~np.isnan(first)], 95)
        tbt, stall = self._pauses_ms(chosen) if ttft is not None else (None, None)
        success = float(ok.mean()) if len(ok) else 0.0
        return SliWindow(
            journey=journey, start=start, end=end,
            offered=len(ok), succeeded=int(ok.sum()),
            p50_ms=p50, p95_ms=p95, p99_ms=p99,
            slo_success=slo.success, slo_p95_ms=slo.p95_ms,
            met=success >= slo.success and _within(p95, slo.p95_ms)
            and (slo.ttft_p95_ms is None or _within(ttft, slo.ttft_p95_ms))
            and (slo.tbt_p99_ms is None or _within(tbt, slo.tbt_p99_ms))
            and (slo.tbt_p999_ms is None or _within(stall, slo.tbt_p999_ms)),
            ttft_p95_ms=ttft, tbt_p99_ms=tbt, tbt_p999_ms=stall,
            slo_ttft_p95_ms=slo.ttft_p95_ms, slo_tbt_p99_ms=slo.tbt_p99_ms,
            slo_tbt_p999_ms=slo.tbt_p999_ms,
        )  # fmt: skip

    def _pauses_ms(self, chosen: NDArray[np.bool_]) -> tuple[float | None, float | None]:
        """Return the pauses that 99 % and 99.9 % of the parts of the chosen did not exceed."""
        mine = chosen[np.array(self._pause_of, dtype=np.int64)]
        pauses = np.array(self._pause, dtype=np.float64)[mine]
        counts = np.array(self._pause_count, dtype=np.int64)[mine]
        if not len(pauses):
            return None, None
        order = np.argsort(pauses, kind="stable")
        reached = np.cumsum(counts[order])
        at = np.searchsorted(reached, np.array([0.99, 0.999]) * reached[-1])
        p99, p999 = (float(p) * 1000.0 for p in pauses[order][at])
        return p99, p999

    def _columns(self) -> _Columns:
        return _Columns(
            np.array(self._start, dtype=np.float64),
            np.array(self._latency, dtype=np.float64),
            np.array(self._first, dtype=np.float64),
            np.array(self._ok, dtype=np.bool_),
            np.array(self._journey, dtype=np.int8),
        )


class _Columns:
    """A copy of the arrays: an ``array`` that is viewed cannot grow."""

    __slots__ = ("first", "journey", "latency", "ok", "start")

    def __init__(
        self,
        start: NDArray[np.float64],
        latency: NDArray[np.float64],
        first: NDArray[np.float64],
        ok: NDArray[np.bool_],
        journey: NDArray[np.int8],
    ) -> None:
        self.start = start
        self.latency = latency
        self.first = first
        self.ok = ok
        self.journey = journey


def _within(value: float | None, promise: float) -> bool:
    """Say whether a promise is kept; without successful requests it is not."""
    return value is not None and value <= promise


def _percentile_ms(seconds: NDArray[np.float64], q: float) -> float | None:
    """Return a percentile in milliseconds (linear interpolation); None of nothing."""
    return float(np.percentile(seconds, q)) * 1000.0 if len(seconds) else None


def _p95_ms_by(
    slot: NDArray[np.int64], latency_s: NDArray[np.float64], n: int
) -> list[float | None]:
    """Return the p95 of each slot as ``_percentile_ms`` has it, to a tenth of a millisecond."""
    ordered = latency_s[np.lexsort((latency_s, slot))] * 1000.0
    counts = np.bincount(slot, minlength=n)
    ends = np.cumsum(counts)
    found: list[float | None] = []
    for count, end in zip(counts.tolist(), ends.tolist(), strict=True):
        if not count:
            found.append(None)
            continue
        rank = 0.95 * (count - 1)
        low = int(rank)
        values = ordered[end - count : end]
        above = values[min(low + 1, count - 1)]
        found.append(round(float(values[low] + (rank - low) * (above - values[low])), 1))
    return found


def _percentiles_ms(
    latency_s: NDArray[np.float64],
) -> tuple[float | None, float | None, float | None]:
    """p50, p95, p99 in milliseconds of successful requests (linear interpolation); or None."""
    if not len(latency_s):
        return None, None, None
    p50, p95, p99 = (float(q) for q in np.percentile(latency_s, (50, 95, 99)) * 1000.0)
    return p50, p95, p99
