"""The one place that reads the host's clock, and what the host's processor did.

Its readings live under ``wall`` in ``run.json`` and ``trial.json`` and in ``events.jsonl``, nowhere
else, so that records can be compared byte for byte; and in traces (``tracing``), which leave.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime


def timestamp() -> str:
    """Return the host's time as RFC 3339 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")  # noqa: TID251


def directory_stamp() -> str:
    """Return the host's local time as the first part of a run directory's name."""
    return datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S")  # noqa: TID251


def unix_nanoseconds() -> int:
    """Return the host's time as traces have it."""
    return time.time_ns()


def seconds() -> float:
    """Return monotonic seconds, for differences."""
    return time.monotonic()


def cpu_seconds() -> float:
    """Return CPU seconds of this process and of those children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


class Stopwatch:
    """Wall-clock seconds by phase; ``lap(name)`` books what passed since the last lap."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = seconds()

    def lap(self, name: str) -> None:
        """Book the time since the last lap under a name."""
        now = seconds()
        self.laps[name] = round(self.laps.get(name, 0.0) + now - self._since, 3)
        self._since = now


def unix() -> float:
    """Return seconds since 1970."""
    return time.time()  # noqa: TID251 - this is the one place
