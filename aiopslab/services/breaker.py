"""A circuit breaker: closed, open, half-open. It counts failures in a row and knows the time.

Not here: what is a failure (``client`` decides), what an open breaker raises (``CircuitOpen``).
"""

from __future__ import annotations

from typing import Literal

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens after ``errors`` failures in a row; after ``open_s`` lets one request try.

    Args:
        errors: Failures in a row that open it; 0 keeps it closed for ever.
        open_s: Seconds from opening to the first trial request.
    """

    __slots__ = ("_errors", "_failures", "_open_s", "_opened_at", "_trying", "state")

    def __init__(self, errors: int, open_s: float) -> None:
        self.state: State = "closed"
        self._errors = errors
        self._open_s = open_s
        self._failures = 0
        self._opened_at = 0.0
        self._trying = False

    def allows(self, now: float) -> bool:
        """Say whether a request may be sent; a half-open breaker admits one at a time."""
        if self.state == "closed":
            return True
        if self.state == "open" and now >= self._opened_at + self._open_s:
            self.state = "half_open"
            self._trying = False
        if self.state == "half_open" and not self._trying:
            self._trying = True
            return True
        return False

    def succeeded(self) -> None:
        """Count a success: closes the breaker."""
        self.state = "closed"
        self._failures = 0

    def failed(self, now: float) -> None:
        """Count a failure; in half-open one is enough to open again."""
        self._failures += 1
        if self.state == "half_open" or (self._errors and self._failures >= self._errors):
            self.state = "open"
            self._opened_at = now

    def cancelled(self) -> None:
        """A request admitted by ``allows`` ended without an outcome."""
        self._trying = False
