"""Where the time of a node's cores went, in core seconds since the machine was switched on.

Accounts only: what the cores are worth at any time is ``cpu``'s, and why is ``host``'s.
"""

from __future__ import annotations


class CoreTime:
    """The account of one node."""

    __slots__ = ("idled", "offline", "pressure", "stalled", "stolen", "used")

    def __init__(self) -> None:
        self.used = 0.0
        """CPU seconds used by all groups, those that left included."""
        self.stolen = 0.0
        """Core seconds stolen while a thread wanted to run."""
        self.stalled = 0.0
        """Core seconds that threads waited for memory, using no core."""
        self.idled = 0.0
        """Of the used ones, those in which a core waited for memory."""
        self.offline = 0.0
        """Core seconds that cores of the machine were not there."""
        self.pressure = 0.0
        """Seconds (not core seconds) in which some thread waited for a core."""

    @property
    def work(self) -> float:
        """How far all threads came, in CPU seconds of a quiet machine."""
        return self.used - self.idled

    def book(
        self, elapsed: float, busy: float, *, steal: float, stall: float, efficiency: float,
        missing: float,
    ) -> None:  # fmt: skip
        """Add a time in which nothing changed.

        Args:
            elapsed: Seconds.
            busy: Cores that threads were on.
            steal: Share of these that went to other guests.
            stall: Share of the rest in which threads waited for memory.
            efficiency: Share of what is used that brings threads on.
            missing: Cores that are offline.
        """
        mine = elapsed * busy * (1.0 - steal)
        used = mine * (1.0 - stall)
        self.used += used
        self.stolen += elapsed * busy * steal
        self.stalled += mine * stall
        self.idled += used * (1.0 - efficiency)
        self.offline += elapsed * missing
