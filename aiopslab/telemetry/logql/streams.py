"""Streams: the label sets of log lines, and which lines a selector takes.

Labels are those of Loki before Kubernetes (Alloy's defaults): ``app``, ``container``, ``job``
(``namespace/app``), ``namespace``, ``pod``, and Loki's own ``service_name``. The severity is
structured metadata, ``detected_level``: it is among the labels of answers and open to label
filters and groupings, but not to stream selectors. Not here: pipelines (``stages``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from aiopslab.telemetry.answers import LogStats
from aiopslab.telemetry.logql.expressions import parse_selector
from aiopslab.telemetry.logql.stages import text_test
from aiopslab.telemetry.logql.tree import Matcher
from aiopslab.telemetry.logs import SEVERITIES, LogTable, Source

Rows = npt.NDArray[np.int64]
LEVEL = "detected_level"
_LEVELS = tuple(s.lower() for s in SEVERITIES)
_CHUNK_S = 3600.0
"""Age at which a chunk is cut; chunks are counted, not kept."""


@lru_cache(maxsize=4096)
def stream_labels(source: Source) -> Mapping[str, str]:
    """Return the labels of a stream, sorted by name."""
    service, namespace, pod, container = source
    labels = {
        "app": service, "container": container, "job": f"{namespace}/{service}",
        "namespace": namespace, "pod": pod, "service_name": service,
    }  # fmt: skip
    return {name: value for name, value in labels.items() if value}


class Streams:
    """The streams of a log table."""

    def __init__(self, table: LogTable) -> None:
        self.table = table

    def rows(self, matchers: Sequence[Matcher], start: float, end: float, *, ends: bool) -> Rows:
        """Return the lines of matching streams by time.

        The window is ``[start, end)``, or with ``ends`` ``(start, end]`` as for metrics.
        """
        columns = self.table.columns()
        time = columns["time"]
        hit = (time > start) & (time <= end) if ends else (time >= start) & (time < end)
        takes = _takes(matchers)
        taken = np.array([takes(source) for source in self.table.streams.decoded()], bool)
        if not taken.all():
            hit &= taken[columns["stream"]]
        rows: Rows = np.flatnonzero(hit)
        # Lines are recorded as time goes on, but a pushed one may be late.
        chosen = time[rows]
        if len(rows) > 1 and (chosen[1:] < chosen[:-1]).any():
            rows = rows[np.argsort(chosen, kind="stable")]
        return rows

    def labels_of(self, key: int) -> dict[str, str]:
        """Return the labels of lines under a ``keys`` value: the stream's and the level."""
        stream, severity = divmod(key, len(_LEVELS))
        labels = {**stream_labels(self.table.streams.decoded()[stream]), LEVEL: _LEVELS[severity]}
        return dict(sorted(labels.items()))

    def keys(self, rows: Rows) -> Rows:
        """Return a number for each line that tells label sets apart."""
        columns = self.table.columns()
        return columns["stream"][rows].astype(np.int64) * len(_LEVELS) + columns["severity"][rows]

    def series(self, selectors: Sequence[str], start: float, end: float) -> list[Mapping[str, str]]:
        """Return the label sets of streams with lines in the window, sorted.

        Raises:
            QueryError: A selector is malformed.
        """
        takes = [_takes(parse_selector(s).matchers) for s in selectors] or [_takes(())]
        columns = self.table.columns()
        hit = (columns["time"] >= start) & (columns["time"] <= end)
        sources = self.table.streams.decoded()
        found = [
            stream_labels(sources[code])
            for code in np.unique(columns["stream"][hit]).tolist()
            if any(take(sources[code]) for take in takes)
        ]
        return sorted(found, key=lambda labels: tuple(labels.items()))

    def names(self, start: float, end: float, match: str) -> list[str]:
        """Return the label names of streams in the window; raises as ``series``."""
        found = self.series([match] if match else [], start, end)
        return sorted({name for labels in found for name in labels})

    def values(self, name: str, start: float, end: float, match: str) -> list[str]:
        """Return the values of a label of streams in the window; raises as ``series``."""
        found = self.series([match] if match else [], start, end)
        return sorted({labels[name] for labels in found if name in labels})

    def stats(self, selector: str, start: float, end: float) -> LogStats:
        """Count what a selector covers; raises as ``series``."""
        return self.count(self.rows(parse_selector(selector).matchers, start, end, ends=False))

    def count(self, rows: Rows) -> LogStats:
        """Count lines, their bytes and streams."""
        columns = self.table.columns()
        streams = columns["stream"][rows].astype(np.int64)
        hours = (columns["time"][rows] // _CHUNK_S).astype(np.int64)
        return LogStats(
            streams=len(np.unique(streams)),
            chunks=len(np.unique(streams << 32 | hours)),
            entries=len(rows),
            bytes=int(columns["size"][rows].sum()),
        )


def _takes(matchers: Sequence[Matcher]) -> Callable[[Source], bool]:
    """Compile a selector to a test of streams."""
    tests = [(m.name, text_test(m)) for m in matchers]

    def takes(source: Source) -> bool:
        labels = stream_labels(source)
        return all(test(labels.get(name, "")) for name, test in tests)

    return takes
