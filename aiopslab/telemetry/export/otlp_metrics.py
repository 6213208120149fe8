"""OTLP of recorded samples: gauges, monotonic sums, histograms with explicit bounds; cumulative.

Names stay as Prometheus spells them. A cumulative point needs a start: the first sample of its
series, and after a reset the last sample before it, since the process began in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from aiopslab.telemetry.export.messages import Attributes, Tree, in_batches, nanoseconds
from aiopslab.telemetry.export.recorded import Recorded
from aiopslab.telemetry.export.resources import SCOPE, of_target
from aiopslab.telemetry.export.series import (
    Family,
    Histogram,
    Series,
    families,
    read_series,
    resets,
)

_CUMULATIVE = 2
_UNITS = {"seconds": "s", "bytes": "By", "microseconds": "us", "cores": "{cpu}"}
"""UCUM for the units of the catalogue."""
_POINTS_A_REQUEST = 2000


def metrics(recorded: Recorded) -> Iterator[Tree]:
    """Yield requests; each has one target's metrics, or a part of them."""
    targets: dict[str, tuple[Tree, list[tuple[Family, Tree]]]] = {}
    for family in families(read_series(recorded)):
        for resource, points in _points(family):
            target = targets.setdefault(json.dumps(resource), (resource, []))
            target[1].extend((family, point) for point in points)
    for resource, sampled in targets.values():
        for batch in in_batches(sampled, _POINTS_A_REQUEST):
            scoped = {"scope": SCOPE, "metrics": list(_metrics(batch))}
            yield {"resource_metrics": [{"resource": resource, "scope_metrics": [scoped]}]}


def _metrics(batch: list[tuple[Family, Tree]]) -> Iterator[Tree]:
    """Put the points of one family, which follow each other, into one metric."""
    groups: dict[str, tuple[Family, list[Tree]]] = {}
    for family, point in batch:
        groups.setdefault(family.name, (family, []))[1].append(point)
    for family, points in groups.values():
        yield {
            "name": family.name,
            "description": family.help,
            "unit": _UNITS.get(family.unit, family.unit),
            **_data(family, points),
        }


def _data(family: Family, points: list[Tree]) -> Tree:
    data: dict[str, Any] = {"data_points": points}
    match family.kind:
        case "histogram":
            return {"histogram": {**data, "aggregation_temporality": _CUMULATIVE}}
        case "counter":
            cumulative = {"aggregation_temporality": _CUMULATIVE, "is_monotonic": True}
            return {"sum": {**data, **cumulative}}
        case _:
            return {"gauge": data}


def _points(family: Family) -> Iterator[tuple[Tree, list[Tree]]]:
    """Yield resource and points of each set of labels."""
    for histogram in family.histograms:
        resource, rest = of_target(histogram.labels)
        yield resource, list(_histogram_points(histogram, Attributes(rest)))
    for series in family.series:
        resource, rest = of_target(series.labels)
        yield resource, list(_number_points(series, Attributes(rest), family.kind == "counter"))


def _number_points(series: Series, told: Attributes, cumulative: bool) -> Iterator[Tree]:
    starts = _starts(series) if cumulative else [0] * len(series.times)
    for start, time, value in zip(starts, series.times, series.values, strict=True):
        point: Tree = {
            "attributes": told,
            "time_unix_nano": nanoseconds(time),
            "as_double": value,
        }
        if cumulative:
            point["start_time_unix_nano"] = start
        yield point


def _histogram_points(histogram: Histogram, told: Attributes) -> Iterator[Tree]:
    counts = zip(*(bucket.values for bucket in histogram.buckets), strict=True)
    starts = _starts(histogram.count)
    for i, cumulative in enumerate(counts):
        yield {
            "attributes": told,
            "start_time_unix_nano": starts[i],
            "time_unix_nano": nanoseconds(histogram.count.times[i]),
            "count": round(histogram.count.values[i]),
            "sum": histogram.sum.values[i],
            "explicit_bounds": histogram.bounds,
            "bucket_counts": [round(b - a) for a, b in pairwise((0.0, *cumulative))],
        }


def _starts(series: Series) -> list[int]:
    """Return the start of each cumulative point, in nanoseconds."""
    starts, start = [], 0
    for i, reset in enumerate(resets(series.values)):
        if i == 0 or reset:
            start = nanoseconds(series.times[max(i - 1, 0)])
        starts.append(start)
    return starts
