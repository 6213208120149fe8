"""The latent defects that act in a process right now: the release's, and those that flags wake.

What a defect costs is felt where work is done (``steps``, ``database``, ``server``, ``runtime``);
they all ask here. Not here: which flags are on (``flags``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod

from aiopslab.models.service import Bug
from aiopslab.services import templates
from aiopslab.services.config import as_text

Params = Mapping[str, str]

_LATENCY_SPREAD = 1.0 / 3.0
"""Half the width of the uniform distribution of added latency, relative to its mean."""


class Defects:
    """What is wrong with a process; nothing, most of the time.

    Args:
        release: Defect of the version that runs, if any.
        draw: Stream for chances.
    """

    __slots__ = (
        "_draw", "_errors", "_keys", "_latencies", "_leaks", "_release", "connection_leak",
        "cpu_factor", "deadlock_s", "lock_s", "pause_every_s", "pause_s", "statements", "stopped",
    )  # fmt: skip

    def __init__(self, release: Bug | None, draw: random.Random) -> None:
        self._draw = draw
        self._release = release
        self.stopped: asyncio.Event | None = None
        """While the world of the process stands still: set when it goes on."""
        self.wake([])

    def wake(self, bugs: Iterable[Bug]) -> None:
        """Set the defects that act beside the release's; replaces those of the last call."""
        active = [bug for bug in [self._release, *bugs] if bug is not None]
        self.cpu_factor = prod(bug.cpu_factor or 1.0 for bug in active)
        """Every CPU step costs this many times as much."""
        self.statements = prod(bug.n_plus_one or 1 for bug in active)
        """Every SQL step is repeated this many times."""
        self.connection_leak = 1.0 - prod(1.0 - (bug.connection_leak or 0.0) for bug in active)
        """Share of SQL steps that never give their connection back."""
        pauses = [bug for bug in active if bug.pause_ms]
        self.pause_s = max((bug.pause_ms or 0.0 for bug in pauses), default=0.0) / 1000.0
        """How long a forced collection stops everything; 0 for none."""
        self.pause_every_s = min((bug.pause_every_s for bug in pauses), default=0.0)
        """Time between forced collections."""
        self.lock_s = max((bug.lock_ms or 0.0 for bug in active), default=0.0) / 1000.0
        """How long every request holds the lock of the process (mean); 0 for none."""
        self.deadlock_s = max((bug.deadlock_ms or 0.0 for bug in active), default=0.0) / 1000.0
        """How long a request holds one of two locks before it takes the other (mean)."""
        self._errors = [(_only(bug), bug.error_rate) for bug in active if bug.error_rate]
        self._latencies = [(_only(bug), bug.latency_ms / 1e3) for bug in active if bug.latency_ms]
        leaks = [(_only(bug), bug.leak_bytes_per_request) for bug in active]
        self._leaks = [(only, size) for only, size in leaks if size]
        self._keys = [
            (_only(bug), bug.kept_per_key, templates.names(bug.key), templates.text(bug.key))
            for bug in active
            if bug.kept_per_key
        ]

    @property
    def locking(self) -> bool:
        """Whether requests wait for a lock of the process."""
        return bool(self.lock_s or self.deadlock_s)

    def fails(self, params: Params) -> bool:
        """Say whether this request hits an unhandled exception."""
        if not self._errors:
            return False
        return any(
            _carries(params, only) and self._draw.random() < rate for only, rate in self._errors
        )

    def latency_s(self, params: Params) -> float:
        """Return how long this request waits without need."""
        if not self._latencies:
            return 0.0
        return sum(
            mean_s * self._draw.uniform(1.0 - _LATENCY_SPREAD, 1.0 + _LATENCY_SPREAD)
            for only, mean_s in self._latencies
            if _carries(params, only)
        )

    @contextmanager
    def standstill(self) -> Iterator[None]:
        """Let nothing that needs the CPU begin until the end of the block."""
        self.stopped = asyncio.Event()
        try:
            yield
        finally:
            self.stopped.set()
            self.stopped = None

    def leaked(self, params: Params) -> int:
        """Return the bytes that this request leaves behind."""
        if not self._leaks:
            return 0
        return sum(size for only, size in self._leaks if _carries(params, only))

    def kept(self, params: Params) -> Iterable[tuple[str, int]]:
        """Return the keys, with bytes, that this request leaves in a cache without a bound."""
        if not self._keys:
            return ()
        return [
            (key(params), size)
            for only, size, names, key in self._keys
            if _carries(params, only) and names <= params.keys()
        ]  # fmt: skip


Carried = list[tuple[str, str]]
Key = Callable[[Params], str]


def _only(bug: Bug) -> Carried:
    return [(key, as_text(value)) for key, value in bug.only.items()]


def _carries(params: Params, wanted: Carried) -> bool:
    return all(params.get(key) == value for key, value in wanted)
