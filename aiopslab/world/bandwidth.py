"""CFS bandwidth control: how a CPU limit throttles a cgroup.

A limit of L cores is a quota of ``L * 100 ms`` of CPU time per period of 100 ms. A group that uses
it up stands still until the period ends, however idle the node is. Nothing here runs by itself:
``cpu.CpuGroup`` books what it used and asks when the quota would run out.

Periods are booked lazily: while a group runs below its limit no event happens at their ends.
"""

from __future__ import annotations

PERIOD_S = 0.1
"""``cpu.cfs_period_us`` 100000, the kernel's and Kubernetes' default."""
NEVER = float("inf")
"""The quota does not run out at this rate."""
_RESOLUTION = 1e-6
"""Seconds: a float of unix time has steps of 2.4e-7 s, so finer differences are noise."""


class Bandwidth:
    """The quota of one group.

    Args:
        limit: Cores; None never throttles.
        now: Unix seconds.
    """

    __slots__ = (
        "_end", "_left", "limit", "periods", "throttled_at", "throttled_periods", "throttled_s",
    )  # fmt: skip

    def __init__(self, limit: float | None, now: float) -> None:
        self.limit = limit
        self.periods = 0
        """Periods in which the group ran (``nr_periods``)."""
        self.throttled_periods = 0
        """Of these, periods in which the quota ran out (``nr_throttled``)."""
        self.throttled_s = 0.0
        """Seconds of throttling that are over."""
        self.throttled_at: float | None = None
        """Since when the group stands still; None while it may run."""
        self._end = now
        self._left = 0.0

    @property
    def end(self) -> float:
        """End of the current period, in unix seconds."""
        return self._end

    def wake(self, now: float) -> None:
        """The group became runnable: an expired period is replaced by one that starts now."""
        if self.limit is not None and now >= self._end:
            self._end = now + PERIOD_S
            self._left = self.limit * PERIOD_S
            self.periods += 1

    def book(self, now: float, used: float, rate: float) -> None:
        """Charge what was used since the last booking, at a constant rate.

        Where periods ended meanwhile, only the use since the start of the current one counts;
        ``exhausted_at`` sees to it that none of those was exhausted.

        Args:
            now: Unix seconds.
            used: CPU seconds since the last booking.
            rate: CPU seconds per second at which they were used.
        """
        if self.limit is None:
            return
        if now < self._end:
            self._left -= used
            return
        passed = int((now - self._end) / PERIOD_S) + 1
        self._end += passed * PERIOD_S
        self.periods += passed
        since_start = max(0.0, PERIOD_S - (self._end - now))
        self._left = self.limit * PERIOD_S - rate * since_start

    def exhausted_at(self, now: float, rate: float) -> float:
        """Return when the quota runs out at a rate of CPU seconds per second, or ``NEVER``."""
        if self.limit is None:
            return NEVER
        at = now + max(0.0, self._left) / rate
        if at < self._end:
            return at
        quota = self.limit * PERIOD_S
        return self._end + quota / rate if rate * PERIOD_S > quota + _RESOLUTION else NEVER

    def throttle_if_exhausted(self, now: float, rate: float) -> bool:
        """Stop the group if its quota is used up; return whether it stands still now."""
        if self.limit is None or now >= self._end:
            return False
        # What is left may be less than can be used in one step of the clock.
        if self._left > _RESOLUTION * max(1.0, rate):
            return False
        self.throttled_at = now
        self.throttled_periods += 1
        return True

    def resume(self, now: float) -> None:
        """Let a throttled group run again."""
        if self.throttled_at is not None:
            self.throttled_s += now - self.throttled_at
            self.throttled_at = None

    def change(self, limit: float | None, now: float) -> None:
        """Set another limit; as writing ``cpu.max`` does, a fresh period begins."""
        self.resume(now)
        self.limit = limit
        self._end = now
        self.wake(now)
