"""What one observer has recorded since it began, or since it was last told to begin anew.

The store, the rules over it, the feed that copies follow, and how large it may become: nothing is
ever dropped from it; once it has reached its size no more spans and lines are taken, and from
half as much again no more rounds. Not here: what writes to it (``intake``, ``rounds``, ...).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from aiopslab.environments.store_telemetry import StoreTelemetry
from aiopslab.telemetry.replication.feed import Feed
from aiopslab.telemetry.rules import RuleEvaluator, RuleGroup
from aiopslab.telemetry.store import Store

DEFAULT_LIMIT = 512 * 2**20
"""Bytes that a store may hold by default."""
_ROUNDS_SHARE = 1.5
"""Of the size at which spans and lines are refused; rounds of samples go on a little longer."""


class Recording:
    """One store and what goes with it.

    Args:
        groups: The rules.
        now: Unix seconds.
        limit: Bytes at which no more is taken.
    """

    def __init__(
        self, groups: Iterable[RuleGroup], now: Callable[[], float], *, limit: int = DEFAULT_LIMIT
    ) -> None:
        self.store = Store()
        self.rules = RuleEvaluator(self.store, groups)
        self.telemetry = StoreTelemetry(now, self.store, self.rules)
        self.feed = Feed(self.store, self.rules, secrets.token_hex(8))
        self.began = now()
        """When it began; what happened before is not in it."""
        self._limit = limit
        self._held = 0

    def measure(self) -> int:
        """Look how large the store is by now; returns bytes."""
        self._held = self.store.footprint()
        return self._held

    @property
    def is_full(self) -> bool:
        """Whether no more spans and lines are taken."""
        return self._held >= self._limit

    @property
    def is_brimful(self) -> bool:
        """Whether no more rounds of samples are taken either."""
        return self._held >= self._limit * _ROUNDS_SHARE
