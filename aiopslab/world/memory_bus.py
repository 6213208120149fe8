"""The memory bus under a node: guests of the host share its bandwidth.

Modelled: a CPU second of ordinary service work moves ``BYTES_PER_CPU_S`` and spends ``BOUND`` of
its time on memory. While all streams together want less than the bus carries nobody notices;
beyond, each gets its proportion, and the part of the work that is bound to memory takes so many
times longer. The cores are busy meanwhile: their usage looks as ever.

Not here: caches and their partitions; CPU time (``cpu``).
"""

from __future__ import annotations

BYTES_PER_CPU_S = 1.2e9
BOUND = 0.35
CORE_BYTES = 6e9
"""Bandwidth that a host has for each core of a guest, in bytes per second."""


class MemoryBus:
    """One bus.

    Args:
        cores: Cores of the node: the bus is as wide as such a host's.
        now: Unix seconds.
    """

    __slots__ = ("_at", "_moved", "_own", "_wanted", "bandwidth")

    def __init__(self, cores: float, now: float) -> None:
        self.bandwidth = cores * CORE_BYTES
        """Bytes per second that it carries."""
        self._own = cores * BYTES_PER_CPU_S
        self._wanted: dict[str, float] = {}
        self._moved: dict[str, float] = {}
        self._at = now

    @property
    def demand(self) -> float:
        """Times that what is wanted would fill the bus; the node counts with all its cores."""
        return (self._own + sum(self._wanted.values())) / self.bandwidth

    @property
    def efficiency(self) -> float:
        """How far work comes in a CPU second, in CPU seconds of a bus that is not full."""
        return 1.0 / (1.0 - BOUND + BOUND * max(1.0, self.demand))

    def stream(self, guest: str, rate: float, now: float) -> None:
        """Set how many bytes per second another guest would move; 0 ends it."""
        self.moved(now)
        if rate > 0.0:
            self._wanted[guest] = rate
            self._moved.setdefault(guest, 0.0)
        else:
            self._wanted.pop(guest, None)

    def moved(self, now: float) -> dict[str, float]:
        """Return the bytes that other guests have moved until now, by guest."""
        elapsed, self._at = now - self._at, now
        crowd = max(1.0, self.demand)
        for guest, rate in self._wanted.items():
            self._moved[guest] += elapsed * rate / crowd
        return dict(self._moved)
