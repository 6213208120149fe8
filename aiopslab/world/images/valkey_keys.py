"""The key space of a cache: keys with sizes and expiry, a memory bound, eviction.

Memory and eviction follow Valkey: eviction samples five keys and drops the best candidate, so LRU
and LFU are approximate in the same way. Not here: commands and clients (``valkey_server``).
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

BASE_BYTES = 1_200_000
"""``used_memory`` of an empty server."""
OVERHEAD = 96
"""Bytes a key costs beside its name and value: dict entry, object headers, allocator."""
POLICIES = (
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
)
_SAMPLES = 5
_LFU_DECAY_S = 60.0
_ACTIVE_EXPIRY_KEYS = 20


@dataclass(slots=True)
class Entry:
    """A value: its text if someone typed it, its size always."""

    size: int
    expires: float
    """Unix seconds; inf never."""
    used: float
    """Last access."""
    slot: int
    """Position in the sampling array."""
    hits: float = 5.0
    """Access frequency, decaying; new keys start at 5 as Valkey's LFU counter does."""
    text: str | None = None


class OutOfMemory(Exception):
    """``maxmemory`` is reached and the policy finds nothing to evict."""


class Keys:
    """One database.

    Args:
        sample: Stream for eviction samples.
    """

    def __init__(self, sample: random.Random) -> None:
        self._sample = sample
        self._entries: dict[str, Entry] = {}
        self._order: list[str] = []
        """Keys in no particular order, for sampling in O(1)."""
        self._expiry = array("d")
        """Unix seconds at which these keys expire."""
        self._volatile = 0
        self.used = BASE_BYTES
        """Bytes, as ``used_memory``."""
        self.maxmemory = 0
        """Bytes; 0 is unlimited."""
        self.policy = "noeviction"
        self.hits = 0
        self.misses = 0
        self.evicted = 0
        self.expired = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def with_expiry(self) -> int:
        """Keys that will expire."""
        return self._volatile

    def get(self, key: str, now: float) -> Entry | None:
        """Look a key up and count the hit or miss."""
        entry = self.peek(key, now)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        entry.hits = 1.0 + entry.hits * max(0.0, 1.0 - (now - entry.used) / (_LFU_DECAY_S * 10))
        entry.used = now
        return entry

    def peek(self, key: str, now: float) -> Entry | None:
        """Look a key up without a trace, except that an expired one goes."""
        entry = self._entries.get(key)
        if entry is not None and entry.expires <= now:
            self._remove(key)
            self.expired += 1
            return None
        return entry

    def set(
        self, key: str, size: int, ttl_s: float | None, now: float, *, text: str | None = None
    ) -> None:
        """Write a key.

        Raises:
            OutOfMemory: As Valkey, only when the bound is *already* passed before the write and
                eviction does not help; the write that passes it succeeds.
        """
        if self.maxmemory:
            self.evict(now)
        if key in self._entries:
            self._remove(key)
        expires = float("inf") if ttl_s is None else now + ttl_s
        self._entries[key] = Entry(size, expires, now, len(self._order), text=text)
        self._order.append(key)
        self._expiry.append(expires)
        self._volatile += ttl_s is not None
        self.used += _bytes(key, size)

    def evict(self, now: float) -> None:
        """Make room until the bound holds.

        Raises:
            OutOfMemory: The policy offers no candidate.
        """
        while self.used > self.maxmemory > 0:
            victim = self._candidate(now)
            if victim is None:
                raise OutOfMemory
            self._remove(victim)
            self.evicted += 1

    def delete(self, key: str, now: float) -> bool:
        """Remove a key; tell whether it was there."""
        if self.peek(key, now) is None:
            return False
        self._remove(key)
        return True

    def expire(self, key: str, ttl_s: float | None, now: float) -> bool:
        """Set or clear the expiry of a key; tell whether it is there."""
        entry = self.peek(key, now)
        if entry is None:
            return False
        self._volatile += (ttl_s is not None) - (entry.expires != float("inf"))
        entry.expires = float("inf") if ttl_s is None else now + ttl_s
        self._expiry[entry.slot] = entry.expires
        return True

    def clear(self) -> None:
        """Remove everything."""
        self._entries.clear()
        self._order.clear()
        self._expiry = array("d")
        self._volatile = 0
        self.used = BASE_BYTES

    def scan(self, now: float) -> Iterator[tuple[str, Entry]]:
        """Yield live keys in a stable order."""
        for key in list(self._order):
            entry = self._entries.get(key)
            if entry is not None and entry.expires > now:
                yield key, entry

    def reap(self, now: float) -> None:
        """Sample keys and drop expired ones; repeated while a quarter of the sample was."""
        # Ten times a second for every store: looks at times without a call or an entry for each.
        expiry, draw = self._expiry, self._sample.random
        while self._volatile and expiry:
            found = 0
            for _ in range(min(_ACTIVE_EXPIRY_KEYS, len(expiry))):
                slot = int(draw() * len(expiry))
                if expiry[slot] <= now:
                    self._remove(self._order[slot])
                    self.expired += 1
                    found += 1
            if found <= _ACTIVE_EXPIRY_KEYS // 4:
                return

    def _candidate(self, now: float) -> str | None:
        scope, _, rule = self.policy.partition("-")
        if not rule or not self._order:
            return None
        best, best_rank = None, float("-inf")
        tries = _SAMPLES if scope == "allkeys" else _SAMPLES * 10
        for _ in range(tries):
            key = self._order[int(self._sample.random() * len(self._order))]
            entry = self._entries[key]
            if scope == "volatile" and entry.expires == float("inf"):
                continue
            rank = _rank(entry, rule, now)
            if rank > best_rank:
                best, best_rank = key, rank
        if best is None and scope == "volatile" and self._volatile:
            # The sample held no key with an expiry: take the first there is.
            best = next(k for k, e in self._entries.items() if e.expires != float("inf"))
        return best

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key)
        last, expires = self._order.pop(), self._expiry.pop()
        if last != key:
            self._order[entry.slot] = last
            self._expiry[entry.slot] = expires
            self._entries[last].slot = entry.slot
        self._volatile -= entry.expires != float("inf")
        self.used -= _bytes(key, entry.size)


def _rank(entry: Entry, rule: str, now: float) -> float:
    """How good a victim an entry is: idle time, rarity, nearness of its end."""
    match rule:
        case "lru":
            return now - entry.used
        case "lfu":
            return -entry.hits * max(0.0, 1.0 - (now - entry.used) / (_LFU_DECAY_S * 10))
        case "ttl":
            return -entry.expires
        case _:
            return 0.0


def _bytes(key: str, size: int) -> int:
    return len(key) + size + OVERHEAD
