"""The memory behind a node's memory: a host may promise its guests more than it has.

A guest's pages are backed by the host's as long as there are enough. When another guest's peak
takes them, what does not fit lives on the host's swap: whoever touches it waits for the disk, with
an idle core. Modelled: touches are spread over all that is held, ``TOUCHES_PER_CPU_S`` of them a
CPU second of work; each that misses costs ``FAULT_S``.

Not here: the guest's own memory, which looks as ever (``memory``); CPU time (``cpu``).
"""

from __future__ import annotations

TOUCHES_PER_CPU_S = 40_000.0
"""Accesses to pages that are not hot, in a CPU second of work."""
FAULT_S = 0.000_5
"""Time to bring a page in from the host's swap."""


class Backing:
    """What a host really has for one guest."""

    __slots__ = ("bytes", "faults")

    def __init__(self) -> None:
        self.bytes: int | None = None
        """Bytes that the host has for the guest; None is as many as it holds."""
        self.faults = 0.0
        """Major faults so far (``node_vmstat_pgmajfault``)."""

    def missing(self, held: int) -> float:
        """Return the share of what the guest holds that is not in the host's memory."""
        if self.bytes is None or held <= 0:
            return 0.0
        return max(0.0, 1.0 - self.bytes / held)

    def stall(self, held: int) -> float:
        """Return the share of its time that a thread of the guest waits for pages."""
        waits = TOUCHES_PER_CPU_S * FAULT_S * self.missing(held)
        return waits / (1.0 + waits)

    def waited(self, seconds: float) -> None:
        """Count the faults behind so many seconds of waiting."""
        self.faults += seconds / FAULT_S
