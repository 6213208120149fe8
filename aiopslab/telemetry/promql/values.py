"""Values of the evaluator: label sets, instant vectors and range vectors over all steps at once.

A query over N series and S steps is computed on N x S matrices with a presence mask, so that label
sets can be kept (and grouping and matching remembered) while single points come and go. Time is
in whole milliseconds, as in Prometheus, so that whether a sample lies in a window is exact.
Not here: what operators do with them (``aggregates``, ``binary``, ``functions``, ``ranges``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.samples import NAME

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
T = TypeVar("T")
_REMEMBERED = 16
MAX_SAMPLES = 50_000_000
"""Values one query may touch, results of its parts included; Prometheus' own bound."""


class QueryError(Exception):
    """The query is malformed, not supported or ambiguous; the message names the construct."""


class ParseError(QueryError):
    """The query is malformed: ``line:column: parse error: ...``; the HTTP API calls it bad data."""


@dataclass(slots=True)
class Budget:
    """What is left of a query's work. A query is refused before it takes memory or minutes."""

    left: int = MAX_SAMPLES

    def spend(self, count: int) -> None:
        """Account for values that are about to be made.

        Raises:
            QueryError: More than :data:`MAX_SAMPLES` in all.
        """
        self.left -= count
        if self.left < 0:
            raise QueryError(
                "query processing would load too many samples into memory in query execution:"
                f" more than {MAX_SAMPLES}; select fewer series, a shorter range or a longer step"
            )


def milliseconds(seconds: Floats | float) -> Ints:
    """Round times to whole milliseconds."""
    whole: Ints = np.rint(np.asarray(seconds, np.float64) * 1000.0).astype(np.int64)
    return whole


@dataclass(frozen=True, slots=True)
class Grouping:
    """``by (names)`` or ``without (names)``; ``without`` drops the metric name too."""

    by: bool
    names: tuple[str, ...] = ()

    def key(self, labels: Labels) -> Labels:
        """Return the labels that identify the group of a series."""
        if self.by:
            return tuple(pair for pair in labels if pair[0] in self.names)
        return tuple(p for p in labels if p[0] != NAME and p[0] not in self.names)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of a vector put into groups, ready for ``ufunc.reduceat``."""

    of: Ints
    """Group of each row."""
    order: Ints
    """Rows, group by group."""
    starts: Ints
    """Where each group begins in ``order``."""
    labels: LabelSets
    """Label set of each group."""

    def rows(self, group: int) -> Ints:
        """Return the rows of a group, ascending."""
        end = self.starts[group + 1] if group + 1 < len(self.starts) else len(self.order)
        return self.order[self.starts[group] : end]


class LabelSets:
    """The label sets of a vector. Remembers what was derived from them, as rules ask again."""

    __slots__ = ("_remembered", "sets")

    def __init__(self, sets: Iterable[Labels]) -> None:
        self.sets = list(sets)
        self._remembered: dict[Any, tuple[Any, Any]] = {}

    def __len__(self) -> int:
        return len(self.sets)

    def derive(self, key: tuple[Any, ...], make: Callable[[], T], *, other: object = None) -> T:
        """Return ``make()``, remembered under a key and, by identity, a second operand."""
        found = self._remembered.get((key, id(other)))
        if found is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            # Keeping ``other`` alive keeps its id from being used again.
            found = self._remembered[key, id(other)] = (other, make())
        made: T = found[1]
        return made

    def without_name(self) -> LabelSets:
        """Return the label sets without the metric name."""
        return self.derive(
            ("without_name",), lambda: LabelSets(Grouping(by=False).key(s) for s in self.sets)
        )

    def group(self, grouping: Grouping) -> Groups:
        """Put the rows into groups; groups are in order of their first row."""
        return self.derive(("group", grouping), lambda: self._group(map(grouping.key, self.sets)))

    def distinct(self) -> Groups:
        """Put rows with equal label sets into groups."""
        return self.derive(("distinct",), lambda: self._group(self.sets))

    def _group(self, keys: Iterable[Labels]) -> Groups:
        codes: dict[Labels, int] = {}
        of = np.array([codes.setdefault(key, len(codes)) for key in keys], np.int64)
        order = np.argsort(of, kind="stable")
        starts = np.searchsorted(of[order], np.arange(len(codes)))
        return Groups(of, order, starts, LabelSets(codes))


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector at every step: ``values`` and ``present`` are rows x steps."""

    labels: LabelSets
    values: Floats
    present: Bools

    @staticmethod
    def empty(steps: int) -> Vector:
        """Return a vector without series."""
        return Vector(LabelSets([]), np.empty((0, steps)), np.empty((0, steps), bool))

    @staticmethod
    def of_scalar(values: Floats) -> Vector:
        """Return a vector of one series without labels."""
        return Vector(LabelSets([()]), values[None, :].copy(), np.ones((1, len(values)), bool))

    def unnamed(self, values: Floats, present: Bools | None = None) -> Vector:
        """Return new values under these label sets without the metric name."""
        mask = self.present if present is None else present
        return Vector(self.labels.without_name(), values, mask)

    def merged(self) -> Vector:
        """Make series that follow each other under the same labels one row.

        They do when what told them apart, such as the metric name, was dropped.

        Raises:
            QueryError: Two of them are there at one step.
        """
        groups = self.labels.distinct()
        if len(groups.labels) == len(self.labels):
            return self
        values, present, count = collapse(self.values, self.present, groups)
        if (count > 1).any():
            raise QueryError("vector cannot contain metrics with the same labelset")
        return Vector(groups.labels, values, present)


@dataclass(frozen=True, slots=True)
class RangeVector:
    """Windows over samples: ``values[lo[s]:hi[s]]`` are the samples of step ``s``.

    ``values`` and ``there`` (whether there is a sample) are rounds x series; ``ends`` are the right
    ends of the windows, which are open on the left: ``(end - window, end]``. Times are in ms.
    """

    labels: LabelSets
    times: Ints
    values: Floats
    there: Bools
    ends: Ints
    window: int
    lo: Ints
    hi: Ints
    budget: Budget

    @staticmethod
    def over(
        labels: LabelSets,
        samples: tuple[Ints, Floats, Bools],
        ends: Ints,
        window: int,
        budget: Budget,
    ) -> RangeVector:
        """Lay windows that end at ``ends`` over samples (times, values, there)."""
        times, values, there = samples
        lo = np.searchsorted(times, ends - window, side="right")
        hi = np.searchsorted(times, ends, side="right")
        return RangeVector(labels, times, values, there, ends, window, lo, hi, budget)


Value = Vector | RangeVector | Floats | str
"""What an expression evaluates to; Floats is a scalar at every step."""


def collapse(
    values: Floats, present: Bools, groups: Groups
) -> tuple[Floats, Bools, npt.NDArray[np.int64]]:
    """Reduce each group to the one row that is present; also return how many were."""
    if not len(groups.order):
        return values, present, present.astype(np.int64)
    count = np.add.reduceat(present[groups.order].astype(np.int64), groups.starts, axis=0)
    kept = np.where(present, values, 0.0)[groups.order]
    return np.add.reduceat(kept, groups.starts, axis=0), count > 0, count
