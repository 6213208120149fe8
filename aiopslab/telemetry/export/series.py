"""Samples as series, and series as metric families: counters, gauges, classic histograms.

What OTLP and OpenMetrics have in common. Types, help and units are those of the catalogue of
metrics; a family that it does not know is guessed from its name alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from aiopslab.telemetry import catalogue
from aiopslab.telemetry.export.recorded import Recorded

Labels = dict[str, str]
Kind = Literal["counter", "gauge", "histogram", "unknown"]
_PARTS = ("_bucket", "_sum", "_count")


@dataclass(slots=True)
class Series:
    """One series: its samples in the order of time."""

    name: str
    labels: Labels
    times: list[float] = field(default_factory=list)
    """Unix seconds."""
    values: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Histogram:
    """The series of one classic histogram, sampled at the same times."""

    labels: Labels
    """Without ``le``."""
    bounds: list[float]
    """Ascending, finite."""
    buckets: list[Series]
    """Cumulative, by bound; the last one is ``+Inf``."""
    sum: Series
    count: Series


@dataclass(slots=True)
class Family:
    """A metric with all its series."""

    name: str
    """Of a histogram without ``_bucket`` and so on; of a counter as it is, ``_total`` included."""
    kind: Kind
    help: str = ""
    unit: str = ""
    series: list[Series] = field(default_factory=list)
    histograms: list[Histogram] = field(default_factory=list)


def read_series(recorded: Recorded) -> list[Series]:
    """Return all series, in the order in which they appeared."""
    found: dict[tuple[str, str], Series] = {}
    for batch in recorded.rows("samples", "metric, labels, time, value"):
        for metric, labels, time, value in batch:
            series = found.get((metric, labels))
            if series is None:
                series = found[metric, labels] = Series(metric, json.loads(labels))
            series.times.append(time)
            series.values.append(math.nan if value is None else value)
    return list(found.values())


def families(series: Iterable[Series]) -> list[Family]:
    """Group series into families, by name; those of a histogram are folded.

    The series of a histogram that do not fit together (a bucket that was not sampled with the
    others) become families of unknown type under their own names.
    """
    by_name: dict[str, list[Series]] = {}
    for one in series:
        by_name.setdefault(one.name, []).append(one)
    found: list[Family] = []
    for base in sorted(_histogram_names(by_name)):
        parts = [s for part in _PARTS for s in by_name.pop(base + part, [])]
        known = catalogue.metadata(base)
        family = Family(base, "histogram", known.get("help", ""), known.get("unit", ""))
        family.histograms, loose = _fold(base, parts)
        if family.histograms:
            found.append(family)
        for one in loose:
            by_name.setdefault(one.name, []).append(one)
    found.extend(_plain(name, members) for name, members in by_name.items())
    return sorted(found, key=lambda family: family.name)


def resets(values: Iterable[float]) -> Iterator[bool]:
    """Tell of each value of a counter whether it counts from anew: it is less than the last."""
    last = -math.inf
    for value in values:
        yield value < last
        last = value


def _histogram_names(by_name: dict[str, list[Series]]) -> list[str]:
    """Return the base names of what has buckets, a sum and a count."""
    bases = [name.removesuffix("_bucket") for name in by_name if name.endswith("_bucket")]
    return [b for b in bases if all(b + part in by_name for part in _PARTS)]


def _plain(name: str, members: list[Series]) -> Family:
    known = catalogue.load().get(name)
    if known is None or known.type == "histogram":
        return Family(name, "counter" if name.endswith("_total") else "unknown", series=members)
    return Family(name, known.type, known.help, known.unit, members)


def _fold(base: str, parts: list[Series]) -> tuple[list[Histogram], list[Series]]:
    """Put series together that differ in ``le`` only; also return those that do not fit."""
    groups: dict[str, list[Series]] = {}
    for one in parts:
        own = {k: v for k, v in one.labels.items() if k != "le" or one.name != f"{base}_bucket"}
        groups.setdefault(json.dumps(own, sort_keys=True), []).append(one)
    folded, loose = [], []
    for key, members in groups.items():
        histogram = _histogram(base, json.loads(key), members)
        if histogram is None:
            loose.extend(members)
        else:
            folded.append(histogram)
    return folded, loose


def _histogram(base: str, labels: Labels, members: list[Series]) -> Histogram | None:
    buckets = [s for s in members if s.name == f"{base}_bucket"]
    totals = {s.name.removeprefix(base): s for s in members if s.name != f"{base}_bucket"}
    bounds = [_bound(s) for s in buckets]
    order = sorted(range(len(buckets)), key=bounds.__getitem__)
    fits = (
        len(totals) == 2
        and len(set(bounds)) == len(bounds)
        and math.inf in bounds
        and not any(math.isnan(b) for b in bounds)
        and all(s.times == members[0].times for s in members)
        and all(math.isfinite(v) for s in members for v in s.values if s is not totals["_sum"])
    )
    if not fits:
        return None
    return Histogram(
        labels,
        [bounds[i] for i in order[:-1]],
        [buckets[i] for i in order],
        totals["_sum"],
        totals["_count"],
    )


def _bound(bucket: Series) -> float:
    try:
        return float(bucket.labels.get("le", ""))
    except ValueError:
        return math.nan
