"""Metric samples: one table of scrape rounds by series, and the targets that write to it.

All targets are scraped at the same instants, so samples form a matrix: a row a round, a column a
series, ``np.nan`` where a series had no sample. That makes staleness free (a series that is missing
in the last round is stale, as with Prometheus' markers) and lets PromQL work on whole matrices.
Not here: what is scraped and when (``world.scrape``), queries (``promql``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from aiopslab.telemetry.instruments import Labels

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
NAME = "__name__"
SCRAPE_S = 5.0
"""Seconds between two rounds of a store that is scraped."""
_SERIES_BYTES = 1500
"""About what the labels of a series take as Python has them."""
HOLD_S = 300.0
"""Seconds for which rounds repeat a pushed value (``metric_expiration`` of the OpenTelemetry
Collector's Prometheus exporter)."""
_ABSENT = np.array(np.nan).view(np.int64)[()]
NOT_A_NUMBER = float(np.array(_ABSENT + 1).view(np.float64)[()])
"""A sample whose value is NaN; ``np.nan`` itself means no sample. Prometheus does the same: of the
many bit patterns of NaN, one is its staleness marker."""


def present(values: Floats) -> Bools:
    """Tell where there is a sample, be it NaN."""
    there: Bools = values.view(np.int64) != _ABSENT
    return there


class Source(Protocol):
    """What a target exposes; ``instruments.Registry`` is one."""

    @property
    def version(self) -> int: ...

    def series(self) -> list[tuple[str, Labels]]: ...

    def collect(self) -> list[float]: ...


class SampleTable:
    """Rounds by series. ``labels[column]`` are the sorted label pairs, the name included."""

    def __init__(self) -> None:
        self.labels: list[Labels] = []
        self._columns: dict[Labels, int] = {}
        self._names: dict[str, list[int]] = {}
        self._times = np.empty(64, np.float64)
        self._values = np.empty((64, 256), np.float64)
        self._rows = 0
        self._standing: dict[int, float] = {}
        self._pushed: dict[int, tuple[float, float]] = {}

    def times(self) -> Floats:
        """Return the instants of the rounds, ascending; a view."""
        return self._times[: self._rows]

    def values(self) -> Floats:
        """Return the matrix rounds x series; a view, NaN where there is no sample."""
        return self._values[: self._rows, : len(self.labels)]

    def names(self) -> list[str]:
        """Return the metric names seen so far, sorted."""
        return sorted(self._names)

    def columns_named(self, name: str) -> list[int]:
        """Return the columns of a metric, in order of appearance; the list only grows."""
        return self._names.get(name, [])

    def knows(self, name: str, labels: Labels) -> bool:
        """Whether a series has a column."""
        return _key(name, labels) in self._columns

    def column(self, name: str, labels: Labels) -> int:
        """Return the column of a series, created on first use. Empty label values are dropped."""
        key = _key(name, labels)
        found = self._columns.get(key)
        if found is None:
            found = self._columns[key] = len(self.labels)
            self.labels.append(key)
            self._names.setdefault(name, []).append(found)
            if found >= self._values.shape[1]:
                self._reshape(self._values.shape[0], found * 3 // 2)
        return found

    def footprint(self) -> int:
        """Return about how many bytes the table takes."""
        return self._values.nbytes + self._times.nbytes + len(self.labels) * _SERIES_BYTES

    def row(self, time: float) -> Floats:
        """Return the row of a round for writing; a later time begins a new round.

        The view is valid until the next call of ``row`` or ``column``.

        Raises:
            ValueError: The time lies before the last round.
        """
        last = self._times[self._rows - 1] if self._rows else -np.inf
        if time < last:
            raise ValueError(f"round at {time} after the round at {last}")
        if time > last:
            if self._rows >= len(self._times):
                self._reshape(self._rows * 3 // 2, self._values.shape[1])
            self._times[self._rows] = time
            row = self._values[self._rows]
            row.fill(np.nan)
            self._rows += 1
            for column, (since, value) in self._pushed.items():
                if time <= since + HOLD_S:
                    row[column] = value
            # What is sent from outside must not pass for an alert.
            for column, value in self._standing.items():
                row[column] = value
        current: Floats = self._values[self._rows - 1]
        return current

    def add_series(self, labels: Sequence[Labels]) -> None:
        """Take series of another table that this one is a copy of; pairs hold the name, sorted."""
        for pairs in labels:
            self.column(dict(pairs)[NAME], tuple(p for p in pairs if p[0] != NAME))

    def extend(self, first: int, times: Floats, values: Floats) -> None:
        """Take rounds of another table that this one is a copy of.

        Args:
            first: Place of the first of them; it may be that of the last one here.
            times: Their instants.
            values: Rounds by series, all that are known.

        Raises:
            ValueError: They do not follow what is here.
        """
        if first not in (self._rows - 1, self._rows):
            raise ValueError(f"rounds from {first} on do not follow {self._rows}")
        end = first + len(times)
        if end > len(self._times):
            self._reshape(max(end, len(self._times) * 3 // 2), self._values.shape[1])
        self._times[first:end] = times
        self._values[first:end] = np.nan
        self._values[first:end, : len(self.labels)] = values
        self._rows = max(self._rows, end)

    def stand(self, values: Mapping[int, float]) -> None:
        """Set the values that every round carries from now on: results of rules (``ALERTS``).

        All may be NaN.
        """
        values = {c: v if v == v else NOT_A_NUMBER for c, v in values.items()}
        if self._rows:
            row = self._values[self._rows - 1]
            row[list(self._standing)] = np.nan
            row[list(values)] = list(values.values())
        self._standing = values

    def push(self, column: int, time: float, value: float) -> bool:
        """Take a value that was sent, not scraped; rounds repeat it for ``HOLD_S`` from its time.

        ``np.nan`` ends the series. False where the series has a newer value.
        """
        if time < self._pushed.get(column, (-np.inf, 0.0))[0]:
            return False
        self._pushed[column] = (time, value)
        return True

    @property
    def pushed(self) -> int:
        """How many series were ever pushed."""
        return len(self._pushed)

    def _reshape(self, rows: int, columns: int) -> None:
        known_rows, known_columns = self._rows, self._values.shape[1]
        values = np.full((rows, columns), np.nan)
        values[:known_rows, :known_columns] = self._values[:known_rows]
        times = np.empty(rows)
        times[:known_rows] = self._times[:known_rows]
        self._values, self._times = values, times


class Target:
    """One scrape target: adds its labels to every series and keeps ``up``."""

    def __init__(self, table: SampleTable, labels: Mapping[str, str]) -> None:
        self._table = table
        self._labels = dict(labels)
        self._up = self.column("up", ())
        self._source: Source | None = None
        self._mapped: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._closed = False

    def column(self, name: str, labels: Labels) -> int:
        """Return the column of a series of this target; the series' own labels win."""
        merged = {**self._labels, **dict(labels)}
        return self._table.column(name, tuple(sorted(merged.items())))

    def append(self, time: float, source: Source) -> None:
        """Record a successful scrape of a process."""
        self.write(time, self._columns(source), source.collect())

    def write(
        self, time: float, columns: Sequence[int] | npt.NDArray[np.int64], values: Sequence[float]
    ) -> None:
        """Record a successful scrape of given columns; the others become stale."""
        self._check_open()
        row = self._table.row(time)
        row[columns] = values
        row[self._up] = 1.0

    def fail(self, time: float) -> None:
        """Record a failed scrape: ``up`` is 0 and every other series becomes stale."""
        self._check_open()
        self._table.row(time)[self._up] = 0.0

    def close(self, time: float) -> None:
        """End the target: from ``time`` all its series, ``up`` included, are stale."""
        self._check_open()
        self._closed = True
        # The next round has no sample of this target; one that is under way must not either.
        if len(times := self._table.times()) and times[-1] == time:
            row = self._table.row(time)
            row[self._mapped] = np.nan
            row[self._up] = np.nan

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"target {self._labels} is closed")

    def _columns(self, source: Source) -> npt.NDArray[np.int64]:
        if source is not self._source or source.version != len(self._mapped):
            self._source = source
            self._mapped = np.array([self.column(n, pairs) for n, pairs in source.series()], int)
        return self._mapped


def _key(name: str, labels: Labels) -> Labels:
    return tuple(sorted([(NAME, name), *((k, v) for k, v in labels if v)]))
