"""The work queue of a controller: de-duplicated keys, delays, back-off after errors.

Level-triggered: a key says *look at this object*, never what happened to it, so of two due times
of one key only the earlier matters. Not a thread pool: reconciles are synchronous calls on the
world's loop. Neighbours: ``base`` feeds it from API subscriptions.
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.models.kube import KubeError
from aiopslab.world.clock import Handle, VirtualLoop

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped objects) and name."""

BASE_BACKOFF_S = 0.005
MAX_BACKOFF_S = 120.0
"""client-go caps at 1000 s; there, resyncs and unrelated events retry a key much earlier."""


def backoff(failures: int) -> float:
    """Seconds to wait after the n-th failure in a row (n >= 1): 5 ms doubling to the cap."""
    return float(min(BASE_BACKOFF_S * 2.0 ** min(failures - 1, 40), MAX_BACKOFF_S))


class WorkQueue:
    """Keys waiting to be reconciled.

    Args:
        loop: The world's loop.
        process: Reconciles one key. ``KubeError`` means *again later*; anything else is a defect
            of the controller and reaches the loop's exception handler.
        latency: Draws the reaction time of the controller in seconds.
    """

    def __init__(
        self, loop: VirtualLoop, process: Callable[[Key], None], latency: Callable[[], float]
    ) -> None:
        self._loop = loop
        self._process = process
        self._latency = latency
        self._due: dict[Key, tuple[float, Handle]] = {}
        self._failures: dict[Key, int] = {}
        self.last_error: dict[Key, KubeError] = {}
        """The refusal a key is backing off from; gone once it succeeds."""

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: Key) -> None:
        """Reconcile a key as soon as the controller gets to it."""
        self.add_after(key, 0.0)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Reconcile a key after a delay, or earlier if it is due earlier."""
        earliest = self._loop.time() + delay_s
        waiting = self._due.get(key)
        if waiting is not None:
            if waiting[0] <= earliest or (delay_s <= 0.0 and waiting[0] - earliest < 0.05):
                return
            waiting[1].cancel()
        when = earliest + self._latency()
        self._due[key] = (when, self._loop.call_at(when, self._fire, key))

    def _fire(self, key: Key) -> None:
        del self._due[key]
        try:
            self._process(key)
        except KubeError as error:
            # Expected in normal life (a conflict, a quota): the reason stays readable, the key
            # comes back. Controllers that owe users an event wrote it before raising.
            self.last_error[key] = error
            self._failures[key] = failures = self._failures.get(key, 0) + 1
            self.add_after(key, backoff(failures))
        else:
            self._failures.pop(key, None)
            self.last_error.pop(key, None)
