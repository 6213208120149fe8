"""The store: all telemetry of a trial, written by a world or an observer, read by queries.

Plain memory, no threads, no connections, so it survives ``os.fork``. Each signal has a table of
its own (``spans``, ``logs``, ``samples``); this is where they meet. Frames and Parquet files are
made by ``frames``, PromQL by ``promql``, alerts by ``rules``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aiopslab.models.signal import Alert, Change, Event, StatusPost
from aiopslab.telemetry import frames
from aiopslab.telemetry.logs import LogTable
from aiopslab.telemetry.promql import Engine
from aiopslab.telemetry.samples import SampleTable, Target
from aiopslab.telemetry.spans import SpanTable

if TYPE_CHECKING:
    import pandas as pd


class Store:
    """Telemetry of one world, from boot to now.

    ``span`` and ``log`` are the append methods of their tables, bound once: they are called
    hundreds of times per second of the world. Queries live on the tables ``spans``, ``logs`` and
    ``samples``.
    """

    def __init__(self) -> None:
        self.spans = SpanTable()
        self.logs = LogTable()
        self.samples = SampleTable()
        self.promql = Engine(self.samples)
        self.span = self.spans.append
        self.log = self.logs.append
        self._events: list[Event] = []
        self._changes: list[Change] = []
        self._alerts: list[tuple[float, Alert]] = []
        self._posts: list[StatusPost] = []

    def target(self, labels: Mapping[str, str]) -> Target:
        """Open a scrape target; its labels go on every series (``job``, ``instance``, ...)."""
        return Target(self.samples, labels)

    def event(self, event: Event) -> None:
        """Record a Kubernetes event; a repeat of a known one comes with its new count."""
        self._events.append(event)

    def change(self, change: Change) -> None:
        """Record a line of the change log."""
        self._changes.append(change)

    def post(self, post: StatusPost) -> None:
        """Record what a partner published on its status page."""
        self._posts.append(post)

    def posts(self, *, partner: str = "", since: float = 0.0) -> list[StatusPost]:
        """Return the posts of partners since a time, oldest first."""
        return [p for p in self._posts if p.time >= since and partner in ("", p.partner)]

    def alert(self, time: float, alert: Alert) -> None:
        """Record that an alert changed its state."""
        self._alerts.append((time, alert))

    def events(
        self, *, namespace: str = "", name: str = "", warnings_only: bool = False,
        since: float = 0.0,
    ) -> list[Event]:  # fmt: skip
        """Return the latest state of each event since a time, oldest first.

        ``name`` matches objects whose name begins with it, so a workload finds its pods' events.
        """
        latest: dict[tuple[str, ...], Event] = {}
        for e in self._events:
            key = (e.namespace, e.kind, e.name, e.type, e.reason, e.message, e.component)
            latest.pop(key, None)
            latest[key] = e
        return [
            e
            for e in latest.values()
            if e.time >= since
            and (not namespace or e.namespace == namespace)
            and e.name.startswith(name)
            and (e.type == "Warning" or not warnings_only)
        ]

    def changes(self, *, component: str = "", since: float = 0.0) -> list[Change]:
        """Return the change log since a time, oldest first."""
        found = [
            c for c in self._changes if c.time >= since and component in ("", c.component)
        ]  # fmt: skip
        return sorted(found, key=lambda c: c.time)

    def set_changes(self, changes: Sequence[Change]) -> None:
        """Put another change log in the place of this one."""
        self._changes = list(changes)

    def change_records(self) -> list[Change]:
        """Return the change log in the order of entry."""
        return self._changes

    def event_records(self) -> list[Event]:
        """Return every event record as written, repeats included."""
        return self._events

    def alert_transitions(self) -> list[tuple[float, Alert]]:
        """Return every change of state of every alert, in order."""
        return self._alerts

    def footprint(self) -> int:
        """Return about how many bytes of memory all of it takes."""
        return self.spans.footprint() + self.logs.footprint() + self.samples.footprint()

    def frame(self, signal: str) -> pd.DataFrame:
        """Return a whole signal as a DataFrame.

        Raises:
            ValueError: The signal is not one of ``frames.SIGNALS``.
        """
        return frames.frame(self, signal)

    def write_parquet(self, directory: Path) -> list[Path]:
        """Write one Parquet file a signal; the same content gives the same bytes."""
        return frames.write_parquet(self, directory)
