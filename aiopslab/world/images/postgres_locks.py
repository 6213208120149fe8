"""Heavyweight locks of a database: modes, queues, deadlocks.

Requests queue in order of arrival: one that conflicts with an earlier waiter waits behind it, as
in PostgreSQL, so an ACCESS EXCLUSIVE that waits blocks every later reader. Not here: which
statement takes what (``postgres_execute``), timeouts of statements (``postgres_sessions``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from aiopslab.world.images.messages import PgError
from aiopslab.world.images.postgres_expressions import SqlFailure

MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
ACCESS_SHARE, ROW_EXCLUSIVE, SHARE, EXCLUSIVE, ACCESS_EXCLUSIVE = 0, 2, 4, 6, 7
_CONFLICTS = (
    {7},
    {6, 7},
    {4, 5, 6, 7},
    {3, 4, 5, 6, 7},
    {2, 3, 5, 6, 7},
    {2, 3, 4, 5, 6, 7},
    {1, 2, 3, 4, 5, 6, 7},
    {0, 1, 2, 3, 4, 5, 6, 7},
)
"""Table 13.2 of the PostgreSQL documentation, "Conflicting Lock Modes"."""
_CONFLICT_BITS = tuple(sum(1 << mode for mode in modes) for modes in _CONFLICTS)


class Lockable(NamedTuple):
    """A table (``row`` empty) or one of its rows."""

    table: str
    row: tuple[str, ...] = ()


@dataclass(slots=True)
class _Waiter:
    owner: Hashable
    mode: int
    granted: asyncio.Future[None]


@dataclass(slots=True)
class _Entry:
    holders: dict[Hashable, int] = field(default_factory=dict)
    """Owner to its modes, a bit each."""
    queue: list[_Waiter] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LockRow:
    """A line of pg_locks."""

    owner: Hashable
    target: Lockable
    mode: int
    granted: bool


class Locks:
    """The lock table.

    Args:
        loop: Its timers check for deadlocks.
        deadlock_timeout_s: A wait that long triggers the check.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlock_timeout_s: float) -> None:
        self._loop = loop
        self._deadlock_timeout_s = deadlock_timeout_s
        self._entries: dict[Lockable, _Entry] = {}
        self._held: dict[Hashable, dict[Lockable, None]] = {}
        self.deadlocks = 0
        """Found since start."""

    def try_acquire(self, owner: Hashable, target: Lockable, mode: int) -> bool:
        """Take the lock if it is free for this owner; never waits."""
        entry = self._entries.get(target)
        if entry is None:
            entry = self._entries[target] = _Entry()
        held = entry.holders.get(owner, 0)
        if not held >> mode & 1:
            if _blockers(entry, owner, mode, len(entry.queue)):
                return False
            entry.holders[owner] = held | 1 << mode
            self._held.setdefault(owner, {})[target] = None
        return True

    async def acquire(
        self, owner: Hashable, target: Lockable, mode: int, *, timeout_s: float = 0.0
    ) -> None:
        """Take a lock, waiting for it.

        Args:
            owner: The session.
            target: What to lock.
            mode: Index into ``MODES``.
            timeout_s: ``lock_timeout``; 0 waits for ever.

        Raises:
            SqlFailure: 40P01 deadlock, 55P03 lock timeout.
        """
        if self.try_acquire(owner, target, mode):
            return
        entry = self._entries[target]
        waiter = _Waiter(owner, mode, self._loop.create_future())
        entry.queue.append(waiter)
        timers = [
            self._loop.call_later(self._deadlock_timeout_s, self._check, waiter, target),
        ]
        if timeout_s > 0:
            timers.append(self._loop.call_later(timeout_s, _give_up, waiter))
        try:
            await waiter.granted
        finally:
            for timer in timers:
                timer.cancel()
            if waiter in entry.queue:
                entry.queue.remove(waiter)
                self._grant(target)

    def release(self, owner: Hashable) -> None:
        """Give up everything an owner holds: its transaction ended."""
        for target in self._held.pop(owner, ()):
            entry = self._entries[target]
            entry.holders.pop(owner, None)
            if entry.queue:
                self._grant(target)
            elif not entry.holders:
                del self._entries[target]

    def blockers(self, owner: Hashable) -> list[Hashable]:
        """Return whom an owner waits for, in a stable order; empty if it does not wait."""
        found: dict[Hashable, None] = {}
        for entry in self._entries.values():
            for index, waiter in enumerate(entry.queue):
                if waiter.owner == owner:
                    found.update(dict.fromkeys(_blockers(entry, owner, waiter.mode, index)))
        return list(found)

    def rows(self) -> list[LockRow]:
        """Return every lock held or awaited, in the order of first use."""
        found = []
        for target, entry in self._entries.items():
            for owner, bits in entry.holders.items():
                found += [
                    LockRow(owner, target, mode, True)
                    for mode in range(len(MODES))
                    if bits >> mode & 1
                ]
            found += [LockRow(w.owner, target, w.mode, False) for w in entry.queue]
        return found

    def _grant(self, target: Lockable) -> None:
        """Let every waiter in that conflicts neither with holders nor with an earlier waiter."""
        entry = self._entries[target]
        index = 0
        while index < len(entry.queue):
            waiter = entry.queue[index]
            if waiter.granted.done() or _blockers(entry, waiter.owner, waiter.mode, index):
                index += 1
                continue
            del entry.queue[index]
            entry.holders[waiter.owner] = entry.holders.get(waiter.owner, 0) | 1 << waiter.mode
            self._held.setdefault(waiter.owner, {})[target] = None
            waiter.granted.set_result(None)
        if not entry.queue and not entry.holders:
            del self._entries[target]

    def _check(self, waiter: _Waiter, target: Lockable) -> None:
        """Fail the waiter if it waits, directly or not, for itself."""
        if waiter.granted.done() or not self._cycle(waiter.owner):
            return
        self.deadlocks += 1
        error = PgError(
            "40P01", "deadlock detected", hint="See server log for query details.",
            detail=f"Process waits for {MODES[waiter.mode]} on relation {target.table}; blocked.",
        )  # fmt: skip
        waiter.granted.set_exception(SqlFailure(error))

    def _cycle(self, start: Hashable) -> bool:
        seen: set[Hashable] = set()
        pending = self.blockers(start)
        while pending:
            owner = pending.pop()
            if owner == start:
                return True
            if owner not in seen:
                seen.add(owner)
                pending += self.blockers(owner)
        return False


def _blockers(entry: _Entry, owner: Hashable, mode: int, before: int) -> list[Hashable]:
    """Return who keeps an owner from a mode: holders, then waiters ahead of it in the queue."""
    if not (entry.holders or before):
        return []
    conflicts = _CONFLICT_BITS[mode]
    found = [other for other, bits in entry.holders.items() if bits & conflicts and other != owner]
    if owner in entry.holders:
        return found  # PostgreSQL lets a holder's upgrade jump the queue
    return found + [w.owner for w in entry.queue[:before] if conflicts >> w.mode & 1]


def _give_up(waiter: _Waiter) -> None:
    if not waiter.granted.done():
        error = PgError("55P03", "canceling statement due to lock timeout")
        waiter.granted.set_exception(SqlFailure(error))
