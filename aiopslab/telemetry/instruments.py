"""Instruments of one process: histograms, counters and gauges, cumulative as Prometheus has them.

A program observes; the scraper collects every few seconds (``samples.Target.append``). Observing
is the hot path (several times a request), collecting is not. Not here: storage and queries.

A registry lives and dies with its process, so a restarted process starts from zero and readers see
a counter reset, as with real ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Protocol

Labels = tuple[tuple[str, str], ...]
"""Label pairs sorted by name."""

LATENCY_BUCKETS: tuple[float, ...] = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
"""Seconds; the boundaries OpenTelemetry advises for ``http.server.request.duration``."""


class Histogram:
    """A cumulative histogram: ``_bucket{le}``, ``_sum`` and ``_count``."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Count a value, ``count`` times; an upper bound is inclusive."""
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def collect(self, out: list[float]) -> None:
        """Append cumulative bucket counts, then sum, then count."""
        running = 0
        for count in self._counts:
            running += count
            out.append(running)
        out.append(self._sum)
        out.append(running)


class Counter:
    """A monotonic counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, value: float = 1.0) -> None:
        """Count."""
        self.value += value

    def collect(self, out: list[float]) -> None:
        """Append the value."""
        out.append(self.value)


class Gauge:
    """A value read when collected."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read

    def collect(self, out: list[float]) -> None:
        """Append the value of now."""
        out.append(self._read())


class _Instrument(Protocol):
    def collect(self, out: list[float]) -> None: ...


class Registry:
    """All instruments of one process.

    ``series()`` and ``collect()`` have the same order, which is the order of registration and only
    ever grows at the end.
    """

    __slots__ = ("_found", "_instruments", "_series")

    def __init__(self) -> None:
        self._found: dict[tuple[str, Labels], _Instrument] = {}
        self._instruments: list[_Instrument] = []
        self._series: list[tuple[str, Labels]] = []

    @property
    def version(self) -> int:
        """A number that changes when series were added: how many there are."""
        return len(self._series)

    def histogram(
        self, name: str, buckets: tuple[float, ...] = LATENCY_BUCKETS, **labels: str
    ) -> Histogram:
        """Return the histogram of that name and labels, created on first use.

        Args:
            name: Without ``_bucket``, ``_sum``, ``_count``; ends in the unit.
            buckets: Ascending finite upper bounds; ``+Inf`` is added.
            labels: Every series of the histogram carries them.
        """
        pairs = tuple(sorted(labels.items()))
        known = self._found.get((name, pairs))
        if known is not None:
            if not isinstance(known, Histogram):
                raise TypeError(f"{name!r} is registered as another kind of instrument")
            return known
        made = Histogram(buckets)
        series = [
            (f"{name}_bucket", tuple(sorted([*pairs, ("le", text)])))
            for text in [*(f"{bound:g}" for bound in buckets), "+Inf"]
        ]
        self._add(name, pairs, made, [*series, (f"{name}_sum", pairs), (f"{name}_count", pairs)])
        return made

    def counter(self, name: str, **labels: str) -> Counter:
        """Return the counter of that name (``..._total``) and labels, created on first use."""
        pairs = tuple(sorted(labels.items()))
        known = self._found.get((name, pairs))
        if known is not None:
            if not isinstance(known, Counter):
                raise TypeError(f"{name!r} is registered as another kind of instrument")
            return known
        made = Counter()
        self._add(name, pairs, made, [(name, pairs)])
        return made

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        """Register a gauge; ``read`` is called at every collection.

        Raises:
            ValueError: The same name and labels are registered already.
        """
        pairs = tuple(sorted(labels.items()))
        if (name, pairs) in self._found:
            raise ValueError(f"{name!r} is registered already")
        self._add(name, pairs, Gauge(read), [(name, pairs)])

    def series(self) -> list[tuple[str, Labels]]:
        """Return name and labels of every series."""
        return self._series

    def collect(self) -> list[float]:
        """Return the value of every series, in the order of ``series()``."""
        out: list[float] = []
        for instrument in self._instruments:
            instrument.collect(out)
        return out

    def _add(
        self, name: str, labels: Labels, made: _Instrument, series: list[tuple[str, Labels]]
    ) -> None:
        self._found[name, labels] = made
        self._instruments.append(made)
        self._series.extend(series)
