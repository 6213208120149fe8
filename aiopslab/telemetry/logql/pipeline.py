"""A log query at work: rows of the table in, lines with labels out.

Filters on text that stand first run on the plain lines, which most queries are done with; only
what they leave is taken through the other stages. Not here: windows and numbers (``metrics``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

import numpy as np

from aiopslab.telemetry.logql.stages import Line, compile_stages, line_test
from aiopslab.telemetry.logql.streams import Rows, Streams
from aiopslab.telemetry.logql.tree import LineFilter, Stage


class Pipeline:
    """The stages of one query.

    Args:
        stages: As parsed.

    Raises:
        QueryError: A stage cannot be compiled.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        first = list(takewhile(lambda s: isinstance(s, LineFilter), stages))
        self._tests = [line_test(s) for s in first if isinstance(s, LineFilter)]
        self._stages = compile_stages(stages[len(first) :])

    @property
    def plain(self) -> bool:
        """Whether lines and labels stay as they are: there are filters on text alone."""
        return not self._stages

    def filtered(self, streams: Streams, rows: Rows) -> Rows:
        """Apply the filters that stand first."""
        if not self._tests:
            return rows
        lines, kept = streams.table.lines, rows.tolist()
        for test in self._tests:
            kept = [row for row in kept if test(lines[row])]
        return np.array(kept, np.int64)

    def lines(self, streams: Streams, rows: Rows) -> Iterator[Line]:
        """Take filtered rows through the other stages; yields the lines that stay."""
        times, lines = streams.table.columns()["time"][rows], streams.table.lines
        bases: dict[int, Mapping[str, str]] = {}
        keys = streams.keys(rows)
        for row, key, time in zip(rows.tolist(), keys.tolist(), times.tolist(), strict=True):
            base = bases.get(key)
            if base is None:
                base = bases[key] = streams.labels_of(key)
            line = Line(time, lines[row], base)
            for run in self._stages:
                if not run(line):
                    break
            else:
                yield line
