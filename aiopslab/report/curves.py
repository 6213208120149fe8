"""What the entry of an app saw of its users, over time: the curves of an incident page.

From the recorded spans of a trial: server spans without a parent, which are the requests that came
in from outside, by their name (method and route). A request that never got that far has no span, so
it shows as missing volume, not as an error; what users themselves got is in the evidence, but only
for the minute before hand-over and the settle windows. Not here: how curves are drawn
(``html.timeline``).
"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from aiopslab.errors import UsageError

BUCKET_S = 10.0
LEAD_S = 300.0
"""How much of the time before the incident is read."""
MOST_ROUTES = 6

_UNREADABLE = (duckdb.IOException, duckdb.InvalidInputException, duckdb.BinderException)
"""No Parquet file, a damaged one, or one without the columns that are asked for."""
_CURVES = """
    SELECT name, CAST(floor((start - $origin) / $bucket) AS BIGINT) AS slot,
           count(*), count(*) FILTER (error <> ''),
           quantile_cont(duration_ms, 0.95) FILTER (error = '')
    FROM read_parquet($file)
    WHERE kind = 'server' AND coalesce(parent_id, '') = '' AND start >= $since
    GROUP BY name, slot ORDER BY name, slot
"""
_ALERTS = """
    SELECT DISTINCT CAST(fired_at AS DOUBLE) AS fired, name FROM read_parquet($file)
    WHERE fired_at >= $since ORDER BY fired, name
"""


@dataclass(frozen=True, slots=True)
class Point:
    """The requests of one route that began in one bucket."""

    at: float
    """Begin of the bucket, seconds from hand-over."""
    n: int
    failed: int
    """Answered with an error of the server, or not at all."""
    p95_ms: float | None
    """Of those that did not fail; None where all did."""


@dataclass(frozen=True, slots=True)
class Curves:
    """All routes of one trial."""

    bucket_s: float
    routes: dict[str, list[Point]]
    """The routes with the most requests, at most ``MOST_ROUTES``, sorted by name."""
    further: int
    """How many routes are left out."""
    volume: list[tuple[float, int]]
    """(begin of the bucket, requests of all routes); buckets without any are there with 0."""


class Recordings:
    """Reads what trials recorded; one for all trials of a run, closed at the end of a ``with``."""

    def __init__(self) -> None:
        # One thread: sums of floats must not depend on how many cores there are.
        self._connection = duckdb.connect(config={"threads": 1})

    def __enter__(self) -> Recordings:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def curves(
        self, telemetry: Path, handover_at: float, since: float, bucket_s: float = BUCKET_S
    ) -> Curves | None:
        """Read the curves of a trial; None where it kept no spans, or users sent nothing.

        Args:
            telemetry: The directory with the trial's Parquet files.
            handover_at: Unix seconds of the world; buckets begin there and count both ways.
            since: Unix seconds; what began earlier is left out.
            bucket_s: Length of a bucket.

        Raises:
            UsageError: The file is no Parquet file of spans.
        """
        asked = {"origin": handover_at, "bucket": bucket_s, "since": since}
        routes: dict[str, list[Point]] = {}
        for name, slot, n, failed, p95_ms in self._ask(_CURVES, telemetry / "spans.parquet", asked):
            routes.setdefault(name, []).append(Point(slot * bucket_s, n, failed, p95_ms))
        return _curves(routes, bucket_s) if routes else None

    def alerts(self, telemetry: Path, since: float) -> list[tuple[float, str]]:
        """Return when alerts began to fire (unix seconds), and their names; sorted.

        Raises:
            UsageError: The file is no Parquet file of alerts.
        """
        return self._ask(_ALERTS, telemetry / "alerts.parquet", {"since": since})

    def _ask(self, query: str, file: Path, asked: dict[str, float]) -> list[Any]:
        if not file.exists():
            return []
        try:
            # What a directory is called is no pattern of files.
            named = {"file": glob.escape(str(file))}
            return self._connection.execute(query, named | asked).fetchall()
        except _UNREADABLE as error:
            raise UsageError(f"{str(file)!r} cannot be read: {error}") from error


def _curves(routes: dict[str, list[Point]], bucket_s: float) -> Curves:
    totals: dict[float, int] = {}
    for points in routes.values():
        for point in points:
            totals[point.at] = totals.get(point.at, 0) + point.n
    first, last = min(totals), max(totals)
    slots = range(round(first / bucket_s), round(last / bucket_s))
    busiest = sorted(routes, key=lambda name: (-sum(p.n for p in routes[name]), name))[:MOST_ROUTES]
    return Curves(
        bucket_s=bucket_s,
        routes={name: routes[name] for name in sorted(busiest)},
        further=len(routes) - len(busiest),
        # The last bucket is cut off by the end of the record, so it has no volume.
        volume=[(slot * bucket_s, totals.get(slot * bucket_s, 0)) for slot in slots],
    )
