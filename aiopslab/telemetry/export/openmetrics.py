"""OpenMetrics 1.0 text with timestamps: what ``promtool tsdb create-blocks-from`` reads.

Families are grouped, their samples too: all times of one set of labels follow each other. Names
and labels stay as recorded: a counter that does not end in ``_total`` may not be called a counter
here, so it is ``unknown``; UNIT is written where the name ends in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import BinaryIO

from aiopslab.telemetry.export.recorded import Recorded
from aiopslab.telemetry.export.series import (
    Family,
    Histogram,
    Labels,
    Series,
    families,
    read_series,
)

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def write(recorded: Recorded, signal: str, file: BinaryIO) -> int:
    """Write all samples."""
    rows = 0
    for family in families(read_series(recorded)):
        file.write("".join(f"{line}\n" for line in _head(family)).encode())
        for lines in _metrics(family):
            rows += len(lines)
            file.write("".join(lines).encode())
    file.write(b"# EOF\n")
    return rows


def _head(family: Family) -> Iterator[str]:
    name, kind = family.name, family.kind
    if kind == "counter":
        kind = "counter" if name.endswith("_total") else "unknown"
        name = name.removesuffix("_total")
    if kind != "unknown":
        # The default of OpenMetrics; the older text format has another word for it.
        yield f"# TYPE {name} {kind}"
    if family.unit and name.endswith(f"_{family.unit}"):
        yield f"# UNIT {name} {family.unit}"
    if family.help:
        yield f"# HELP {name} {family.help.translate(_ESCAPES)}"


def _metrics(family: Family) -> Iterator[list[str]]:
    """Yield the lines of each set of labels, times ascending."""
    for histogram in family.histograms:
        yield _histogram(histogram)
    for series in family.series:
        start = _start(series)
        yield [
            f"{start} {_number(value)} {_time(time)}\n"
            for time, value in zip(series.times, series.values, strict=True)
        ]


def _histogram(histogram: Histogram) -> list[str]:
    """Return the samples of a histogram, those of one time together, buckets first."""
    parts = [*histogram.buckets, histogram.count, histogram.sum]
    starts = [_start(part) for part in parts]
    return [
        f"{start} {_number(part.values[i])} {_time(time)}\n"
        for i, time in enumerate(histogram.count.times)
        for start, part in zip(starts, parts, strict=True)
    ]


def _start(series: Series) -> str:
    return series.name + _labels(series.labels)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{k}="{v.translate(_ESCAPES)}"' for k, v in sorted(labels.items()))
    return f"{{{pairs}}}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _time(seconds: float) -> str:
    """Write unix seconds; whole ones as integers, the only ones the older text format knows."""
    return str(int(seconds)) if seconds.is_integer() else f"{seconds:.3f}"
