"""The kubelet's exponential back-off: at once, then 10 s doubling to 5 minutes.

Arithmetic of client-go's flowcontrol.Backoff as the kubelet uses it for crashed containers and
failed image pulls. Who waits, and what it says meanwhile, is in ``kubelet.container``.
"""

from __future__ import annotations

FIRST_S = 10.0
MAX_S = 300.0
FORGET_S = 600.0
"""Twice the maximum between a restart and the next failure starts the sequence anew."""


class Backoff:
    """Back-off of one container or one image on one node. Times are unix seconds."""

    __slots__ = ("_delay", "_updated")

    def __init__(self) -> None:
        self._delay = 0.0
        self._updated = float("-inf")

    @property
    def delay_s(self) -> float:
        """The whole of the present delay."""
        return self._delay

    def remaining(self, failed_at: float, now: float) -> float:
        """Seconds to wait before the next attempt after a failure."""
        if failed_at - self._updated > FORGET_S:
            return 0.0
        return max(0.0, self._delay - (now - failed_at))

    def advance(self, failed_at: float, now: float) -> float:
        """Count a failure whose wait is over, or that is not waited for; returns the next delay."""
        if failed_at - self._updated > FORGET_S or self._delay == 0.0:
            self._delay = FIRST_S
        else:
            self._delay = min(self._delay * 2.0, MAX_S)
        self._updated = now
        return self._delay
