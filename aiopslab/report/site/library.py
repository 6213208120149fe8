"""What the pages of a run need, read when it is asked for and kept while the records stay the same.

Few are kept, the latest used; a run that several ask for is read once. Not here: what there is
(``listing``), addresses (``app``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar
from urllib.parse import quote

from aiopslab.errors import UsageError
from aiopslab.models.comparison import Comparison
from aiopslab.orchestrator.comparison import compare
from aiopslab.report.curves import BUCKET_S, Recordings
from aiopslab.report.entries import Reading, read
from aiopslab.report.html.elements import script_json
from aiopslab.report.html.page import Served, document
from aiopslab.report.html.trial import RECORDS, Room, page
from aiopslab.report.site.listing import LIVE, Listing, Row

KEPT_RUNS, KEPT_COMPARISONS = 3, 20
ROOM = Room(4_000_000, BUCKET_S)
"""A page that is asked for alone may take that much."""
T = TypeVar("T")


class Kept(Generic[T]):
    """The values used last, each made once; may be asked from several threads.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._making: dict[Hashable, Lock] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key; make it if there is none. What ``make`` raises is raised."""
        with self._lock:
            own = self._making.setdefault(key, Lock())
        with own:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
            try:
                made = make()
            except BaseException:
                with self._lock:
                    self._making.pop(key, None)
                raise
            with self._lock:
                self._values[key] = made
                while len(self._values) > self._most:
                    gone, _ = self._values.popitem(last=False)
                    self._making.pop(gone, None)
            return made


class Library:
    """Pages, trials and comparisons of the runs of a listing.

    Args:
        listing: The runs.
    """

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._readings: Kept[Reading] = Kept(KEPT_RUNS)
        self._pages: Kept[str] = Kept(KEPT_RUNS)
        self._comparisons: Kept[Comparison] = Kept(KEPT_COMPARISONS)

    def page(self, row: Row) -> str:
        """Return a run's page.

        Raises:
            UsageError: A file of its record is no record.
        """
        seen = state(row) if row.status == LIVE else None
        served = Served("../../", f"../../compare?a={quote(row.name, safe='')}", seen)

        def make() -> str:
            return "".join(document(self._reading(row), records="", served=served))

        return self._pages.get(_key(row), make)

    def trial(self, row: Row, n: int) -> str:
        """Return the page of a run's n-th trial (from 0) as JSON.

        Raises:
            UsageError: There is none, or a file of its record is no record.
        """
        reading = self._reading(row)
        if not n < len(reading.entries):
            raise UsageError(f"there is no trial {n} in {row.name!r}")
        entry = reading.entries[n]
        directory = reading.run.trial(entry.plan)
        with Recordings() as recordings:
            made = page(entry, directory, quote(f"trials/{entry.name}"), ROOM, recordings)
        return script_json(made)

    def file(self, row: Row, trial: str, name: str) -> Path:
        """Return a file of a trial's record.

        Raises:
            UsageError: It is none of those that are shown, or not there.
        """
        run = self.listing.directory(row)
        known = {plan.directory for plan in run.record().trials}
        path = run.path / "trials" / trial / name if trial in known and name in RECORDS else None
        if path is None or not path.is_file():
            raise UsageError("there is no such file of a record")
        if not path.resolve().is_relative_to(run.path.resolve()):
            raise UsageError("a link to another place")
        return path

    def comparison(self, a: Row, b: Row, agent_a: str | None, agent_b: str | None) -> Comparison:
        """Compare two runs as ``aiopslab compare`` does.

        Raises:
            UsageError: They cannot be compared.
        """

        def make() -> Comparison:
            left, right = (self.listing.directory(row).path for row in (a, b))
            return compare(left, right, agent_a=agent_a, agent_b=agent_b)

        key = (_key(a), agent_a, _key(b), agent_b)
        return self._comparisons.get(key, make)

    def _reading(self, row: Row) -> Reading:
        return self._readings.get(_key(row), lambda: read(self.listing.directory(row)))


def state(row: Row) -> str:
    """Return what changes in a live run when something new can be shown."""
    return f"{row.status} {row.done}"


def _key(row: Row) -> Hashable:
    """Return what a reading is kept under: of a live run not every call of a tool is news."""
    return (row.name, state(row) if row.status == LIVE else row.signature)
