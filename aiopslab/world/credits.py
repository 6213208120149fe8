"""CPU credits of a burstable machine: earned by the clock, spent by use.

One credit is one core for one minute. A machine earns at its baseline and may use more for as long
as it has credits. At a balance of zero a *standard* machine is held at its baseline; an *unlimited*
one goes on, and what it uses beyond is billed as surplus. After the credit specification of
Amazon's T family. The account is settled whenever it is looked at: it needs no clock of its own.

Not here: holding the machine (``host``), CPU time (``cpu``).
"""

from __future__ import annotations

from aiopslab.models.app import CreditSpec

CREDIT_S = 60.0
"""CPU seconds of one credit."""


class Credits:
    """The account of one machine.

    Args:
        spec: What it earns and how much it can keep.
        cores: Cores of the machine.
        now: Unix seconds.
    """

    __slots__ = ("_at", "_earn", "_left", "_used", "baseline", "limit", "surplus", "unlimited")

    def __init__(self, spec: CreditSpec, cores: float, now: float) -> None:
        self._left = spec.launch  # below zero: used before anybody looked, paid back first
        self.limit = spec.limit
        """Most credits that are kept."""
        self.surplus = 0.0
        """Credits used beyond the balance so far, on the bill."""
        self.unlimited = True
        """Whether it may go on at a balance of zero."""
        self.baseline = spec.baseline
        """Share of each core that it earns."""
        self._earn = spec.baseline * cores / CREDIT_S  # credits per second
        self._at = now
        self._used = 0.0

    def settle(self, now: float, used_s: float) -> None:
        """Book the time since the last look.

        Args:
            now: Unix seconds.
            used_s: CPU seconds that the machine has used in all.
        """
        earned = (now - self._at) * self._earn
        spent = (used_s - self._used) / CREDIT_S
        self._at, self._used = now, used_s
        self._left = min(self.limit, self._left + earned - spent)
        if self._left < 0.0 and self.unlimited:
            self.surplus -= self._left
            self._left = 0.0

    @property
    def balance(self) -> float:
        """Credits left."""
        return max(0.0, self._left)

    @property
    def held(self) -> bool:
        """Whether the machine gets its baseline only."""
        return not self.unlimited and self._left <= 0.0
